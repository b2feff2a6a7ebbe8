"""A connection on a transport that keeps what is written: frames, violations, closing, keepalive,
slow readers.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import CloseCode as WsCloseCode
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from edge.connection.connection import Connection
from edge.connection.endpoint import Endpoint
from edge.connection.wire import prepare
from edge.ports import Identity
from edge.session.session import Session
from edge.settings import EdgeSettings
from tests.support.fakes import FAR_AHEAD_MS, FakeEdge, interaction

MASK = b"\x01\x02\x03\x04"


class FakeTransport(asyncio.Transport):
    """Keeps what is written; says what was done to it."""

    def __init__(self, peer: str = "10.1.2.3") -> None:
        super().__init__()
        self.peer = peer
        self.written = bytearray()
        self.closed = self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.peer, 5555) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written after the end"
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class SteppedEndpoint(Endpoint):
    """An endpoint without an event loop: what waits for the loop's next turn waits for `turn`."""

    def __init__(self, edge: FakeEdge) -> None:
        self.waiting: list[Callable[[], None]] = []
        super().__init__(edge.dependencies, call_soon=self.waiting.append)

    def turn(self) -> bool:
        """Run what waits; False when nothing did."""
        waiting, self.waiting[:] = list(self.waiting), []
        for call in waiting:
            call()
        return bool(waiting)

    def settle(self) -> None:
        """Turn until nothing waits."""
        while self.turn():
            pass


class Wire:
    """A client's side of one connection: it speaks through the reference implementation."""

    def __init__(
        self, endpoint: SteppedEndpoint, path: str = "/ws", headers: dict[str, str] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.transport = FakeTransport()
        self.connection = endpoint()
        self.client = ClientProtocol(parse_uri(f"ws://edge.example{path}"))
        self.frames: list[dict[str, Any]] = []
        self.pings = 0
        self._read = 0
        request = self.client.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        self.client.send_request(request)
        self.connection.connection_made(self.transport)
        self.flush()

    def flush(self) -> None:
        """Bring what the client sent to the edge, and what the edge sent to the client."""
        for data in self.client.data_to_send():
            if data:
                self.connection.data_received(data)
        self.endpoint.settle()
        self.hear()

    def hear(self) -> None:
        """Let the client read what is written."""
        data = bytes(self.transport.written[self._read :])
        self._read += len(data)
        if data:
            self.client.receive_data(data)
        if (
            self.transport.closed
            and not self.client.close_expected()
            and self.client.state is State.CONNECTING
        ):
            self.client.receive_eof()
        for event in self.client.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.frames.append(json.loads(event.data))
            elif isinstance(event, Frame) and event.opcode is Opcode.PING:
                self.pings += 1

    def send(self, frame: dict[str, Any]) -> None:
        self.client.send_text(json.dumps(frame).encode())
        self.flush()

    def raw(self, data: bytes) -> None:
        self.connection.data_received(data)
        self.endpoint.settle()
        self.hear()

    @property
    def close_code(self) -> int | None:
        """The code of the edge's close frame."""
        self.hear()
        return int(self.client.close_rcvd.code) if self.client.close_rcvd else None


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a client's frame, also one that no client may send."""
    data = bytearray(Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True))
    data[0] |= rsv << 4
    return bytes(data)


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge(prepare=prepare)


@pytest.fixture
def endpoint(edge: FakeEdge) -> SteppedEndpoint:
    return SteppedEndpoint(edge)


@pytest.fixture
def wire(endpoint: SteppedEndpoint) -> Wire:
    """An authenticated connection."""
    wire = Wire(endpoint, "/ws?token=ada")
    assert wire.frames.pop()["type"] == "connection_established"
    return wire


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
    edge.sweep.turn()
    assert not wire.transport.aborted
    edge.clock.advance(0.2)
    edge.sweep.turn()

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


# Against the reference implementation


frames = st.lists(
    st.one_of(
        st.binary(max_size=140).map(lambda payload: masked(1, payload)),
        st.binary(max_size=20).map(lambda payload: masked(9, payload)),
        st.binary(max_size=20).map(lambda payload: masked(10, payload)),
        st.lists(st.binary(max_size=30), min_size=2, max_size=4).map(
            lambda parts: b"".join(
                masked(1 if index == 0 else 0, part, fin=index == len(parts) - 1)
                for index, part in enumerate(parts)
            )
        ),
        st.integers(126, 70_000).map(lambda size: masked(1, b"y" * size)),
    ),
    max_size=8,
)
QUIET = EdgeSettings(frames_per_s=0)


def _texts_of_the_edge(segments: Iterator[bytes]) -> tuple[list[bytes], int | None]:
    edge = FakeEdge(settings=QUIET, prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada")
    texts: list[bytes] = []
    wire.connection.session.on_text = texts.append  # type: ignore[method-assign]
    for segment in segments:
        if not wire.transport.closed:
            wire.raw(segment)
    return texts, wire.close_code


def _texts_of_the_reference(data: bytes) -> tuple[list[bytes], int | None]:
    client = ClientProtocol(parse_uri("ws://edge.example/ws"))
    server = ServerProtocol(max_size=QUIET.max_frame_bytes)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    server.receive_data(data)
    texts: list[bytes] = []
    parts: list[bytes] = []
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.CONT):
            parts.append(bytes(event.data))
            if event.fin:
                texts.append(b"".join(parts))
                parts = []
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    return texts, int(client.close_rcvd.code) if client.close_rcvd else None


class _Session(Session):
    """A session whose `on_text` a test may replace."""


@pytest.fixture(autouse=True)
def _open_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.connection.endpoint.Session", _Session)


def _split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    marks = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(marks):
        yield data[start:end]


@settings(max_examples=120, deadline=None)
@given(frames, st.lists(st.integers(0, 1 << 20), max_size=12))
def test_however_a_stream_is_cut_its_texts_are_those_of_the_reference(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)

    assert _texts_of_the_edge(_split(data, cuts)) == _texts_of_the_reference(data)


@settings(max_examples=120, deadline=None)
@given(frames, st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 1 << 20), max_size=6))
def test_garbage_after_good_frames_is_ended_like_the_reference_ends_it(
    parts: list[bytes], garbage: bytes, cuts: list[int]
) -> None:
    data = b"".join(parts) + garbage + bytes(70_000)  # whatever frame it claims to be is whole
    texts, code = _texts_of_the_edge(_split(data, cuts))
    expected, expected_code = _texts_of_the_reference(data)

    if code == 4400:  # the reference takes binary frames
        assert texts == expected[: len(texts)]
    else:
        assert (texts, code) == (expected, expected_code)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=5), st.booleans())
def test_garbage_instead_of_a_handshake_raises_nothing(segments: list[bytes], ends: bool) -> None:
    connection = SteppedEndpoint(FakeEdge(prepare=prepare))()
    transport = FakeTransport()
    connection.connection_made(transport)
    for segment in segments:
        if not transport.closed:
            connection.data_received(segment)
    if ends and not transport.closed:
        connection.eof_received()
    connection.connection_lost(None)


# Deadlines


def test_who_does_not_authenticate_in_time_is_closed_with_4408(
    endpoint: SteppedEndpoint, edge: FakeEdge
) -> None:
    wire = Wire(endpoint)
    edge.clock.advance(9.9)
    edge.sweep.turn()
    assert wire.close_code is None
    edge.clock.advance(0.2)
    edge.sweep.turn()

    assert wire.close_code == 4408
    assert wire.frames[0]["code"] == "unauthenticated"


def test_an_expired_token_closes_with_4401(endpoint: SteppedEndpoint, edge: FakeEdge) -> None:
    edge.auth.tokens["short"] = Identity("u", "learner", "s", int(time.time() * 1000) - 1)
    wire = Wire(endpoint, "/ws?token=short")
    edge.clock.advance(0.2)
    edge.sweep.turn()

    assert wire.close_code == 4401
    assert wire.frames[-1]["code"] == "unauthenticated"


def test_a_new_token_moves_the_expiry(endpoint: SteppedEndpoint, edge: FakeEdge) -> None:
    edge.auth.tokens["short"] = Identity("u-ada", "learner", "s", int(time.time() * 1000) + 5)
    wire = Wire(endpoint, "/ws?token=short")
    wire.send({"type": "authenticate", "token": "ada"})
    edge.clock.advance(1)
    edge.sweep.turn()

    assert wire.close_code is None
    assert wire.connection.session.expires_at_ms == FAR_AHEAD_MS


def test_a_silent_client_is_pinged_and_closed_with_4408_when_nothing_comes_back(
    wire: Wire, edge: FakeEdge
) -> None:
    edge.clock.advance(25.1)
    edge.sweep.turn()
    wire.hear()
    assert wire.pings == 1
    edge.clock.advance(10.2)
    edge.sweep.turn()

    assert wire.close_code == 4408


def test_a_client_that_answers_pings_stays_and_is_pinged_less_and_less(
    wire: Wire, edge: FakeEdge
) -> None:
    times: list[float] = []
    started = edge.clock.now
    for _ in range(600):
        edge.clock.advance(1)
        edge.sweep.turn()
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
        edge.sweep.turn()

    assert wire.close_code is None


def test_frames_that_came_while_reading_was_held_are_taken_afterwards(
    endpoint: SteppedEndpoint, edge: FakeEdge
) -> None:
    edge.brain.hold = True
    wire = Wire(endpoint, "/ws?token=ada")
    text = json.dumps({"type": "virtual_brain_interact", "data": interaction()}).encode()
    wire.raw(masked(1, text) * 70 + masked(1, b'{"type":"ping"}'))
    assert (len(edge.brain.sent), wire.transport.reading) == (64, False)
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
    edge.sweep.turn()
    assert wire.close_code is None
    edge.clock.advance(0.2)
    edge.sweep.turn()

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
    edge.sweep.turn()
