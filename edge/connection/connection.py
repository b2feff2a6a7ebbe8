"""One WebSocket on the wire: handshake, frames, closing, keepalive, slow readers. It knows no
frame's meaning.

The protocol itself is `websockets`' Sans-I/O core. Two things are done here instead, because they
are most of the work: a whole unfragmented text frame is unmasked, and outgoing text is framed.
Everything else – handshake, control frames, fragments, every violation – goes through the core,
always at the boundary of a frame.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

from edge.frames import outgoing
from edge.frames.codes import CloseCode

if TYPE_CHECKING:
    from edge.connection.endpoint import Endpoint

HIGH_WATER_BYTES = 32 * 1024
"""Bytes that may wait in the transport before a reader counts as slow."""

CLOSE_S = 2.0
"""Seconds that a client has to answer a close frame."""

PATH = "/ws"

_core_logger = logging.getLogger("aivo.websockets")
_core_logger.propagate = False  # the core logs request lines, which may carry a token
_core_logger.addHandler(logging.NullHandler())


def prepare(payload: bytes) -> bytes:
    """Return the bytes of an unmasked text frame (RFC 6455, section 5.2), the same for every
    client.
    """
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


class Connection(asyncio.Protocol):
    """The transport side of one session."""

    __slots__ = (
        "_admitted",
        "_buffer",
        "_close_by",
        "_core",
        "_counters",
        "_endpoint",
        "_fragments",
        "_heard",
        "_holding",
        "_idle_pings",
        "_opened",
        "_pinged",
        "_queue",
        "_slow_since",
        "_transport",
        "address",
        "paused",
        "session",
        "tick",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare for a socket whose request is about to arrive."""
        settings = endpoint.edge.settings
        self._endpoint = endpoint
        self._counters = endpoint.edge.counters
        self._core = ServerProtocol(max_size=settings.max_frame_bytes, logger=_core_logger)
        self._transport: asyncio.Transport
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        self._queue: deque[bytes] | None = None
        self._holding = False
        self._admitted = False
        self._opened = self._heard = endpoint.edge.clock()
        self._pinged = 0.0
        self._idle_pings = 0
        self._slow_since = 0.0
        self._close_by = 0.0
        self.address = ""
        self.paused = False
        self.tick = 0
        self.session = endpoint.make_session(endpoint.edge, self)

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._heard = self._endpoint.edge.clock()
        if self._core.state is State.CONNECTING:
            self._feed(data)
        elif self._close_by:
            self._finish(data)
        elif self._buffer:
            self._consume(self._buffer + data)
        else:
            self._consume(data)

    def eof_received(self) -> None:
        """The client closed its side."""
        self._core.receive_eof()
        self._flush_core()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, for whatever reason."""
        self._endpoint.discard(self)
        self._endpoint.edge.sweep.cancel(self)
        if self._admitted:
            self._endpoint.edge.registry.leave_address(self.address)
            self._admitted = False
        self._count_end()
        self._close_by = self._close_by or 1.0
        self.session.end()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self.paused = True
        counters = self._endpoint.edge.counters
        counters.slow_readers += 1
        counters.slow_readings += 1
        self._slow_since = self._endpoint.edge.clock()
        self.deadline_changed()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        self._endpoint.edge.counters.slow_readers -= 1
        self._slow_since = 0.0
        while self._queue and not self.paused:
            self._transport.write(self._queue.popleft())
        if not self.paused:
            self._queue = None
            self.session.on_writable()

    # What the session asks (edge.ports.Sink)

    def send(self, payload: bytes) -> None:
        """Send one text frame."""
        self.send_prepared(prepare(payload))

    def send_prepared(self, frame: bytes) -> None:
        """Send bytes that `prepare` made."""
        if self._close_by:
            return
        self._counters.messages_sent += 1
        if not self.paused:
            self._transport.write(frame)
            return
        self._queue = self._queue if self._queue is not None else deque()
        self._queue.append(frame)
        if len(self._queue) > self._endpoint.edge.settings.slow_queue:
            self._queue = None
            self.close(CloseCode.TRY_LATER, "reading too slowly")

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; the session ends when the socket is gone."""
        if self._close_by:
            return
        self._close_by = self._endpoint.edge.clock() + CLOSE_S
        if self._core.state is State.OPEN:
            self._core.send_close(code, reason[:100])
            self._flush_core()
        if self._holding and not self._transport.is_closing():
            self._transport.resume_reading()  # to hear the client's close frame
        self.deadline_changed()

    def hold_reading(self, hold: bool) -> None:
        """Stop or resume taking frames."""
        if hold == self._holding or self._close_by:
            return
        self._holding = hold
        if hold:
            self._transport.pause_reading()
        elif not self._transport.is_closing():
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._consume_held)

    def deadline_changed(self) -> None:
        """Have `on_due` called when something next becomes due."""
        edge = self._endpoint.edge
        edge.sweep.schedule(self, self._next_due(edge.clock()))

    # Handshake

    def _open(self, request: Request) -> None:
        url = urlsplit(request.path)
        if url.path != PATH:
            hint = (
                f" The socket is at {PATH}, without a slash at the end."
                if url.path == PATH + "/"
                else ""
            )
            self._core.send_response(self._core.reject(404, f"No WebSocket here.{hint}\n"))
            return
        response = self._core.accept(request)
        self._core.send_response(response)
        if self._core.state is not State.OPEN:
            return
        self._flush_core()
        edge, headers = self._endpoint.edge, request.headers
        self.address = self._client_address(headers.get_all("X-Forwarded-For"))
        self._endpoint.add(self)
        edge.counters.sockets_opened += 1
        self._admitted = edge.registry.admit_address(self.address)
        if self._endpoint.draining:
            self.close(CloseCode.RESTART, "server restarts")
        elif not self._admitted:
            self._refuse(
                "rate_limited", "Too many sockets from this address.", CloseCode.RATE_LIMITED
            )
        elif not self._origin_allowed(headers.get("Origin"), headers.get("Host")):
            self._refuse(
                "forbidden",
                "This origin may not connect; ask for it to be allowed.",
                CloseCode.FORBIDDEN,
            )
        else:
            self.deadline_changed()
            token = _token(url.query, headers.get("Authorization"))
            if token:
                self.session.authenticate(token)

    def _refuse(self, code: str, message: str, close_code: int) -> None:
        """Say why before closing: a browser sees nothing of a refused handshake but 1006."""
        retry_after_ms = 30_000 if code == "rate_limited" else None
        self._endpoint.edge.counters.count_error(code)
        self.send(outgoing.encode(outgoing.error(code, message, retry_after_ms=retry_after_ms)))
        self.close(close_code, message)

    def _origin_allowed(self, origin: str | None, host: str | None) -> bool:
        if origin is None:  # not a browser
            return True
        allowed = self._endpoint.edge.settings.allowed_origins
        return "*" in allowed or origin in allowed or urlsplit(origin).netloc == host

    def _client_address(self, forwarded: list[str]) -> str:
        peer = self._transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else "local"
        proxies = self._endpoint.edge.settings.trusted_proxies
        if forwarded and ("*" in proxies or address in proxies):
            return forwarded[-1].rpartition(",")[2].strip() or address
        return address

    # Frames

    def _consume(self, data: bytes) -> None:
        """Handle every whole frame in `data` and keep the rest."""
        position, end = 0, len(data)
        limit = self._endpoint.edge.settings.max_frame_bytes
        while end - position >= 2 and not self._holding and not self._close_by:
            size, start = data[position + 1] & 0x7F, position + 6
            if size == 126:
                size, start = int.from_bytes(data[position + 2 : position + 4]), position + 8
            elif size == 127:
                size, start = int.from_bytes(data[position + 2 : position + 10]), position + 14
            if start - 4 > end:
                break
            if size > limit or data[position + 1] < 0x80:
                self._feed(data[position:])  # a violation: the core knows how to end this
                return
            if start + size > end:
                break
            if data[position] == 0x81 and self._fragments is None:
                self._idle_pings = 0
                self.session.on_text(
                    apply_mask(data[start : start + size], data[start - 4 : start])
                )
            else:
                self._feed(data[position : start + size])
            position = start + size
        self._buffer = data[position:]
        if self._close_by:
            self._finish(b"")

    def _finish(self, data: bytes) -> None:
        """Take what comes after our close frame: nothing counts any more but the client's own close
        frame.
        """
        rest, self._buffer = self._buffer + data, b""
        self._feed(rest)

    def _consume_held(self) -> None:
        if self._buffer and not self._holding and not self._close_by:
            self._consume(self._buffer)

    def _feed(self, data: bytes) -> None:
        self._core.receive_data(data)
        for event in self._core.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        self._flush_core()

    def _on_frame(self, frame: Frame) -> None:
        if self._close_by:
            return
        if frame.opcode is Opcode.PONG:
            self._pinged = 0.0
        elif frame.opcode is Opcode.BINARY:
            self.close(CloseCode.NOT_JSON, "frames must be text")
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self.session.on_text(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self._fragments = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                payload, self._fragments = b"".join(self._fragments), None
                self.session.on_text(payload)

    def _flush_core(self) -> None:
        for data in self._core.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the core ends the stream: closed, refused or failed
                self._close_by = self._close_by or self._endpoint.edge.clock() + CLOSE_S
                self._transport.close()
                self.deadline_changed()

    def _count_end(self) -> None:
        counters, core = self._endpoint.edge.counters, self._core
        if self.address:
            close = (
                core.close_rcvd if core.close_rcvd_then_sent else core.close_sent or core.close_rcvd
            )
            counters.closes[close.code if close else CloseCode.NONE] += 1
        if self.paused:
            counters.slow_readers -= 1

    # Keepalive and other deadlines

    def on_due(self, now: float) -> None:
        """Do what has become due."""
        settings = self._endpoint.edge.settings
        if self._close_by:
            if now >= self._close_by:
                self._transport.abort()
                return
        elif not self.session.user_id and now >= self._opened + settings.authenticate_s:
            self._refuse("unauthenticated", "No token came in time.", CloseCode.TIMEOUT)
        elif self.session.user_id and time.time() * 1000 >= self.session.expires_at_ms:
            self._refuse("unauthenticated", "The token has expired.", CloseCode.UNAUTHENTICATED)
        elif self._slow_since and now >= self._slow_since + settings.slow_s:
            self.close(CloseCode.TRY_LATER, "reading too slowly")
        elif self._holding:
            self._heard = now  # nothing is read, so silence means nothing
        elif self._pinged and self._heard < self._pinged:
            if now >= self._pinged + settings.pong_s:
                self.close(CloseCode.TIMEOUT, "no answer to a ping")
        elif now >= self._heard + self._ping_after():
            self._pinged = now
            self._idle_pings += 1
            self._core.send_ping(b"")
            self._flush_core()
        self._endpoint.edge.sweep.schedule(self, self._next_due(now))

    def _next_due(self, now: float) -> float:
        settings = self._endpoint.edge.settings
        if self._close_by:
            return self._close_by
        if not self.session.user_id:
            return self._opened + settings.authenticate_s
        due = now + self.session.expires_at_ms / 1000 - time.time()
        if self._slow_since:
            due = min(due, self._slow_since + settings.slow_s)
        if self._pinged and self._heard < self._pinged:
            return min(due, self._pinged + settings.pong_s)
        return min(due, max(now, self._heard + self._ping_after()))

    def _ping_after(self) -> float:
        """Return the silence to wait for: longer for a socket that has long been idle, to spare its
        radio.
        """
        settings = self._endpoint.edge.settings
        return min(settings.ping_max_s, settings.ping_s * (1 + 0.25 * self._idle_pings))


def _token(query: str, authorization: str | None) -> str:
    if authorization and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    values = parse_qs(query).get("token")
    return values[0] if values else ""
