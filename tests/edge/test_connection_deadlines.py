"""What a connection does when its time is up, and how it bears with a slow reader."""

from __future__ import annotations

import json
import time

import pytest

from edge.connection.rfc6455 import prepare
from edge.ports import Identity
from edge.settings import EdgeSettings
from tests.edge.raw_client import SteppedEndpoint, Wire, masked
from tests.support.clocks import FAR_AHEAD_MS
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge(prepare=prepare)


# Deadlines


def test_who_does_not_authenticate_in_time_is_closed_with_4408(
    endpoint: SteppedEndpoint, edge: FakeEdge
) -> None:
    wire = Wire(endpoint)
    edge.clock.advance(9.9)
    edge.timers.turn()
    assert wire.close_code is None
    edge.clock.advance(0.2)
    edge.timers.turn()

    assert wire.close_code == 4408
    assert wire.frames[0]["code"] == "unauthenticated"


def test_an_expired_token_closes_with_4401(endpoint: SteppedEndpoint, edge: FakeEdge) -> None:
    edge.auth.tokens["short"] = Identity("u", "learner", "s", int(time.time() * 1000) - 1)
    wire = Wire(endpoint, "/ws?token=short")
    edge.clock.advance(0.2)
    edge.timers.turn()

    assert wire.close_code == 4401
    assert wire.frames[-1]["code"] == "unauthenticated"


def test_a_new_token_moves_the_expiry(endpoint: SteppedEndpoint, edge: FakeEdge) -> None:
    edge.auth.tokens["short"] = Identity("u-ada", "learner", "s", int(time.time() * 1000) + 5)
    wire = Wire(endpoint, "/ws?token=short")
    wire.send({"type": "authenticate", "token": "ada"})
    edge.clock.advance(1)
    edge.timers.turn()

    assert wire.close_code is None
    assert wire.connection.session.expires_at_ms == FAR_AHEAD_MS


def test_a_silent_client_is_pinged_and_closed_with_4408_when_nothing_comes_back(
    wire: Wire, edge: FakeEdge
) -> None:
    edge.clock.advance(25.1)
    edge.timers.turn()
    wire.hear()
    assert wire.pings == 1
    edge.clock.advance(10.2)
    edge.timers.turn()

    assert wire.close_code == 4408


def test_a_client_that_answers_pings_stays_and_is_pinged_less_and_less(
    wire: Wire, edge: FakeEdge
) -> None:
    times: list[float] = []
    started = edge.clock.now
    for _ in range(600):
        edge.clock.advance(1)
        edge.timers.turn()
        pings = wire.pings
        wire.flush()
        if wire.pings > pings:
            times.append(edge.clock.now)
            wire.flush()
    gaps = [after - before for before, after in zip([started, *times], times, strict=False)]

    assert wire.close_code is None
    assert gaps == sorted(gaps)
    assert 25 <= gaps[0] <= 27
    assert all(gap <= 52 for gap in gaps)


def test_a_client_that_is_not_read_from_is_not_taken_for_dead(
    endpoint: SteppedEndpoint, edge: FakeEdge
) -> None:
    edge.brain.hold = True
    wire = Wire(endpoint, "/ws?token=ada")
    for _ in range(edge.settings.max_in_flight):
        wire.send({"type": "virtual_brain_interact", "data": interaction()})
    assert wire.transport.reading is False
    for _ in range(100):
        edge.clock.advance(1)
        edge.timers.turn()

    assert wire.close_code is None


def test_frames_that_came_while_reading_was_held_are_taken_afterwards(
    endpoint: SteppedEndpoint, edge: FakeEdge
) -> None:
    edge.brain.hold = True
    wire = Wire(endpoint, "/ws?token=ada")
    text = json.dumps({"type": "virtual_brain_interact", "data": interaction()}).encode()
    wire.raw(masked(1, text) * 70 + masked(1, b'{"type":"ping"}'))
    assert (len(edge.brain.sent), wire.transport.reading) == (edge.settings.max_in_flight, False)
    edge.brain.hold = False
    edge.brain.release()
    endpoint.settle()
    wire.hear()

    assert wire.transport.reading
    assert len(edge.brain.sent) == 70
    assert wire.frames[-1]["type"] == "pong"


# Slow readers


def test_a_slow_reader_gets_the_newest_state_and_all_answers_when_it_reads_again(
    wire: Wire, edge: FakeEdge
) -> None:
    wire.send({"type": "subscribe_learner", "learner_id": "ada"})
    wire.connection.pause_writing()
    wire.frames.clear()
    wire.send({"type": "ping", "id": 1})
    for _ in range(5):
        edge.move("ada")
    wire.send({"type": "ping", "id": 2})
    wire.hear()
    assert wire.frames == []
    wire.connection.resume_writing()
    wire.hear()

    assert [frame.get("id") or frame["revision"] for frame in wire.frames] == [1, 2, 5]
    assert wire.frames[2]["coalesced"] == 4


def test_a_reader_that_stays_slow_is_closed_with_1013(wire: Wire, edge: FakeEdge) -> None:
    wire.connection.pause_writing()
    edge.clock.advance(19.9)
    edge.timers.turn()
    assert wire.close_code is None
    edge.clock.advance(0.2)
    edge.timers.turn()

    assert wire.close_code == 1013


def test_what_is_kept_for_a_slow_reader_is_bounded() -> None:
    edge = FakeEdge(settings=EdgeSettings(frames_per_s=0, slow_queue=10), prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada")
    wire.connection.pause_writing()
    for _ in range(10):
        wire.send({"type": "ping"})
    assert wire.close_code is None
    wire.send({"type": "ping"})

    assert wire.close_code == 1013
