"""What sessions record of the frames they answer, what is kept of it, and what is dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.frames.incoming import CLIENT_TYPES
from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from edge.telemetry.recording import NO_RECORDING, Exchange, NoRecording, Receipt, Recording
from service_runtime.settings import SettingsError
from tests.support.clocks import FakeClock
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge, say


def recording(*, capacity: int = 100, keeps_content: bool = False) -> Recording:
    return Recording(capacity=capacity, keeps_content=keeps_content, clock=FakeClock())


def edge_with(records: NoRecording, **settings: Any) -> FakeEdge:
    clock = getattr(records, "clock", FakeClock())
    assert isinstance(clock, FakeClock)
    return FakeEdge(settings=EdgeSettings(**settings), clock=clock, recording=records)


def take(records: Recording) -> list[Exchange]:
    entries = [Exchange._make(entry) for entry in records.batch(10_000)]
    records.hand_over()
    return entries


def note(records: Recording, number: int = 0, payload: bytes = b"{}") -> None:
    """Record a ping of user `u<number>` with its pong."""
    receipt = Receipt(records, f"u{number}", "learner", records.clock(), payload)
    receipt.understood("ping")
    receipt.answered("pong", b"{}")


# What sessions record


def test_each_frame_is_recorded_with_its_answer() -> None:
    records = recording()
    edge = edge_with(records)
    session, _ = edge.session()
    say(session, "authenticate", token="ada")
    for type, fields in {
        "ping": {},
        "subscribe_learner": {"learner_id": "ada"},
        "virtual_brain_interact": {"data": interaction("ada")},
        "get_state": {"learner_id": "ada"},
        "adapt_content": {"data": {"learner_id": "ada", "content": "x", "content_type": "text"}},
        "join_room": {"room_id": "r"},
        "room_message": {"room_id": "r", "data": {}},
        "leave_room": {"room_id": "r"},
        "unsubscribe_learner": {"learner_id": "ada"},
    }.items():
        say(session, type, **fields)
    entries = take(records)

    assert [(one.type, one.answer) for one in entries] == [
        ("authenticate", "connection_established"),
        ("ping", "pong"),
        ("subscribe_learner", "subscribed"),
        ("virtual_brain_interact", "virtual_brain_response"),
        ("get_state", "state_response"),
        ("adapt_content", "content_adapted"),
        ("join_room", "room_joined"),
        ("room_message", ""),
        ("leave_room", "room_left"),
        ("unsubscribe_learner", "unsubscribed"),
    ]
    assert {one.type for one in entries} == CLIENT_TYPES
    assert {(one.user_id, one.role, one.outcome) for one in entries} == {("u-ada", "learner", "ok")}
    assert all(one.size > 0 and (one.answer_size > 0) is bool(one.answer) for one in entries)
    assert not any(one.content or one.answer_content or one.learner_id for one in entries)


def test_sizes_latency_and_trace_are_those_of_the_frames() -> None:
    records = recording()
    edge = edge_with(records)
    session, sink = edge.session("ada")
    take(records)
    edge.brain.hold = True
    frame = {"type": "virtual_brain_interact", "data": interaction("ada")}
    session.on_text(json.dumps(frame).encode())
    edge.clock.advance(0.25)
    assert len(records) == 0
    edge.brain.release()
    (entry,) = take(records)
    (answer,) = sink.of("virtual_brain_response")

    assert entry.size == len(json.dumps(frame).encode())
    assert entry.answered - entry.started == pytest.approx(0.25)
    assert entry.trace_id == answer["trace_id"]


@pytest.mark.parametrize(
    ("payload", "type", "outcome"),
    [
        (b"{", "unknown", "bad_request"),
        (b'{"type":"no_such_type"}', "unknown", "unknown_type"),
        (b'{"type":"get_state"}', "get_state", "bad_request"),
        (b'{"type":"room_message","room_id":"r","data":{}}', "room_message", "forbidden"),
        (b'{"type":"authenticate","token":"nobody"}', "authenticate", "unauthenticated"),
    ],
)
def test_a_refused_frame_is_recorded_with_the_code_that_answered_it(
    payload: bytes, type: str, outcome: str
) -> None:
    records = recording()
    session, _ = edge_with(records).session("ada")
    take(records)
    session.on_text(payload)

    assert [(one.type, one.answer, one.outcome) for one in take(records)] == [
        (type, "error", outcome)
    ]


def test_frames_above_the_rate_are_recorded_as_such() -> None:
    records = recording()
    session, _ = edge_with(records, frames_per_s=1.0, frames_burst=1).session("ada")
    take(records)
    say(session, "ping")
    say(session, "ping")

    assert [(one.type, one.outcome) for one in take(records)] == [
        ("ping", "ok"),
        ("ping", "rate_limited"),
    ]


@pytest.mark.parametrize("room", ["brain", "feed", "room_link"])
def test_what_a_service_refuses_is_recorded(room: str) -> None:
    records = recording()
    edge = edge_with(records)
    session, _ = edge.session("ada")
    take(records)
    getattr(edge, room).failure = UpstreamError("unavailable", "Down.")
    frames: dict[str, dict[str, Any]] = {
        "brain": {"type": "virtual_brain_interact", "data": interaction("ada")},
        "feed": {"type": "subscribe_learner", "learner_id": "ada"},
        "room_link": {"type": "join_room", "room_id": "r"},
    }
    say(session, **frames[room])

    assert [(one.type, one.answer, one.outcome) for one in take(records)] == [
        (frames[room]["type"], "error", "unavailable")
    ]


def test_an_interaction_whose_socket_closed_is_recorded_without_an_answer() -> None:
    records = recording()
    edge = edge_with(records)
    session, _ = edge.session("ada")
    take(records)
    edge.brain.hold = True
    say(session, "virtual_brain_interact", data=interaction("ada"))
    session.end()
    edge.brain.release()

    assert [(one.user_id, one.answer, one.outcome) for one in take(records)] == [
        ("u-ada", "", "ok")
    ]


def test_updates_to_watchers_are_not_recorded() -> None:
    records = recording()
    edge = edge_with(records)
    for _ in range(3):
        session, _ = edge.session("ada")
        say(session, "subscribe_learner", learner_id="ada")
    take(records)
    edge.move("ada")

    assert edge.counters.updates_sent == 3
    assert take(records) == []


def test_nothing_is_made_while_recording_is_off() -> None:
    records = recording()
    records.switch(False)
    for edge in (edge_with(NO_RECORDING), edge_with(records)):
        session, sink = edge.session("ada")
        say(session, "ping")
        say(session, "virtual_brain_interact", data=interaction("ada"))
        assert [one["type"] for one in sink.frames] == ["pong", "virtual_brain_response"]
    assert (len(records), records.dropped) == (0, 0)


# Content


def test_content_is_kept_only_when_asked_and_only_about_learners() -> None:
    records = recording(keeps_content=True, capacity=10_000)
    session, _ = edge_with(records).session()
    say(session, "authenticate", token="ada")
    session.on_text(b'{"type":"authenticate","tokem":"ada"}')
    say(session, "join_room", room_id="r")
    say(session, "room_message", room_id="r", data={"text": "secret"})
    say(session, "virtual_brain_interact", data=interaction("ada"))
    entries = take(records)
    kept = [one for one in entries if one.content or one.answer_content or one.learner_id]

    assert len(entries) == 5
    assert [one.type for one in kept] == ["virtual_brain_interact"]
    assert kept[0].learner_id == "ada"
    assert json.loads(kept[0].content)["data"]["content"] == "2 + 2?"
    assert json.loads(kept[0].answer_content)["type"] == "virtual_brain_response"


def test_a_forgotten_learners_contents_are_gone_and_not_counted_as_dropped() -> None:
    records = recording(keeps_content=True, capacity=10_000)
    session, _ = edge_with(records).session("teacher")
    take(records)
    for learner in ("ada", "ben", "ada"):
        say(session, "get_state", learner_id=learner)
    assert len(records.batch(1)) == 1
    records.forget("ada")

    assert [one.learner_id for one in [*take(records), *take(records)]] == ["ben"]
    assert records.dropped == 0


def test_contents_take_places_so_that_they_cannot_fill_the_memory() -> None:
    records = recording(keeps_content=True, capacity=10)
    session, _ = edge_with(records).session("ada")
    take(records)
    before = records.dropped
    say(
        session,
        "adapt_content",
        data={"learner_id": "ada", "content": "x" * 3000, "content_type": "text"},
    )

    assert take(records) == []
    assert records.dropped == before + 2


# The queue


@given(
    st.lists(st.sampled_from(["note", "batch", "done", "refused"]), max_size=60), st.integers(1, 6)
)
def test_every_record_is_sent_or_dropped_or_waits(steps: list[str], capacity: int) -> None:
    records = recording(capacity=capacity)
    noted = 0
    for step in steps:
        if step == "note":
            note(records, noted)
            noted += 1
        elif step == "batch":
            records.batch(2)
        else:
            records.hand_over(refused=step == "refused")
        assert len(records) <= capacity
        assert records.sent + records.dropped + 2 * len(records) == 2 * noted


def test_a_full_queue_keeps_the_oldest_and_counts_the_others() -> None:
    records = recording(capacity=3)
    for number in range(5):
        note(records, number)

    assert records.dropped == 4
    assert [one.user_id for one in take(records)] == ["u0", "u1", "u2"]


def test_lag_is_how_long_the_oldest_record_has_waited() -> None:
    records = recording()
    clock = records.clock
    assert isinstance(clock, FakeClock)
    assert records.lag_s == 0
    note(records, 0)
    clock.advance(2.0)
    note(records, 1)
    assert records.lag_s == 2.0
    records.batch(1)
    assert records.lag_s == 2.0  # in hand is not yet sent
    records.hand_over()
    assert records.lag_s == 0


def test_a_queue_without_a_place_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="EDGE_RECORD_QUEUE"):
        EdgeSettings(record_queue=0)
