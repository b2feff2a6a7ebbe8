"""A connection on a transport that keeps what is written: frames, violations, closing, memory."""

from __future__ import annotations

import gc
import logging

import pytest
from websockets.frames import CloseCode as WsCloseCode
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from edge.connection.connection import Connection
from edge.connection.rfc6455 import prepare
from edge.session.session import Session
from edge.settings import EdgeSettings
from tests.edge.raw_client import MASK, SteppedEndpoint, Wire, masked
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge(prepare=prepare)


# Handshake


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws?token=ada", {}),
        ("/ws?x=1&token=ada", {}),
        ("/ws", {"Authorization": "Bearer ada"}),
        ("/ws", {"Authorization": "bearer  ada "}),
        ("/ws?token=nobody", {"Authorization": "Bearer ada"}),
    ],
)
def test_a_token_opens_the_session_with_the_handshake(
    endpoint: SteppedEndpoint, path: str, headers: dict[str, str]
) -> None:
    assert [frame["type"] for frame in Wire(endpoint, path, headers).frames] == [
        "connection_established"
    ]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws", {}),
        ("/ws?token=", {}),
        ("/ws", {"Authorization": "Basic ada"}),
        ("/ws", {"Authorization": "Bearer "}),
    ],
)
def test_without_a_token_the_first_frame_is_waited_for(
    endpoint: SteppedEndpoint, path: str, headers: dict[str, str]
) -> None:
    wire = Wire(endpoint, path, headers)
    assert (wire.frames, wire.client.state) == ([], State.OPEN)
    wire.send({"type": "authenticate", "token": "ada"})
    assert wire.frames[0]["type"] == "connection_established"


def test_a_bad_token_is_told_and_then_closed_with_4401(endpoint: SteppedEndpoint) -> None:
    wire = Wire(endpoint, "/ws?token=nobody")
    assert (wire.frames[0]["code"], wire.close_code) == ("unauthenticated", 4401)
    wire.flush()  # the client's own close frame
    assert wire.transport.closed
    assert not wire.transport.aborted


@pytest.mark.parametrize("path", ["/ws/", "/", "/socket", "/ws/x"])
def test_elsewhere_there_is_no_socket(endpoint: SteppedEndpoint, path: str) -> None:
    wire = Wire(endpoint, path)

    assert wire.transport.written.startswith(b"HTTP/1.1 404")
    assert (b"without a slash" in wire.transport.written) is (path == "/ws/")
    assert wire.transport.closed


@pytest.mark.parametrize(
    ("origin", "allowed", "welcome"),
    [
        ("http://edge.example", (), True),
        ("https://evil.example", (), False),
        ("null", (), False),
        ("https://school.example", ("https://school.example",), True),
        ("https://school.example.evil", ("https://school.example",), False),
        ("https://evil.example", ("*",), True),
    ],
)
def test_foreign_origins_are_refused_with_4403(
    origin: str, allowed: tuple[str, ...], welcome: bool
) -> None:
    edge = FakeEdge(settings=EdgeSettings(allowed_origins=allowed), prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada", {"Origin": origin})

    assert wire.close_code == (None if welcome else 4403)
    assert wire.frames[0].get("code") == (None if welcome else "forbidden")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "1.1.1.1", "10.1.2.3"),
        (("10.1.2.3",), "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (("*",), "1.1.1.1", "1.1.1.1"),
        (("10.9.9.9",), "1.1.1.1", "10.1.2.3"),
        (("*",), "", "10.1.2.3"),
    ],
)
def test_a_proxy_is_believed_only_when_trusted(
    trusted: tuple[str, ...], forwarded: str, address: str
) -> None:
    edge = FakeEdge(settings=EdgeSettings(trusted_proxies=trusted), prepare=prepare)
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    assert Wire(SteppedEndpoint(edge), "/ws", headers).connection.address == address


def test_one_socket_too_many_of_an_address_is_refused_with_4429_until_another_leaves() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_sockets_per_address=1), prepare=prepare)
    endpoint = SteppedEndpoint(edge)
    first, second = Wire(endpoint, "/ws?token=ada"), Wire(endpoint, "/ws?token=ada")
    assert (second.close_code, second.frames[0]["retry_after_ms"]) == (4429, 30_000)
    second.connection.connection_lost(None)
    first.connection.connection_lost(None)
    assert Wire(endpoint, "/ws?token=ada").frames[0]["type"] == "connection_established"


def test_a_draining_edge_takes_no_more_sockets(endpoint: SteppedEndpoint) -> None:
    endpoint.closing = True
    wire = Wire(endpoint, "/ws?token=ada")

    assert (wire.close_code, wire.frames) == (1012, [])


# Frames


def test_frames_arrive_byte_by_byte(wire: Wire) -> None:
    wire.client.send_text(b'{"type":"ping","id":1}')
    wire.client.send_text(b'{"type":"ping","pad":"' + b"x" * 300 + b'"}')
    for data in wire.client.data_to_send():
        for byte in data:
            wire.connection.data_received(bytes([byte]))
    wire.hear()

    assert [frame["type"] for frame in wire.frames] == ["pong", "pong"]


def test_many_frames_arrive_in_one_segment(wire: Wire) -> None:
    wire.raw(b"".join(masked(1, b'{"type":"ping","id":%d}' % number) for number in range(50)))

    assert [frame["id"] for frame in wire.frames] == list(range(50))


def test_fragments_may_be_interleaved_with_pings(wire: Wire) -> None:
    wire.raw(
        masked(1, b'{"type":', fin=False)
        + masked(9, b"are you there")
        + masked(0, b'"ping",', fin=False)
        + masked(10, b"")
        + masked(0, b'"id":7}')
        + masked(1, b'{"type":"ping","id":8}')
    )

    assert [frame["id"] for frame in wire.frames] == [7, 8]
    assert Frame(Opcode.PONG, b"are you there").serialize(mask=False) in bytes(
        wire.transport.written
    )


def test_between_messages_an_open_socket_keeps_nothing_of_the_protocol(
    endpoint: SteppedEndpoint,
) -> None:
    wires = [Wire(endpoint, "/ws?token=ada") for _ in range(3)]

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, ServerProtocol) for each in gc.get_objects())

    assert kept() == 0

    wires[0].raw(masked(9, b"are you there") + masked(1, b'{"type":"ping"}'))
    wires[1].raw(masked(1, b'{"type":', fin=False) + masked(10, b""))
    assert kept() == 1, "of the one that has begun a message"

    wires[1].raw(masked(0, b'"ping"}'))
    assert kept() == 0
    assert [len(wire.frames) for wire in wires] == [2, 2, 1]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002, id="unmasked"),
        pytest.param(masked(1, b"{}", rsv=4), 1002, id="compressed"),
        pytest.param(masked(1, b"{}", rsv=1), 1002, id="reserved bit"),
        pytest.param(b"\x83\x80" + MASK, 1002, id="reserved opcode"),
        pytest.param(b"\x89\xfe\x00\x7e" + MASK + b"x" * 126, 1002, id="long ping"),
        pytest.param(b"\x09\x80" + MASK, 1002, id="fragmented ping"),
        pytest.param(masked(0, b"x"), 1002, id="continues nothing"),
        pytest.param(masked(1, b"x", fin=False) + masked(1, b"x"), 1002, id="begins twice"),
        pytest.param(b"\x81\xff" + (70_000).to_bytes(8) + MASK, 1009, id="too long"),
        pytest.param(b"\x81\xff" + (2**62).to_bytes(8) + MASK, 1009, id="absurdly long"),
        pytest.param(
            masked(1, b"x" * 40_000, fin=False) + masked(0, b"x" * 40_000),
            1009,
            id="too long together",
        ),
        pytest.param(masked(2, b"\x00"), 4400, id="binary"),
        pytest.param(masked(8, b"\x03\xe8"), 1000, id="close"),
        pytest.param(masked(8, b"\x00\x05"), 1002, id="close with a bad code"),
        pytest.param(masked(8, b"\x03"), 1002, id="close with half a code"),
    ],
)
def test_a_violation_ends_the_socket_with_its_code(wire: Wire, data: bytes, code: int) -> None:
    wire.raw(data + masked(1, b'{"type":"ping"}'))

    assert wire.close_code == code
    assert wire.frames == []


@pytest.mark.parametrize("debug", [True, False])
def test_for_debugging_the_type_of_every_frame_is_logged_and_nothing_it_says(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = FakeEdge(settings=EdgeSettings(debug=debug), prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada")
    for text in (
        b'{"type":"ping"}',
        b'{"type":"secret"}',
        b"[1]",
        b'{"type":7}',
        b'{"type":"get_state"}',
    ):
        wire.raw(masked(1, text))

    told = [
        (line.type, line.bytes) for line in caplog.records if line.name == "edge.session.logged"
    ]
    all_ = [("ping", 15), ("unknown", 17), ("unknown", 3), ("unknown", 10), ("get_state", 20)]
    assert told == (all_ if debug else [])
    assert len(wire.frames) == 6


def test_a_frame_of_exactly_the_limit_is_taken(wire: Wire) -> None:
    start, end = b'{"type":"ping","pad":"', b'"}'
    payload = start + b"x" * (65_536 - len(start) - len(end)) + end
    wire.raw(masked(1, payload))

    assert wire.frames[0]["type"] == "pong"


def test_text_that_is_not_utf_8_is_a_bad_frame(wire: Wire) -> None:
    wire.raw(masked(1, b'{"type":"ping","id":"\xff\xfe"}'))

    assert wire.frames[0]["code"] == "bad_request"
    assert wire.close_code is None


def test_the_client_closes_and_is_answered(wire: Wire, edge: FakeEdge) -> None:
    wire.client.send_close(WsCloseCode.NORMAL_CLOSURE)
    wire.flush()

    assert wire.close_code == 1000
    assert wire.transport.closed
    wire.connection.connection_lost(None)
    assert edge.counters.connections_active == 0


def test_the_edge_closes_and_waits_for_the_answer(wire: Wire) -> None:
    wire.connection.data_received(masked(1, b'{"type":"ping"}')[:5])  # a frame that was on its way
    wire.connection.close(4403, "revoked")
    assert not wire.transport.closed
    wire.connection.data_received(masked(1, b'{"type":"ping"}')[5:])
    wire.hear()
    assert wire.close_code == 4403
    wire.flush()

    assert wire.transport.closed
    assert not wire.transport.aborted
    assert wire.frames == []


def test_a_client_that_never_answers_the_close_is_cut_off(wire: Wire, edge: FakeEdge) -> None:
    wire.connection.close(1012)
    wire.connection.close(1013)
    edge.clock.advance(1.9)
    edge.timers.turn()
    assert not wire.transport.aborted
    edge.clock.advance(0.2)
    edge.timers.turn()

    assert wire.transport.aborted


def test_nothing_is_sent_after_the_close(wire: Wire) -> None:
    wire.connection.close(1000)
    written = bytes(wire.transport.written)
    wire.connection.send(b"{}")

    assert bytes(wire.transport.written) == written


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
def test_prepared_frames_are_what_the_reference_writes(size: int) -> None:
    payload = b"x" * size

    assert prepare(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


# Memory


def test_a_closed_connection_is_freed_with_its_session(
    edge: FakeEdge, endpoint: SteppedEndpoint
) -> None:
    def count() -> int:
        gc.collect()
        return sum(isinstance(one, Connection | Session) for one in gc.get_objects())

    before = count()
    for end in ("client", "edge", "lost", "unauthenticated"):
        wire = Wire(endpoint, "/ws" if end == "unauthenticated" else "/ws?token=ada")
        if end != "unauthenticated":
            wire.send({"type": "subscribe_learner", "learner_id": "ada"})
            wire.send({"type": "join_room", "room_id": "r"})
            wire.send({"type": "virtual_brain_interact", "data": interaction()})
        if end == "client":
            wire.client.send_close(WsCloseCode.NORMAL_CLOSURE)
            wire.flush()
        elif end == "edge":
            wire.connection.close(1012)
            wire.flush()
        wire.connection.connection_lost(ConnectionResetError() if end == "lost" else None)
    del wire

    assert count() == before
    edge.clock.advance(100)
    edge.timers.turn()
