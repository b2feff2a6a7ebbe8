"""A client of one connection without an event loop, and a transport that keeps what is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from edge.connection.endpoint import Endpoint
from tests.support.fakes import FakeEdge

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

    def get_write_buffer_size(self) -> int:
        return 0

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
