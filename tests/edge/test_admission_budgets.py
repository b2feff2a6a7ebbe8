"""What one person may ask for, by all their sockets and requests together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.admission.budgets import MAX_REMEMBERED, Budget, Budgets
from edge.admission.keyed_queue import KeyedQueue
from edge.admission.prices import MORE_THAN_A_FRAME
from edge.frames import incoming
from edge.settings import EdgeSettings
from edge.telemetry.recording import NO_RECEIPT
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge

SETTINGS = EdgeSettings(frames_per_s=0, user_units_per_s=10.0, user_units_burst=20)


def test_a_dear_request_is_heard_and_then_paid_off() -> None:
    budget = Budget(rate=10.0, burst=20.0, now=0.0)
    assert budget.take(120.0, 0.0) == 0.0
    assert budget.take(1.0, 5.0) == pytest.approx(5.1)
    assert budget.take(1.0, 10.2) == 0.0


@given(st.lists(st.tuples(st.floats(0.1, 500.0), st.floats(0.0, 5.0)), max_size=60))
def test_nobody_gets_more_than_the_rate_and_one_burst_and_one_debt(
    asked: list[tuple[float, float]],
) -> None:
    budget, now, spent = Budget(rate=10.0, burst=20.0, now=0.0), 0.0, 0.0
    for price, pause_s in asked:
        now += pause_s
        if not budget.take(price, now):
            spent += price
    assert spent <= 20.0 + 10.0 * now + 500.0


def test_a_rate_of_zero_allows_everything() -> None:
    budget = Budget(rate=0.0, burst=0.0, now=0.0)
    assert not any(budget.take(1e9, 0.0) for _ in range(100))


def test_everybody_has_one_budget_and_few_are_remembered() -> None:
    budgets = Budgets(rate=1.0, burst=1.0)
    assert budgets.of("ann", 0.0) is budgets.of("ann", 1.0)
    assert budgets.of("ann", 0.0) is not budgets.of("bob", 0.0)
    made = [budgets.of(str(number), 0.0) for number in range(MAX_REMEMBERED + 10)]
    assert all(budgets.of(str(number), 0.0) is made[number] for number in range(10, len(made)))
    assert not any(budgets.of(str(number), 0.0) is made[number] for number in range(10))


def _send(session: Any, frame: dict[str, Any]) -> None:
    session.on_text(json.dumps(frame).encode())


def test_many_sockets_of_one_user_share_what_they_may_ask_for() -> None:
    edge = FakeEdge(settings=SETTINGS)
    sockets = [edge.session("ada") for _ in range(4)]
    other, heard = edge.session("ben")
    for session, _ in sockets:
        for _ in range(10):
            _send(session, {"type": "ping"})
    answers = [frame for _, sink in sockets for frame in sink.take()]

    assert 10 < sum(frame["type"] == "pong" for frame in answers) <= 20
    refused = [frame for frame in answers if frame["type"] == "error"]
    assert {frame["code"] for frame in refused} == {"rate_limited"}
    assert all(frame["retry_after_ms"] > 0 for frame in refused)
    _send(other, {"type": "ping"})
    assert heard.one()["type"] == "pong"


def test_what_is_sent_along_has_its_price() -> None:
    edge = FakeEdge(settings=SETTINGS)
    session, sink = edge.session("ada")
    data = {**interaction(), "content": "x" * 16_000, "context": {"note": "y" * 16_000}}
    _send(session, {"type": "virtual_brain_interact", "data": data})
    _send(session, {"type": "ping"})

    assert [frame["type"] for frame in sink.take()] == ["virtual_brain_response", "error"]


def test_a_word_to_many_has_the_price_of_many() -> None:
    edge = FakeEdge(settings=SETTINGS)
    edge.auth.default = True
    sockets = [edge.session("ben") for _ in range(30)]
    for session, _ in sockets:
        session.talking.join(_join(), NO_RECEIPT)
    speaker, sink = edge.session("ada")
    speaker.talking.join(_join(), NO_RECEIPT)
    sink.take()
    frame = {"type": "room_message", "room_id": "r", "data": {"text": "x" * 20_000}}
    _send(speaker, frame)
    _send(speaker, frame)

    assert [one["code"] for one in sink.take()] == ["rate_limited"]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "authenticate", "token": "nobody"},
        {"type": "get_state", "learner_id": "ada"},
        {"type": "subscribe_learner", "learner_id": "ada"},
        {"type": "virtual_brain_interact", "data": interaction()},
        {
            "type": "adapt_content",
            "data": {"learner_id": "ada", "content": "x", "content_type": "text"},
        },
        {"type": "join_room", "room_id": "r"},
    ],
    ids=lambda frame: frame["type"],
)
def test_what_makes_more_work_than_a_ping_costs_more(frame: dict[str, Any]) -> None:
    asked = {}
    for one in ({"type": "ping"}, frame):
        edge = FakeEdge(settings=SETTINGS)
        session, sink = edge.session("ada")
        sink.take()
        asked[one["type"]] = 0
        while not any(told.get("code") == "rate_limited" for told in sink.take()):
            _send(session, one)
            asked[one["type"]] += 1

    assert asked[frame["type"]] * 4 < asked["ping"]


def test_every_dear_frame_is_one_of_ours() -> None:
    assert MORE_THAN_A_FRAME.keys() < incoming.CLIENT_TYPES


def _join() -> Any:
    from edge.frames.incoming import JoinRoom

    return JoinRoom(room_id="r")


def test_each_reads_the_log_once_at_a_time_and_nobody_waits_for_another() -> None:
    turns, begun, waiting = KeyedQueue(), [], []

    def start(name: str) -> Any:
        def call(done: Any) -> None:
            begun.append(name)
            waiting.append(done)

        return call

    answers: list[str] = []
    for name in ("ann 1", "ann 2", "ann 3", "bob 1"):
        turns.take(name[:3], start(name), answers.append)
    assert begun == ["ann 1", "bob 1"]
    waiting.pop(0)("page")
    assert begun == ["ann 1", "bob 1", "ann 2"]
    for _ in range(3):
        waiting.pop()("page")

    assert (begun[-1], len(answers), len(turns)) == ("ann 3", 4, 0)
