"""What a client may send without end, and what it costs the others: bounded work a turn, bounded
memory, and an end.
"""

from __future__ import annotations

import json

import pytest

from edge.connection.connection import Connection
from edge.connection.framing import (
    BYTES_PER_TURN,
    CLOSING_BYTES,
    FRAMES_PER_TURN,
    LOGIN_BYTES,
    MAX_FRAGMENTS,
    QUEUE_BYTES,
)
from edge.connection.rfc6455 import prepare
from edge.session.session import Session
from edge.settings import EdgeSettings
from tests.edge.raw_client import SteppedEndpoint, Wire, masked
from tests.support.fakes import FakeEdge

FLOODS = {
    "empty pings": masked(9, b""),
    "full pings": masked(9, b"x" * 125),
    "pongs nobody asked for": masked(10, b""),
    "pings of our protocol": masked(1, b'{"type":"ping"}'),
    "garbage": masked(1, b"garbage"),
    "empty text": masked(1, b""),
    "large garbage": masked(1, b"x" * 60_000),
    "nested garbage": masked(1, b"[" * 30_000),
    "empty fragments": masked(0, b"", fin=False),
    "fragments": masked(0, b"x" * 100, fin=False),
    "whole messages in two fragments": masked(1, b"{", fin=False) + masked(0, b"}"),
}
"""Kinds of frames that somebody sends again and again, as fast as the network takes them."""


def _opened(path: str, settings: EdgeSettings | None = None) -> tuple[Wire, FakeEdge]:
    edge = FakeEdge(settings=settings or EdgeSettings(), prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), path)
    wire.hear()
    return wire, edge


def _flood(kind: str, size: int) -> bytes:
    start = masked(1, b"", fin=False) if kind.endswith("fragments") and "whole" not in kind else b""
    frame = FLOODS[kind]
    return start + frame * (size // len(frame) + 1)


@pytest.mark.parametrize("path", ["/ws", "/ws?token=ada"], ids=["stranger", "user"])
@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_ends_in_a_close_and_little_of_it_was_taken(kind: str, path: str) -> None:
    wire, edge = _opened(path)
    answered = len(wire.transport.written)
    for _ in range(80):  # 20 MB
        if wire.close_code is None:
            wire.raw(_flood(kind, 256 * 1024))

    assert wire.close_code in (1009, 4400, 4429)
    assert edge.counters.messages_received <= 310, "burst, then those refused before the close"
    assert len(wire.transport.written) - answered < 128 * 1024


@pytest.mark.parametrize("kind", FLOODS)
def test_others_get_their_turn_within_a_flood(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, _ = _opened("/ws?token=ada", EdgeSettings(frames_per_s=0))
    handled: list[int] = []
    monkeypatch.setattr(Session, "on_text", lambda _, data: handled.append(len(data)))
    monkeypatch.setattr(Connection, "_feed", lambda _, data: handled.append(len(data)))

    wire.connection.data_received(_flood(kind, 256 * 1024))

    assert 0 < len(handled) <= FRAMES_PER_TURN
    assert sum(handled) <= BYTES_PER_TURN + 65_536
    assert not wire.transport.reading, "no more is read than can be taken"
    assert wire.endpoint.turn(), "the rest waits for the next turn"


def test_a_client_that_does_not_read_gets_no_pongs() -> None:
    wire, edge = _opened("/ws?token=ada")
    wire.connection.pause_writing()
    written = len(wire.transport.written)
    for _ in range(1000):
        wire.connection.data_received(masked(9, b"x" * 125))
        wire.endpoint.settle()
        edge.clock.advance(0.02)

    assert len(wire.transport.written) == written


def test_little_is_kept_for_who_does_not_read_however_long_frames_are() -> None:
    wire, _ = _opened("/ws?token=ada")
    wire.connection.pause_writing()
    frame, sent = b"x" * 100_000, 0
    while wire.close_code is None:
        wire.connection.send_prepared(frame)
        sent += len(frame)
        assert wire.connection.held_bytes <= QUEUE_BYTES
        assert sent <= QUEUE_BYTES + len(frame)
        wire.hear()
    assert wire.close_code == 1013
    assert wire.connection.held_bytes == 0


def test_what_was_kept_for_who_reads_again_counts_no_more() -> None:
    wire, _ = _opened("/ws?token=ada")
    for _ in range(3):
        wire.connection.pause_writing()
        for _ in range(QUEUE_BYTES // 100_000):
            wire.connection.send_prepared(b"x" * 100_000)
        assert wire.connection.held_bytes > QUEUE_BYTES - 100_000
        wire.connection.resume_writing()
        assert wire.connection.held_bytes == 0
    assert wire.close_code is None


def test_a_message_comes_in_few_pieces() -> None:
    wire, _ = _opened("/ws?token=ada", EdgeSettings(frames_per_s=0))
    wire.raw(masked(1, b"{", fin=False) + masked(0, b"", fin=False) * (MAX_FRAGMENTS - 2))
    assert wire.close_code is None
    wire.raw(masked(0, b"", fin=False))

    assert wire.close_code == 1009


LARGE = {
    "whole": masked(1, b"x" * (LOGIN_BYTES + 1)),
    "not whole yet": masked(1, b"x" * (LOGIN_BYTES + 1))[:-1],
    "in pieces": masked(1, b"x" * LOGIN_BYTES, fin=False) + masked(0, b"x", fin=False),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_stranger_sends_nothing_large(kind: str) -> None:
    wire, edge = _opened("/ws")
    wire.raw(LARGE[kind])

    assert wire.close_code == 1009
    assert edge.counters.messages_received == 0


def test_a_stranger_may_send_the_longest_token() -> None:
    wire, _ = _opened("/ws")
    login = {"type": "authenticate", "id": "i" * 128, "token": "t" * 8_192}
    wire.raw(masked(1, json.dumps(login).encode()))

    assert wire.frames[0]["code"] == "unauthenticated"
    assert wire.close_code == 4401


@pytest.mark.parametrize("kind", LARGE)
def test_who_is_about_to_be_known_may_send_large_frames(kind: str) -> None:
    edge = FakeEdge(settings=EdgeSettings(), prepare=prepare)
    edge.auth.hold = True
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada")
    wire.raw(LARGE[kind])

    assert wire.close_code is None


def test_what_comes_after_our_close_frame_is_thrown_away() -> None:
    wire, edge = _opened("/ws?token=ada")
    wire.connection.close(1012, "server restarts")
    received = edge.counters.messages_received
    for _ in range(2 * CLOSING_BYTES // 6_000):
        wire.connection.data_received(masked(1, b"x" * 5_990))

    assert edge.counters.messages_received == received
    assert wire.connection.held_bytes == 0
    assert not wire.transport.reading, "it is not even read any more"


def test_the_clients_close_frame_is_found_behind_what_was_under_way() -> None:
    wire, _ = _opened("/ws?token=ada")
    wire.connection.close(1012, "server restarts")
    under_way = masked(1, b"x" * 200) * 20 + masked(9, b"") * 3
    answer = masked(8, (1012).to_bytes(2))
    for start in range(0, len(under_way + answer), 977):
        wire.connection.data_received((under_way + answer)[start : start + 977])

    assert wire.transport.closed
    assert not wire.transport.aborted
