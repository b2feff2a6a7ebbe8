"""The reference of every ratio: one FastAPI process in the manner of the original guide, with our
model inside.

Pydantic models for what comes in, dictionaries for what goes out, `receive_json` and `send_json`, a
`ConnectionManager` that awaits one `send_json` after the other and times each, a JWT in the query
that is checked once. It is as that style is usually written, only with its errors left out: it
stores nothing, asks nobody who may watch whom and limits nothing, which is in its favour. What it
says is what our services say, field by field, or a short frame would be compared with a long one;
`bare` leaves out what the original guide's frames did not have.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import jwt
import uvicorn
from fastapi import FastAPI, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

from brain_service import model
from brain_service.model import levels
from brain_service.model.bank import Bank
from brain_service.model.params import LEVELS

logger = logging.getLogger("bench.monolith")

SECRET_VARIABLE = "BENCH_MONOLITH_SECRET"


class InteractionData(BaseModel):
    learner_id: str = Field(min_length=1, max_length=128)
    type: Literal["question_response", "content_view", "hint_request", "assessment", "practice"]
    content: str = Field(max_length=16_384)
    response: str | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    interaction_id: str | None = Field(default=None, max_length=128)
    occurred_at: datetime | None = None


class InteractMessage(BaseModel):
    type: Literal["virtual_brain_interact"]
    data: InteractionData
    id: str | None = None


class SubscribeMessage(BaseModel):
    type: Literal["subscribe_learner"]
    learner_id: str = Field(min_length=1, max_length=128)
    id: str | None = None


class PingMessage(BaseModel):
    type: Literal["ping"]
    id: str | None = None
    sent_at: Any = None


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class VirtualBrain:
    """Every learner's state, in this process and nowhere else."""

    def __init__(self, *, bare: bool) -> None:
        self._bare = bare
        self._states: dict[str, model.LearnerState] = {}
        self._bank = Bank()
        self._stage = self._bank.stage()
        self._staged = 0

    def process_interaction(self, data: InteractionData) -> tuple[int, dict[str, Any]]:
        """Return the learner's new revision and what the model says; raises BadInteractionError."""
        started = time.perf_counter()
        interaction = model.interaction_from_context(data.type, data.content, data.context)
        now = data.occurred_at.timestamp() if data.occurred_at else time.time()
        statistics = self._stage.lookup(interaction)
        applied = model.apply(self._states.get(data.learner_id), statistics, interaction, now)
        self._states[data.learner_id] = applied.state
        self._learn(applied.increments)
        result = result_of(applied.assessment, started)
        return applied.state.revision, (
            result if self._bare else result | certainty_of(applied.assessment)
        )

    def _learn(self, increments: model.Increments) -> None:
        self._stage.add(increments)
        self._staged += 1
        if self._staged == 256:  # nothing is lost by waiting: lookups see what is staged
            self._stage.commit()
            self._bank.drain()
            self._staged = 0


def result_of(assessment: model.Assessment, started: float) -> dict[str, Any]:
    """Put an assessment in the words of the protocol."""
    performance = assessment.performance
    response_time = performance.response_time
    return {
        "success": True,
        "state": {name: round(level, 4) for name, level in assessment.six().items()},
        "performance": {
            "accuracy": round(performance.accuracy, 4),
            "response_time": None if response_time is None else round(response_time, 4),
            "consistency": round(performance.consistency, 4),
            "improvement_rate": round(performance.improvement_rate, 4),
        },
        "mastery": {skill.skill: round(skill.probability, 4) for skill in assessment.mastery},
        "predicted_correct": (
            None if assessment.predicted_correct is None else round(assessment.predicted_correct, 4)
        ),
        "recommendations": [
            recommendation.sentence for recommendation in assessment.recommendations
        ],
        "actions": [
            {
                "code": recommendation.code,
                "reason": ", ".join(
                    f"{name} {value:.2f}"
                    for name, value in zip(
                        recommendation.reasons, recommendation.values, strict=True
                    )
                ),
                "urgency": recommendation.urgency.name.lower(),
            }
            for recommendation in assessment.recommendations
        ],
        "drivers": {
            levels.NAMES[i]: {
                name: round(contribution, 4)
                for name, contribution in zip(
                    levels.DRIVER_NAMES[i], assessment.estimates.contributions[i], strict=True
                )
            }
            for i in levels.SIX
        },
        "confidence": round(levels.confidence(assessment.estimates), 4),
        "model_version": assessment.model_version,
        "processing_time": round(time.perf_counter() - started, 6),
    }


def certainty_of(assessment: model.Assessment) -> dict[str, Any]:
    """Tell how far the levels can be relied on."""
    uncertainty = levels.uncertainty(assessment.estimates)
    return {
        "uncertainty": {levels.NAMES[i]: round(uncertainty[i], 4) for i in levels.SIX},
        "grades": {LEVELS[i].name: LEVELS[i].grade for i in levels.SIX},
        "item_confidence": round(
            assessment.estimates.levels[levels.NAMES.index("item_confidence")], 4
        ),
    }


class ConnectionManager:
    """Who is connected and who watches whom; every message to everybody is one awaited
    `send_json`.
    """

    def __init__(self) -> None:
        self.active_connections: dict[str, dict[str, Any]] = {}
        self.user_connections: dict[str, list[str]] = {}
        self.learner_connections: dict[str, list[str]] = {}
        self.total_messages_sent = 0
        self.total_messages_received = 0
        self.message_latencies: list[float] = []

    async def connect(self, websocket: WebSocket, user_id: str) -> str:
        await websocket.accept()
        connection_id = f"ws_{uuid4().hex}"
        self.active_connections[connection_id] = {
            "websocket": websocket,
            "user_id": user_id,
            "learner_ids": [],
            "connected_at": timestamp(),
            "messages_sent": 0,
            "messages_received": 0,
        }
        self.user_connections.setdefault(user_id, []).append(connection_id)
        await self.send_personal_message(
            {
                "type": "connection_established",
                "connection_id": connection_id,
                "timestamp": timestamp(),
            },
            connection_id,
        )
        logger.info("WebSocket connected: %s", connection_id)
        return connection_id

    def disconnect(self, connection_id: str) -> None:
        connection = self.active_connections.pop(connection_id, None)
        if connection is None:
            return
        self._forget(self.user_connections, connection["user_id"], connection_id)
        for learner_id in connection["learner_ids"]:
            self._forget(self.learner_connections, learner_id, connection_id)
        logger.info("WebSocket disconnected: %s", connection_id)

    def subscribe_to_learner(self, connection_id: str, learner_id: str) -> bool:
        learner_ids = self.active_connections[connection_id]["learner_ids"]
        if learner_id not in learner_ids:
            learner_ids.append(learner_id)
            self.learner_connections.setdefault(learner_id, []).append(connection_id)
        return True

    def record_message_received(self, connection_id: str) -> None:
        self.total_messages_received += 1
        self.active_connections[connection_id]["messages_received"] += 1

    async def send_personal_message(self, message: dict[str, Any], connection_id: str) -> None:
        connection = self.active_connections.get(connection_id)
        if connection is None:
            return
        started = time.perf_counter()
        try:
            await connection["websocket"].send_json(message)
        except (WebSocketDisconnect, RuntimeError):
            self.disconnect(connection_id)
            return
        self.total_messages_sent += 1
        connection["messages_sent"] += 1
        self.message_latencies.append((time.perf_counter() - started) * 1000)
        if len(self.message_latencies) > 1000:
            self.message_latencies.pop(0)

    async def send_to_learner_subscribers(self, message: dict[str, Any], learner_id: str) -> None:
        for connection_id in list(self.learner_connections.get(learner_id, ())):
            await self.send_personal_message(message, connection_id)

    @staticmethod
    def _forget(table: dict[str, list[str]], key: str, connection_id: str) -> None:
        table[key].remove(connection_id)
        if not table[key]:
            del table[key]


class WebSocketHandler:
    """Turns each message into calls of the brain and the manager."""

    def __init__(self, manager: ConnectionManager, brain: VirtualBrain, *, bare: bool) -> None:
        self.bare = bare
        self.manager = manager
        self.brain = brain
        self.handlers = {
            "virtual_brain_interact": self._handle_virtual_brain_interact,
            "subscribe_learner": self._handle_subscribe_learner,
            "ping": self._handle_ping,
        }

    async def handle_message(self, message: Any, connection_id: str) -> None:
        self.manager.record_message_received(connection_id)
        message_type = message.get("type") if isinstance(message, dict) else None
        handler = self.handlers.get(message_type) if isinstance(message_type, str) else None
        if handler is None:
            await self._send_error("Unknown message type.", "unknown_type", message, connection_id)
            return
        try:
            await handler(message, connection_id)
        except ValidationError as error:
            await self._send_error(
                f"{error.error_count()} fields are wrong.", "bad_request", message, connection_id
            )
        except model.BadInteractionError as error:
            await self._send_error(str(error), "bad_request", message, connection_id)

    async def _handle_virtual_brain_interact(
        self, message: dict[str, Any], connection_id: str
    ) -> None:
        request = InteractMessage.model_validate(message)
        learner_id = request.data.learner_id
        revision, result = self.brain.process_interaction(request.data)
        response = {
            "type": "virtual_brain_response",
            "learner_id": learner_id,
            "result": result,
            "interaction_id": request.data.interaction_id or str(uuid4()),
            "revision": revision,
            "duplicate": False,
            "timestamp": timestamp(),
        }
        await self.manager.send_personal_message(_echo(request.id, response), connection_id)
        state_update = {
            "type": "state_update",
            "learner_id": learner_id,
            "state": result["state"],
            "revision": revision,
            "timestamp": timestamp(),
        }
        if not self.bare:
            state_update |= {
                name: result[name] for name in ("performance", "recommendations", "actions")
            }
            state_update["occurred_at"] = (
                request.data.occurred_at or datetime.now(UTC)
            ).isoformat()
        await self.manager.send_to_learner_subscribers(state_update, learner_id)

    async def _handle_subscribe_learner(self, message: dict[str, Any], connection_id: str) -> None:
        request = SubscribeMessage.model_validate(message)
        success = self.manager.subscribe_to_learner(connection_id, request.learner_id)
        response = {
            "type": "subscribed",
            "learner_id": request.learner_id,
            "success": success,
            "timestamp": timestamp(),
        }
        await self.manager.send_personal_message(_echo(request.id, response), connection_id)

    async def _handle_ping(self, message: dict[str, Any], connection_id: str) -> None:
        request = PingMessage.model_validate(message)
        response: dict[str, Any] = {"type": "pong", "timestamp": timestamp()}
        if request.sent_at is not None:
            response["sent_at"] = request.sent_at
        await self.manager.send_personal_message(_echo(request.id, response), connection_id)

    async def _send_error(self, error: str, code: str, message: Any, connection_id: str) -> None:
        response = {
            "type": "error",
            "error": error,
            "code": code,
            "retryable": False,
            "timestamp": timestamp(),
        }
        request_id = message.get("id") if isinstance(message, dict) else None
        await self.manager.send_personal_message(_echo(request_id, response), connection_id)


def _echo(request_id: Any, response: dict[str, Any]) -> dict[str, Any]:
    if request_id is not None:
        response["id"] = request_id
    return response


def create_app(secret: str, *, bare: bool = False) -> FastAPI:
    """Return the application; `secret` signs its tokens (HS256)."""
    app = FastAPI()
    manager = ConnectionManager()
    handler = WebSocketHandler(manager, VirtualBrain(bare=bare), bare=bare)

    @app.websocket("/ws")
    async def websocket_endpoint(websocket: WebSocket, token: str | None = Query(None)) -> None:
        try:
            user_id = jwt.decode(token or "", secret, algorithms=["HS256"])["sub"]
        except (jwt.InvalidTokenError, KeyError):
            await websocket.accept()
            await websocket.close(code=4401)
            return
        connection_id = await manager.connect(websocket, user_id)
        try:
            while True:
                await handler.handle_message(await websocket.receive_json(), connection_id)
        except WebSocketDisconnect:
            pass
        finally:
            manager.disconnect(connection_id)

    return app


def mint(secret: str, user_id: str, ttl_s: float) -> str:
    """Return a token for `user_id`, good for `ttl_s` seconds."""
    return jwt.encode(
        {"sub": user_id, "exp": math.ceil(time.time() + ttl_s)}, secret, algorithm="HS256"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on the given port of the loopback, with uvicorn's own defaults."""
    parser = argparse.ArgumentParser(prog="python -m bench.monolith", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="loopback port (default: 8000)")
    parser.add_argument(
        "--bare", action="store_true", help="frames with no more than the original guide's have"
    )
    options = parser.parse_args(arguments)
    uvicorn.run(
        create_app(os.environ[SECRET_VARIABLE], bare=options.bare),
        host="127.0.0.1",
        port=options.port,
    )


if __name__ == "__main__":
    main()
