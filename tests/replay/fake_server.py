"""A socket server that speaks just enough of the protocol to be replayed against, and can be made
to misbehave.

It keeps what it acknowledged in memory, in arrival order, across connections: `applied`. To extend
it, add a field to `Trouble` and act on it in `_interact`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

NEVER = "2999-01-01T00:00:00.000Z"


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What goes wrong; each thing once."""

    break_after: set[int] = field(default_factory=set)
    """After applying so many interactions the connection breaks before the answer to the last."""
    refuse_for_now: set[str] = field(default_factory=set)
    """Ids answered once with a retryable error, as is all that is in flight behind them."""
    refuse_for_good: set[str] = field(default_factory=set)
    drain_after: int | None = None
    """After so many interactions `server_draining` is sent and the socket closed."""
    expires_at: str = NEVER
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once an interaction met one of these, before its sender knows."""


class FakeServer:
    """See the module."""

    def __init__(
        self, *, limits: dict[str, float] | None = None, trouble: Trouble | None = None
    ) -> None:
        """Tell `limits` to each connection."""
        self.limits = {"frames_per_second": 0, "burst": 100, "in_flight": 8} | (limits or {})
        self.trouble = trouble or Trouble()
        self.url = ""
        self.applied: list[str] = []
        self.data: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, int] = {}
        self.by_learner: dict[str, int] = {}
        self.tokens: list[str] = []
        self.most_in_flight = 0
        self.answer_when_waiting: int | None = None
        """Answers are held back until so many wait, and the client has shown that it sends no more
        by itself.
        """

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FakeServer]:
        """Listen on a free port."""
        async with serve(self._serve, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}/ws"
            yield self

    async def _serve(self, connection: ServerConnection) -> None:
        waiting: list[dict[str, Any]] = []
        async with asyncio.TaskGroup() as group:
            async for text in connection:
                frame = json.loads(text)
                if frame["type"] == "authenticate":
                    await self.authenticate(connection, frame)
                elif frame["type"] == "get_state":
                    await self._state(connection, frame)
                elif self.answer_when_waiting is None:
                    await self._interact(connection, frame)
                else:
                    waiting.append(frame)
                    self.most_in_flight = max(self.most_in_flight, len(waiting))
                    if len(waiting) == self.answer_when_waiting:
                        group.create_task(self._answer(connection, waiting))

    async def _answer(self, connection: ServerConnection, waiting: list[dict[str, Any]]) -> None:
        # The pong comes after everything that the client sent before it saw the ping.
        await (await connection.ping())
        frames = waiting.copy()
        waiting.clear()
        for frame in frames:
            await self._interact(connection, frame)

    async def authenticate(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        self.tokens.append(frame["token"])
        kind = "authenticated" if "id" in frame else "connection_established"
        await _send(
            connection,
            type=kind,
            id=frame.get("id"),
            expires_at=self.trouble.expires_at,
            limits=self.limits,
        )

    async def _state(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        learner = frame["learner_id"]
        revision = self.by_learner.get(learner, 0)
        await _send(
            connection,
            type="state_response",
            id=frame["id"],
            revision=revision,
            epoch="e",
            state=None,
            performance=None,
        )

    async def _interact(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        data, request_id, trouble = frame["data"], frame["id"], self.trouble
        interaction_id, learner = data["interaction_id"], data["learner_id"]
        if interaction_id in trouble.refuse_for_now:
            trouble.refuse_for_now.discard(interaction_id)
            trouble.struck.set()
            await _send(
                connection,
                type="error",
                id=request_id,
                code="unavailable",
                retryable=True,
                error="later",
            )
            return
        if interaction_id in trouble.refuse_for_good:
            await _send(
                connection,
                type="error",
                id=request_id,
                code="bad_request",
                retryable=False,
                error="wrong",
            )
            return
        duplicate = interaction_id in self.revisions
        if not duplicate:
            self.applied.append(interaction_id)
            self.data[interaction_id] = data
            self.by_learner[learner] = self.revisions[interaction_id] = (
                self.by_learner.get(learner, 0) + 1
            )
        if len(self.applied) in trouble.break_after:
            trouble.break_after.discard(len(self.applied))
            trouble.struck.set()
            connection.transport.abort()
            return
        if trouble.drain_after is not None and len(self.applied) >= trouble.drain_after:
            trouble.drain_after = None
            trouble.struck.set()
            await _send(connection, type="server_draining", reconnect_after_ms=1)
            await connection.close(1012)
            return
        await _send(
            connection,
            type="virtual_brain_response",
            id=request_id,
            learner_id=learner,
            interaction_id=interaction_id,
            revision=self.revisions[interaction_id],
            duplicate=duplicate,
        )


async def _send(connection: ServerConnection, **frame: object) -> None:
    await connection.send(
        json.dumps({key: value for key, value in frame.items() if value is not None})
    )
