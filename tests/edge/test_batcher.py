"""Batches: one call at a time, in order, everyone answered once; and the tables and hashing of the
edge's upstream.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivo.brain.v1 import brain_pb2
from edge.frames import outgoing
from edge.frames.codes import RETRYABLE
from edge.ports import UpstreamError
from edge.upstream import assessments, errors
from edge.upstream.batcher import Batcher
from edge.upstream.routing import owner
from service_runtime.credentials import REFUSED


class Service:
    """Answers batches when it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.under_way = 0
        self.turn = asyncio.Event()
        self.called = asyncio.Event()
        self.fault: Exception | None = None
        self.short = 0

    async def call(self, items: list[int]) -> list[int]:
        self.under_way += 1
        assert self.under_way == 1, "one call at a time"
        self.calls.append(items)
        self.called.set()
        try:
            await self.turn.wait()
            if self.fault:
                raise self.fault
            return [item * 10 for item in items][self.short :]
        finally:
            self.under_way -= 1


async def _next(service: Service) -> None:
    await asyncio.wait_for(service.called.wait(), 10)
    service.called.clear()


def _batcher(service: Service, **limits: int) -> Batcher[int]:
    return Batcher(
        service.call, service="brain", **{"max_batch": 100, "max_pending": 100, **limits}
    )


async def test_what_arrives_during_a_call_goes_into_the_next_in_order() -> None:
    service, answers = Service(), []
    batcher = _batcher(service, max_batch=3)
    task = asyncio.create_task(batcher.run())
    batcher.submit(0, answers.append)
    await _next(service)
    for item in range(1, 6):
        batcher.submit(item, answers.append)
    assert len(batcher) == 5
    service.turn.set()
    while len(answers) < 6:
        await _next(service)
        await asyncio.sleep(0)
    task.cancel()

    assert service.calls == [[0], [1, 2, 3], [4, 5]]
    assert answers == [0, 10, 20, 30, 40, 50]


async def test_when_too_much_waits_the_next_hears_so_at_once() -> None:
    service = Service()
    batcher = _batcher(service, max_pending=2)
    answers: list[Any] = []
    for item in range(3):
        batcher.submit(item, answers.append)

    (error,) = answers
    assert (error.code, error.retry_after_ms) == ("overloaded", 1000)
    assert len(batcher) == 2


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (TimeoutError(), "unavailable"),
        (UpstreamError("conflict", "x"), "conflict"),
        (KeyError("x"), "internal"),
    ],
)
async def test_a_failed_call_is_told_to_everyone_in_it_and_the_next_one_works(
    fault: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.fault = fault
    service.turn.set()
    batcher = _batcher(service)
    answers: list[Any] = []
    for item in range(3):
        batcher.submit(item, answers.append)
    task = asyncio.create_task(batcher.run())
    await _next(service)
    await asyncio.sleep(0)
    service.fault = None
    batcher.submit(7, answers.append)
    await _next(service)
    await asyncio.sleep(0)
    task.cancel()

    assert [error.code for error in answers[:3]] == [code] * 3
    assert answers[3:] == [70]
    assert len(caplog.records) == (code == "internal")


async def test_a_service_that_answers_too_few_fails_all_of_them_and_not_the_edge(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.short = 1
    service.turn.set()
    batcher = _batcher(service)
    answers: list[Any] = []
    for item in range(2):
        batcher.submit(item, answers.append)
    task = asyncio.create_task(batcher.run())
    await _next(service)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()

    assert [error.code for error in answers] == ["internal", "internal"]


async def test_one_who_cannot_take_an_answer_takes_it_from_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.turn.set()
    batcher = _batcher(service)
    answers: list[Any] = []
    batcher.submit(1, lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    batcher.submit(2, answers.append)
    task = asyncio.create_task(batcher.run())
    await _next(service)
    await asyncio.sleep(0)
    task.cancel()

    assert answers == [20]


async def test_the_end_answers_everyone_who_waits() -> None:
    service = Service()
    batcher = _batcher(service, max_batch=2)
    answers: list[Any] = []
    for item in range(5):
        batcher.submit(item, answers.append)
    task = asyncio.create_task(batcher.run())
    await _next(service)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [error.code for error in answers] == ["unavailable"] * 5


# Errors


def _status(
    code: grpc.StatusCode, details: str = "say this", trailing: Any = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_every_status_becomes_an_error_of_the_protocol(status: grpc.StatusCode) -> None:
    error = errors.translate(_status(status), "brain")

    assert error.code in RETRYABLE
    assert error.code == errors.CODES.get(status, "internal")
    spoken = error.code in ("bad_request", "not_found", "conflict", "rate_limited")
    assert ("Say this." in str(error)) is spoken, "only details written for the client reach it"


def test_the_time_to_come_back_is_passed_on() -> None:
    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    assert (
        errors.translate(_status(status, "", [("retry-after-ms", "250")]), "auth").retry_after_ms
        == 250
    )
    assert (
        errors.translate(_status(status, "", [("retry-after-ms", "soon")]), "auth").retry_after_ms
        is None
    )


def test_a_wrong_service_credential_is_no_fault_of_the_client() -> None:
    refused = errors.translate(
        _status(grpc.StatusCode.UNAUTHENTICATED, "credential", list(REFUSED)), "brain"
    )
    assert (refused.code, str(refused)) == (
        "unavailable",
        "The brain service refuses this edge; an operator must fix that.",
    )
    assert refused.retry_after_ms
    assert errors.translate(ValueError("secret"), "brain").code == "internal"
    assert "secret" not in str(errors.translate(ValueError("secret"), "brain"))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (_status(grpc.StatusCode.UNAVAILABLE), True),
        (_status(grpc.StatusCode.CANCELLED), True),
        (_status(grpc.StatusCode.INVALID_ARGUMENT), False),
        (_status(grpc.StatusCode.UNAUTHENTICATED), False),
        (ConnectionError(), True),
        (ValueError(), False),
    ],
)
def test_only_what_may_succeed_in_a_moment_is_tried_again(
    error: Exception, transient: bool
) -> None:
    assert errors.is_transient(error) is transient


async def test_what_is_withdrawn_is_given_back_in_order_and_answered_by_nobody_here() -> None:
    service, answers = Service(), []
    batcher = _batcher(service)
    task = asyncio.create_task(batcher.run())
    assert batcher.withdraw() == []
    for item in (1, 2):
        batcher.submit(item, answers.append)
    await _next(service)
    batcher.submit(3, answers.append)
    service.turn.set()  # the answer has come, and nobody has seen it yet
    assert [item for item, _, _ in batcher.withdraw()] == [1, 2, 3]
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    batcher.submit(4, answered.set_result)
    answers.append(await asyncio.wait_for(answered, 10))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert service.calls == [[1, 2], [4]]
    assert answers == [40]


async def test_one_that_is_cancelled_while_it_withdraws_ends() -> None:
    service, answers = Service(), []
    batcher = _batcher(service)
    task = asyncio.create_task(batcher.run())
    batcher.submit(1, answers.append)
    await _next(service)
    assert len(batcher.withdraw()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answers == []


# Routing

addresses = st.lists(
    st.integers(1, 9999).map("10.0.0.1:{}".format), min_size=1, max_size=6, unique=True
)


@settings(deadline=None, max_examples=60)
@given(addresses, st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=30))
def test_one_brain_less_moves_only_its_own_learners(brains: list[str], keys: list[str]) -> None:
    gone = brains[0]
    for key in keys:
        before = brains[owner(key, brains)]
        assert brains[::-1][owner(key, brains[::-1])] == before, (
            "the order of the addresses means nothing"
        )
        if len(brains) > 1 and before != gone:
            assert brains[1:][owner(key, brains[1:])] == before


def test_learners_are_spread_evenly() -> None:
    brains = [f"brain-{number}:8001" for number in range(4)]
    shares = [0] * 4
    for number in range(4000):
        shares[owner(f"learner-{number}", brains)] += 1

    assert all(850 < share < 1150 for share in shares)


# AssessmentCache

unit = st.floats(0, 1, allow_nan=False)
levels = st.builds(
    brain_pb2.Levels,
    cognitive_load=unit,
    engagement=unit,
    frustration=unit,
    fatigue=unit,
    confidence=unit,
    motivation=unit,
)


@settings(deadline=None, max_examples=60)
@given(levels)
def test_levels_are_rounded_to_four_decimals_and_stay_in_range(message: brain_pb2.Levels) -> None:
    read = assessments.levels(message)
    pairs = [
        (read.cognitive_load, message.cognitive_load),
        (read.engagement_level, message.engagement),
        (read.frustration_level, message.frustration),
        (read.fatigue_level, message.fatigue),
        (read.confidence_level, message.confidence),
        (read.motivation_level, message.motivation),
    ]
    for got, sent in pairs:
        assert abs(got - sent) <= 0.00005 + 1e-12
        assert 0 <= got <= 1
        assert round(got, 4) == got


def _assessment() -> brain_pb2.Assessment:
    return brain_pb2.Assessment(
        levels=brain_pb2.Levels(cognitive_load=0.12345, item_confidence=0.4),
        grades=[1, 2, 3],
        performance=brain_pb2.Performance(accuracy=0.98765),
        mastery=[
            brain_pb2.SkillMastery(skill="add", probability=0.33333, answers=3, standard_error=0.1)
        ],
        predicted_correct=0.5,
        recommendations=[
            brain_pb2.Recommendation(code="c", urgency=3, sentence="Do it.", reasons=["err"])
        ],
        drivers=brain_pb2.DriverTable(
            levels=[1, 1, 2], names=["a", "b", "a"], contributions=[0.1, 0.2, 0.3]
        ),
        confidence=0.7,
        model_version="m",
    )


def test_an_assessment_becomes_a_frames_assessment() -> None:
    result = assessments.result(_assessment())

    assert (result.success, result.state.cognitive_load, result.performance.accuracy) == (
        True,
        0.1235,
        0.9877,
    )
    assert (result.mastery, result.predicted_correct, result.confidence) == (
        {"add": 0.3333},
        0.5,
        0.7,
    )
    assert result.recommendations == ["Do it."]
    assert (result.actions[0].code, result.actions[0].urgency, result.actions[0].reason) == (
        "c",
        "high",
        ["err"],
    )
    assert json.loads(outgoing.encode(result.drivers)) == {
        "cognitive_load": {"a": 0.1, "b": 0.2},
        "engagement_level": {"a": 0.3},
    }
    assert (result.grades.cognitive_load, result.grades.frustration_level) == ("human", "theory")
    assert (result.grades.motivation_level, result.item_confidence) == ("none", 0.4)
    assessment = _assessment()
    assessment.ClearField("predicted_correct")
    assert assessments.result(assessment).predicted_correct is None


def test_updates_and_snapshots_become_what_the_hub_takes() -> None:
    crossing = brain_pb2.Crossing(name="load", rising=True, value=0.80004, revision=7)
    message = brain_pb2.StateUpdate(
        learner_id="ada",
        revision=8,
        assessment=_assessment(),
        crossings=[crossing],
        traceparents=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        occurred_at_ms=1,
    )
    update = assessments.update(message, "e")

    assert (update.learner_id, update.epoch, update.revision) == ("ada", "e", 8)
    assert (update.crossings[0].value, update.crossings[0].revision) == (0.8, 7)
    assert (update.trace_id, update.occurred_at) == (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "1970-01-01T00:00:00.001Z",
    )
    assert (
        assessments.update(brain_pb2.StateUpdate(learner_id="ada", gone=True), "e").assessment
        is None
    )
    empty = assessments.state_response(brain_pb2.LearnerSnapshot(learner_id="ada"), "e")
    assert (empty.state, empty.revision) == (None, 0)
    full = assessments.state_response(
        brain_pb2.LearnerSnapshot(learner_id="ada", revision=3, assessment=_assessment()), "e"
    )
    assert (full.revision, full.mastery["add"].answers) == (3, 3)  # type: ignore[index]
