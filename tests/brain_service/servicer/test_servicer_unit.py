"""The servicers alone, through grpcio-testing: which status each failure becomes, and what reaches
the engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from aivo.brain.v1 import brain_pb2 as pb
from aivo.room.v1 import room_pb2
from brain_service import model
from brain_service.engine.privacy import BadRequestError
from brain_service.engine.storage import StoreUnavailableError
from brain_service.engine.submission import (
    Applied,
    Failed,
    FailureCode,
    LearnerSnapshot,
    Submission,
)
from brain_service.model.adapt import RuleAdapter
from brain_service.model.interaction import interaction_from_context
from brain_service.rooms import Member, Rooms
from brain_service.servicer.brain import BrainServicer
from brain_service.servicer.room import RoomServicer
from brain_service.watch.watches import Watches
from service_runtime.errors import INTERNAL_DETAILS
from tests.support.grpc_unit import UnitServer

BRAIN = pb.DESCRIPTOR.services_by_name["BrainService"]
ROOM = room_pb2.DESCRIPTOR.services_by_name["RoomService"]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ASSESSMENT = model.apply(
    None, model.Statistics(), interaction_from_context("practice", "3 + 4", {}), 1.0
).assessment


class FakeEngine:
    """Answers as told and remembers what it was asked."""

    epoch = "epoch-1"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.submitted: list[Submission] = []

    async def submit(self, submissions: Sequence[Submission]) -> list[Applied | Failed]:
        self.submitted += submissions
        return [self._answer() for _ in submissions]

    def refuse(self, message: str) -> Failed:
        return Failed(code=FailureCode.INVALID, message=message)

    async def snapshots(self, queries: Sequence[tuple[str, int]]) -> list[LearnerSnapshot]:
        self._answer()
        return [
            LearnerSnapshot(
                learner_id=one, revision=0, state=None, assessment=None, occurred_at_ms=0
            )
            for one, _ in queries
        ]

    async def history(self, learner_id: str, **_: Any) -> Any:
        return self._answer()

    async def erase(self, learner_id: str, requested_by: str) -> Any:
        return self._answer()

    async def export(self, learner_id: str, requested_by: str) -> AsyncIterator[bytes]:
        yield b'{"a":1}\n'
        yield self._answer()

    def _answer(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def serve(answer: Any) -> tuple[UnitServer, FakeEngine]:
    engine: Any = FakeEngine(answer)
    return UnitServer({BRAIN: BrainServicer(engine, Watches(engine), RuleAdapter())}), engine


def record(**fields: Any) -> pb.RecordInteractionRequest:
    interaction = pb.Interaction(
        learner_id="mia",
        interaction_id="i-1",
        kind=pb.INTERACTION_KIND_ASSESSMENT,
        content="3 + 4",
        **fields,
    )
    return pb.RecordInteractionRequest(interaction=interaction)


APPLIED = Applied(ASSESSMENT._replace(revision=7), duplicate=True)


@pytest.mark.parametrize(
    ("answer", "code", "details"),
    [
        (
            Failed(code=FailureCode.INVALID, message="field x"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "field x",
        ),
        (
            Failed(code=FailureCode.UNAVAILABLE, message="later"),
            grpc.StatusCode.UNAVAILABLE,
            "later",
        ),
        (
            Failed(code=FailureCode.OVERLOADED, message="too much"),
            grpc.StatusCode.UNAVAILABLE,
            "too much",
        ),
        (Failed(code=FailureCode.INTERNAL, message="fault"), grpc.StatusCode.INTERNAL, "fault"),
        (StoreUnavailableError("full"), grpc.StatusCode.UNAVAILABLE, "full"),
        (KeyError("secret answer"), grpc.StatusCode.INTERNAL, INTERNAL_DETAILS),
    ],
)
def test_a_record_that_fails_has_the_status_of_its_reason(
    answer: Any, code: grpc.StatusCode, details: str
) -> None:
    server, _ = serve(answer)
    reply = server.unary("RecordInteraction", record())

    assert (reply.code, reply.details) == (code, details)


def test_a_record_reaches_the_engine_whole_and_continues_the_callers_trace() -> None:
    server, engine = serve(APPLIED)
    context = pb.Context(
        correct=False,
        difficulty=2,
        subject="m",
        skills=["a", "b"],
        time_taken_s=3,
        hints=1,
        attempts=2,
        item_id="q",
    )
    reply = server.unary(
        "RecordInteraction",
        record(
            response="7",
            context=context,
            context_json=b'{"z":1}',
            occurred_at_ms=11,
            received_at_ms=12,
            verified=True,
        ),
        metadata=(("traceparent", TRACE),),
    )

    (submission,) = engine.submitted
    assert reply.response.trace_id == TRACE.split("-")[1]
    assert (reply.response.applied.revision, reply.response.applied.duplicate) == (7, True)
    assert submission == Submission(
        learner_id="mia",
        interaction_id="i-1",
        interaction=interaction_from_context(
            "assessment",
            "3 + 4",
            {
                "correct": False,
                "difficulty": 2.0,
                "subject": "m",
                "skill": ["a", "b"],
                "time_taken": 3.0,
                "hints": 1,
                "attempts": 2,
                "item_id": "q",
            },
        ),
        response="7",
        context_json=b'{"z":1}',
        occurred_at_ms=11,
        received_at_ms=12,
        traceparent=TRACE,
        verified=True,
        recorded_by="a service",
    )


def test_what_is_absent_stays_unknown() -> None:
    server, engine = serve(APPLIED)
    server.unary("RecordInteraction", record())

    (submission,) = engine.submitted
    assert submission.interaction == interaction_from_context("assessment", "3 + 4", {})
    assert submission.response is None
    assert not submission.verified


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetState", pb.GetStateRequest(queries=[pb.StateQuery(learner_id="mia")])),
        ("GetHistory", pb.GetHistoryRequest(learner_id="mia")),
        ("EraseLearner", pb.EraseLearnerRequest(learner_id="mia", requested_by="admin")),
        ("AdaptContent", pb.AdaptContentRequest(learner_id="mia", content="x")),
    ],
)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailableError("the disk is full"), grpc.StatusCode.UNAVAILABLE),
        (BadRequestError("requested_by"), grpc.StatusCode.INVALID_ARGUMENT),
        (RuntimeError("mia said 7"), grpc.StatusCode.INTERNAL),
    ],
)
def test_a_fault_behind_a_call_has_its_status_and_tells_nothing(
    method: str, request_message: Any, error: Exception, code: grpc.StatusCode
) -> None:
    server, _ = serve(error)
    reply = server.unary(method, request_message)

    assert reply.code is code
    assert "mia" not in reply.details


def test_an_export_streams_lines_as_they_come() -> None:
    server, _ = serve(b'{"b":2}\n')
    reply = server.stream(
        "ExportLearner", pb.ExportLearnerRequest(learner_id="mia", requested_by="admin")
    )

    assert [part.json_lines for part in reply.response] == [b'{"a":1}\n', b'{"b":2}\n']


def test_rooms_are_listed_and_spoken_into() -> None:
    rooms = Rooms(grace_s=0)
    server = UnitServer({ROOM: RoomServicer(rooms)})
    rooms.attend().join("r", Member("c", "mia", "learner"))
    listed = server.unary("ListMembers", room_pb2.ListMembersRequest(room_id="r"))
    told = server.unary(
        "PublishRoomMessage", room_pb2.PublishRoomMessageRequest(room_id="r", data_json=b"{}")
    )
    refused = server.unary("ListMembers", room_pb2.ListMembersRequest(room_id=""))

    assert [member.user_id for member in listed.response.members] == ["mia"]
    assert told.response.members == 1
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
