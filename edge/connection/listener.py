"""uvicorn's HTTP protocol with limits on clients that send or read too slowly, too much, or
nonsense.

Otherwise any stranger could hold a connection, fill our memory or write lines into our log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from edge.admission.addresses import FORWARDED_FOR, shared_by
from edge.admission.door import Door
from edge.connection import handshake, proxy_protocol

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of an unfinished head: a token in the URL and a browser's cookies take a few KB."""

MAX_HEADERS = 128
"""Most headers of one request; browsers send thirty."""

MAX_BODY_BYTES = 5 * 1024 * 1024
"""Most bytes after a head, slightly above the largest body of any route. The application refuses
most bodies far below this; the rest of a refused one is discarded.
"""

MAX_PIECES, PIECE_BYTES = 2_048, 64
"""Most pieces of one body, and the average size beyond that. Each piece is a call here: a body in
one-byte chunks would make everybody else wait.
"""

REQUEST_S = 15.0
"""Seconds from the connection, or a request's first byte, to the request's last, however many
pieces it comes in; the application answers one whose body is late a little earlier.
"""

READ_S = 30.0
"""Seconds that a client may leave an answer unread."""

MAX_PIPELINED = 8
"""Requests that may wait for the answer to an earlier one; browsers send none."""

SAFE = frozenset(["GET", "HEAD"])
"""Safe methods (RFC 9110 §9.2.1), whose work stops when the client leaves."""


class Listener(HttpToolsProtocol):
    """One HTTP connection; a socket switches protocols after the head of its handshake."""

    _late: asyncio.TimerHandle | None = None
    """Ends the wait for a request; None between two."""
    _unread: asyncio.TimerHandle | None = None
    """Ends the wait for a client that does not read."""
    _in_body = False
    """Whether the head of the arriving request is complete."""
    _taken = 0
    """Bytes of the head, or after it, so far, counting the whole piece that it began in."""
    _payer = ""
    """The address that the unfinished request counts for."""
    _pieces = 0
    """Pieces of the body so far."""
    _body_bytes = 0
    """Bytes in those pieces."""
    _answering: RequestResponseCycle | None = None
    """The request being answered, or answered last; uvicorn only knows the latest to arrive."""
    _asked: asyncio.Task[Any] | None = None
    """The task that answers it, if it is safe to cancel."""
    _admitted = False
    _fault = "This is not an HTTP request."
    """The response to a request that is not read further."""

    def __init__(self, door: Door, *, proxied: bool, **uvicorn: Any) -> None:
        """`proxied` says that the PROXY protocol's header comes first."""
        super().__init__(**uvicorn)
        self._door = door
        self._introduction: bytes | None = b"" if proxied else None
        """That header so far; None when none is expected."""
        self.peer = "local"
        """The peer: a client, or a proxy that names its client in each request."""

    # What the event loop tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        # Call `pause_writing` for any unread byte; TLS never gets below 0.
        transport.set_write_buffer_limits(high=1, low=0)
        if self.client is not None:
            self.peer = self.client[0]
        self._admitted = self._door.admit(self.peer)
        if not self._admitted:
            self._end()
        elif self._introduction is not None and not self._door.proxies.trust(self.peer):
            self._door.tell_turned_away(self.peer, "it is not in EDGE_TRUSTED_PROXIES")
            self._end()  # only our own proxies may say who their client is
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and leave open requests unanswered."""
        self._leave()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
            if self._asked is not None:
                self._asked.cancel()
        # An unfinished request and this protocol would hold each other until garbage is collected.
        self.cycle = self._answering = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take what came. Whatever it is, nothing is raised."""
        if self.transport.is_closing():
            return
        if self._introduction is not None:
            data = self._introduced(self._introduction + data)
            if not data:
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except (httptools.HttpParserError, ValueError):
            self._refuse(self._fault)
        else:
            self._limit(len(data))

    def pause_writing(self) -> None:
        """The client does not read its answer: give it some time."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stop(self._unread)
        super().resume_writing()

    # What the parser tells

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._unset_keepalive_if_required()  # not before: an empty line is no request
        self._in_body, self._taken, self._payer = False, 0, ""
        if self._late is None:
            self._await_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless there are too many; trailers are ignored."""
        if self._in_body:
            return
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")  # the parser stops
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that a request's head is there, unless too many wait for earlier answers."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")  # the parser stops; nothing is answered
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._fault = (
                "A request must name exactly one Host."  # or a proxy may read another than we do
            )
            raise ValueError(self._fault)
        super().on_headers_complete()
        self._in_body, self._taken = True, 0
        self._pieces = self._body_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, unless it comes in too many."""
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > MAX_PIECES and self._body_bytes < PIECE_BYTES * self._pieces:
            raise ValueError("too many pieces")  # the parser stops
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is there."""
        super().on_message_complete()
        self._await_nothing()

    def on_response_complete(self) -> None:
        """Note that a request was answered, and free its body."""
        if self._answering is not None:
            self._answering.body = bytearray()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer a request. A failure because the client has gone is only counted:
        otherwise strangers could fill our log with tracebacks.
        """
        self._answering = cycle

        async def answer(*arguments: Any) -> None:
            if cycle.scope["method"] in SAFE:
                self._asked = asyncio.current_task()
            try:
                await app(*arguments)
            except (Exception, asyncio.CancelledError):
                if not self.transport.is_closing():
                    raise
                cycle.disconnected = True
                self._door.abandoned_requests += 1
            finally:
                self._asked = None

        super()._start_asgi_task(cycle, answer)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the protocol of sockets."""
        if self._answering is not None and not self._answering.response_complete:
            self._end()  # two would write
            return
        self.connections.discard(self)
        socket: Any = self.ws_protocol_class(peer=self.peer)  # type: ignore[misc,call-arg]
        socket.connection_made(self.transport)
        self.transport.set_protocol(socket)
        self._leave()
        self.parser = None  # type: ignore[assignment]  # it holds this protocol
        is_get = self.scope["method"] == "GET" and self.scope["http_version"] == "1.1"
        request = handshake.plain(self.url, self.headers) if is_get else None
        if request is None:
            socket.data_received(self._head())
        else:
            socket.open(request)

    def _head(self) -> bytes:
        """Return the head of the present request, as it would be sent."""
        version = self.scope["http_version"].encode()
        lines = [self.scope["method"].encode() + b" " + self.url + b" HTTP/" + version + b"\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in self.headers]
        return b"".join((*lines, b"\r\n"))

    # Limits

    def _introduced(self, data: bytes) -> bytes:
        """Take the proxy's header from the beginning; return what follows it."""
        self._introduction = data
        try:
            header = proxy_protocol.parse(data)
        except proxy_protocol.BadHeaderError:
            self._door.tell_turned_away(self.peer, "it does not send that protocol's version 2")
            self._end()
            return b""
        if header is None:
            return b""
        self._introduction = None
        if header.address:
            self._leave_door()
            self.peer = header.address
            self.client = (header.address, 0)
            self._admitted = self._door.lets_come(self.peer) and self._door.admit(self.peer)
            if not self._admitted:
                self._end()
                return b""
        return data[header.size :]

    def _limit(self, size: int) -> None:
        if self._late is None:
            return
        self._taken += size
        if self._in_body and self._taken > MAX_BODY_BYTES:
            self._end()
        elif not self._in_body and self._taken > MAX_HEAD_BYTES:
            self._refuse("The head of the request is too large.")
        else:
            self._keep()

    def _keep(self) -> None:
        """Count what is kept of an unfinished request."""
        kept = self._taken
        if self._in_body:
            kept = sum(len(name) + len(value) for name, value in self.headers)
            if not self.cycle.response_complete:  # after the answer the body is discarded
                kept += self._body_bytes
        elif self._door.proxies.trust(self.peer):
            return  # the client is not known yet, and our proxies buffer heads
        if not self._payer:
            self._payer = shared_by(self._client() if self._in_body else self.peer)
        most = self._door.unfinished.keep(self._payer, self, kept)
        if most is not None:
            most.give_way()

    def give_way(self) -> None:
        """End: of an address that keeps too much, this request keeps most."""
        self._door.unfinished.leave(self._payer, self)
        self._end()

    def abort(self) -> None:
        """End at once, whatever is in progress."""
        self.transport.abort()

    def _client(self) -> str:
        """Return the client's address."""
        told = [value.decode("latin-1") for name, value in self.headers if name == FORWARDED_FOR]
        return self._door.proxies.client(self.peer, told)

    def _refuse(self, why: str) -> None:
        """End the connection, with an answer unless one to an earlier request is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._door.refused_requests += 1
            self.send_400_response(why)
        else:
            self._end()

    def _end(self) -> None:
        self._door.refused_requests += 1
        self.transport.close()

    def _await_request(self) -> None:
        # No response: browsers open connections ahead of any request.
        self._late = self.loop.call_later(REQUEST_S, self.transport.close)

    def _await_nothing(self) -> None:
        self._stop(self._late)
        self._late = None
        if self._payer:
            self._door.unfinished.leave(self._payer, self)

    def _leave(self) -> None:
        """This protocol is done with the connection."""
        self._unset_keepalive_if_required()
        self._await_nothing()
        self._stop(self._unread)
        self._leave_door()

    def _leave_door(self) -> None:
        if self._admitted:
            self._door.leave(self.peer)
            self._admitted = False

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
