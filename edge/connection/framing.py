"""Frames in and out of one socket: a few per turn, so that others get theirs, and none written to a
client that does not read.

The protocol itself is `websockets`' Sans-I/O core. Two things are done here instead, because they
are most of the work: a whole unfragmented text frame is unmasked, and outgoing text is framed.
Everything else – handshake, control frames, fragments, every violation – goes through the core,
always at the boundary of a frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

from edge.connection.deadlines import Phase
from edge.connection.rfc6455 import CLOSE, CONTROL, PING, TEXT, find_close, prepare
from edge.frames.codes import CloseCode
from edge.session.dependencies import Dependencies
from edge.session.session import Session

HIGH_WATER_BYTES = 32 * 1024
"""Bytes that may wait in the transport before a reader counts as slow."""

QUEUE_BYTES = 1024 * 1024
"""Most bytes kept for a slow reader besides; a state with many long names takes a tenth of it."""

FRAMES_PER_TURN = 8
"""Frames taken from one socket before the others get their turn; most send one at a time."""

BYTES_PER_TURN = 64 * 1024
"""The same in bytes; the frame that exceeds it is still taken."""

LOGIN_BYTES = 12 * 1024
"""Largest frame before authentication; a token fits."""

MAX_FRAGMENTS = 128
"""Most fragments of one message."""

CLOSING_BYTES = 32 * 1024
"""Bytes scanned for the client's close frame after ours; then reading stops."""

_core_logger = logging.getLogger("aivo.websockets")
_core_logger.disabled = True  # the core logs request lines, which may carry a token


class Turns(Protocol):
    """The sockets that share the event loop's turns."""

    edge: Dependencies
    call_soon: Callable[[Callable[[], None]], object]


class Framing(asyncio.Protocol):
    """The bytes of one socket; `Connection` is its life."""

    __slots__ = (
        "_buffer",
        "_endpoint",
        "_fragments",
        "_heard",
        "_holding",
        "_idle_pings",
        "_kept_core",
        "_phase",
        "_ping_sent",
        "_queue",
        "_queued",
        "_reading",
        "_resting",
        "_slow_since",
        "_taking",
        "_transport",
        "_unread",
        "paused",
        "session",
    )

    def __init__(self, endpoint: Turns) -> None:
        """Begin with a handshake."""
        self._endpoint = endpoint
        self._kept_core: ServerProtocol | None = None
        self._transport: asyncio.Transport
        self._phase = Phase.HANDSHAKE
        self._heard = endpoint.edge.clock()
        """When data last arrived."""
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        self._taking = False
        """Whether frames are taken now: the phase is OPEN and nothing below forbids it."""
        self._reading = True
        """Whether the transport reads."""
        self._holding = False
        """The session has paused incoming frames."""
        self._resting = False
        """This turn's frames are used up; the rest waits for the next."""
        self._unread = CLOSING_BYTES
        """Bytes still to scan for the client's close frame."""
        self._ping_sent: float | None = None
        """When the unanswered ping was sent."""
        self._idle_pings = 0
        self._queued = 0
        """Bytes in the queue."""
        self._queue: deque[bytes] | None = None
        """What waits until the client reads."""
        self._slow_since: float | None = None
        """When the client began to read too slowly."""
        self.paused = False
        """Whether it does now."""
        self.session: Session

    # What `Connection` does

    def _open(self, request: Request) -> None:
        raise NotImplementedError

    def _enter(self, phase: Phase) -> None:
        raise NotImplementedError

    def _break_off(self) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake."""
        raise NotImplementedError

    def deadline_changed(self) -> None:
        """Schedule `on_due` for when something next becomes due."""
        raise NotImplementedError

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._heard = self._endpoint.edge.clock()
        if self._taking:
            self._consume(self._buffer + data if self._buffer else data)
        elif self._phase is Phase.OPEN:
            self._buffer += data  # reading has been paused; this was on its way
        elif self._phase is Phase.HANDSHAKE:
            self._feed(data)
        else:
            self._await_close(data)

    def eof_received(self) -> None:
        """The client closed its side."""
        if self._phase is Phase.OPEN and self._kept_core is None:
            self._end()  # the core, made for it, would do the same
        else:
            self._core.receive_eof()
            self._flush_core()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        edge = self._endpoint.edge
        self.paused = True
        edge.counters.slow_readers += 1
        edge.counters.slow_readings += 1
        self._slow_since = edge.clock()
        self.deadline_changed()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if not self.paused:
            return  # it read too slowly before it became a socket
        self.paused = False
        self._endpoint.edge.counters.slow_readers -= 1
        self._slow_since = None
        while self._queue and not self.paused:
            frame = self._queue.popleft()
            self._queued -= len(frame)
            self._transport.write(frame)
        if not self.paused:
            self._queue = None
            self.session.on_writable()

    # What the session asks (edge.ports.Sink)

    def send(self, payload: bytes) -> None:
        """Send one text frame."""
        self.send_prepared(prepare(payload))

    def send_prepared(self, frame: bytes) -> None:
        """Send bytes that `prepare` made."""
        if self._phase is not Phase.OPEN:
            return
        edge = self._endpoint.edge
        edge.counters.messages_sent += 1
        if not self.paused:
            self._transport.write(frame)
            return
        self._queue = self._queue if self._queue is not None else deque()
        self._queue.append(frame)
        self._queued += len(frame)
        if len(self._queue) > edge.settings.slow_queue or self._queued > QUEUE_BYTES:
            self._queue, self._queued = None, 0
            self.close(CloseCode.TRY_LATER, "reading too slowly")

    def hold_reading(self, hold: bool) -> None:
        """Stop or resume taking frames."""
        if hold == self._holding or self._phase is not Phase.OPEN:
            return
        self._holding = hold
        if self._resting:
            return  # reading is paused as it is; the next turn sees whether to go on
        if hold:
            self._taking = False
            self._read(False)
        else:
            self._go_on_later()

    @property
    def held_bytes(self) -> int:
        """Bytes held for this socket, in both directions."""
        return len(self._buffer) + self._queued + self._transport.get_write_buffer_size()

    @property
    def _largest(self) -> int:
        largest = self._endpoint.edge.settings.max_frame_bytes
        return min(largest, LOGIN_BYTES) if self.session.is_stranger else largest

    # The core

    @property
    def _core(self) -> ServerProtocol:
        """The protocol core. Between the frames of an open socket it has no state worth keeping and
        takes a quarter of an idle socket's memory, so it is made anew when needed.
        """
        if self._kept_core is None:
            self._kept_core = ServerProtocol(
                max_size=self._largest,
                logger=_core_logger,
                state=State.CONNECTING if self._phase is Phase.HANDSHAKE else State.OPEN,
            )
        return self._kept_core

    def _feed(self, data: bytes) -> None:
        self._core.receive_data(data)
        for event in self._core.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        self._flush_core()

    def _flush_core(self) -> None:
        for data in self._core.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the core ends the stream: closed, refused or failed
                self._end()
        if self._phase is Phase.OPEN and self._fragments is None:
            self._kept_core = None

    def _end(self) -> None:
        if self._phase.value < Phase.CLOSING.value:
            self._enter(Phase.CLOSING)
        self._transport.close()
        self.deadline_changed()

    # Frames

    def _consume(self, data: bytes) -> None:
        """Handle the whole frames in `data`, as many as one turn allows, and keep the rest."""
        position, end, frames = 0, len(data), FRAMES_PER_TURN
        limit = self._endpoint.edge.settings.max_frame_bytes
        while end - position >= 2 and self._taking:
            size, start = data[position + 1] & 0x7F, position + 6
            if size == 126:
                size, start = int.from_bytes(data[position + 2 : position + 4]), position + 8
            elif size == 127:
                size, start = int.from_bytes(data[position + 2 : position + 10]), position + 14
            if start - 4 > end:
                break
            if (
                size > limit
                or data[position + 1] < 0x80
                or (size > LOGIN_BYTES and self.session.is_stranger)
            ):
                self._feed(data[position:])  # a violation: the core knows how to end this
                return
            if start + size > end:
                break
            if not frames or position > BYTES_PER_TURN:
                self._rest()
                break
            if data[position] == TEXT and self._fragments is None:
                self._idle_pings = 0
                self.session.on_text(
                    apply_mask(data[start : start + size], data[start - 4 : start])
                )
            else:
                self._take_other(data[position : start + size])
            position = start + size
            frames -= 1
        self._buffer = data[position:]
        if self._phase is Phase.CLOSING:
            self._await_close(b"")

    def _take_other(self, frame: bytes) -> None:
        """Take anything but a whole text frame. Each counts as a frame, because it costs as
        much.
        """
        kind = frame[0] & 0x0F
        if frame[0] == CLOSE or self.session.on_control():
            if kind != PING or not self.paused:  # a pong would only lengthen what is not read
                self._feed(frame)
        elif not kind & CONTROL and self._phase is Phase.OPEN:
            self._break_off()  # a message cannot do without one of its pieces

    def _rest(self) -> None:
        """Continue in the loop's next turn; other sockets get theirs first."""
        self._taking = False
        self._read(False)
        self._go_on_later()

    def _go_on_later(self) -> None:
        self._resting = True
        self._endpoint.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._resting = False
        if self._phase is not Phase.OPEN or self._holding or self._transport.is_closing():
            return
        self._taking = True
        if self._buffer:
            self._consume(self._buffer)
        if self._taking:
            self._read(True)

    def _read(self, reads: bool) -> None:
        """Pause or resume the transport's reading."""
        if reads is not self._reading and not self._transport.is_closing():
            self._reading = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _await_close(self, data: bytes) -> None:
        """Scan what arrives after our close frame for the client's, and ignore the rest."""
        seen = (self._buffer + data)[: self._unread]
        frame, self._buffer = find_close(seen)
        self._unread -= len(seen) - len(self._buffer)
        if frame:
            self._feed(frame)
        elif len(self._buffer) >= self._unread or self._core.state is not State.CLOSING:
            self._buffer = b""
            self._read(False)  # it ends when its time is up

    def _on_frame(self, frame: Frame) -> None:
        if self._phase is not Phase.OPEN:
            return
        if frame.opcode is Opcode.PONG:
            self._ping_sent = None
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
            elif len(self._fragments) >= MAX_FRAGMENTS:
                self.close(CloseCode.TOO_BIG, "too many fragments")
