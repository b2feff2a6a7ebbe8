"""The life of one WebSocket: handshake, admission, keepalive, deadlines, closing.

`framing` cuts the bytes in between into frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from websockets.http11 import Request
from websockets.protocol import State

from edge.admission.door import Door
from edge.admission.origins import HINT
from edge.connection import handshake
from edge.connection.deadlines import Due, Phase, deadlines
from edge.connection.framing import Framing, Turns
from edge.frames import outgoing
from edge.frames.codes import CloseCode
from edge.ports import Sink
from edge.session.dependencies import Dependencies
from edge.session.session import Session


class Endpoint(Turns, Protocol):
    """Where sockets arrive, as a connection sees it."""

    door: Door
    closing: bool
    make_session: Callable[[Dependencies, Sink], Session]

    def add(self, connection: Connection) -> None:
        """Note an open socket."""

    def discard(self, connection: Connection) -> None:
        """Forget a closed socket."""


class Connection(Framing):
    """The transport side of one session."""

    _endpoint: Endpoint
    __slots__ = ("_counted", "_peer", "_since", "address", "tick")

    def __init__(self, endpoint: Endpoint, peer: str = "") -> None:
        """Prepare for a socket whose request is about to arrive.

        `peer` overrides the transport's idea of who is at the other end.
        """
        super().__init__(endpoint)
        self._since = self._heard
        """When this phase began."""
        self._counted = False
        """Whether the socket counts for its address."""
        self._peer = peer
        self.address = ""
        """The address that limits count this socket for; empty before it is open."""
        self.tick = 0
        self.session = endpoint.make_session(endpoint.edge, self)

    # What the event loop tells

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, for whatever reason."""
        edge = self._endpoint.edge
        self._enter(Phase.GONE)
        self._endpoint.discard(self)
        edge.timers.cancel(self)
        if self._counted:
            edge.registry.addresses.leave(self.address)
            self._counted = False
        self._count_end()
        self.session.end()

    # What the session asks (edge.ports.Sink)

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; the session ends when the socket is gone."""
        if self._phase.value >= Phase.CLOSING.value:
            return
        self._enter(Phase.CLOSING)
        if self._core.state is State.OPEN:
            self._core.send_close(code, reason[:100])
            self._flush_core()
        self._read(True)  # to read the client's close frame
        self.deadline_changed()

    def deadline_changed(self) -> None:
        """Have `on_due` called when something next becomes due."""
        due = min((due for due, _ in self._deadlines()), default=None)
        if due is not None:
            self._endpoint.edge.timers.schedule(self, due)

    # Phases

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self._endpoint.edge.clock()
        self._taking = phase is Phase.OPEN

    def open(self, request: handshake.Plain) -> None:
        """Open a socket for a request that needs nothing unusual."""
        self._transport.write(request.answer)
        self._enter(Phase.OPEN)
        self._admit(request.headers, request.query)

    def _open(self, request: Request) -> None:
        target = handshake.target(request.path)
        if target is None or target.path != handshake.PATH:
            reason = handshake.missing("" if target is None else target.path)
            self._core.send_response(self._core.reject(404, reason))
            return
        self._core.send_response(self._core.accept(request))
        if self._core.state is not State.OPEN:
            return
        self._enter(Phase.OPEN)
        self._flush_core()
        self._admit(request.headers, target.query)

    def _admit(self, headers: handshake.Headers, query: str) -> None:
        """Register an accepted socket and let it in, or say why not.

        A browser sees only 1006 of a refused handshake, so the refusal comes after it.
        """
        arrival = handshake.arrival(headers, query, self._endpoint.door, self._peer_address())
        edge = self._endpoint.edge
        self.address = arrival.address
        self._endpoint.add(self)
        edge.counters.sockets_opened += 1
        self._counted = edge.registry.addresses.take(self.address)
        if self._endpoint.closing:
            self.close(CloseCode.RESTART, "server restarts")
        elif not self._counted:
            self._refuse(
                "rate_limited", "Too many sockets from this address.", CloseCode.RATE_LIMITED
            )
        elif not arrival.is_allowed:
            self._refuse(
                "forbidden", "This page's origin may not connect. " + HINT, CloseCode.FORBIDDEN
            )
        else:
            self.deadline_changed()
            if arrival.token:
                self.session.authenticate(arrival.token)

    def _refuse(self, code: str, message: str, close_code: int) -> None:
        """Say why before closing."""
        retry_after_ms = 30_000 if code == "rate_limited" else None
        self._endpoint.edge.counters.count_error(code)
        self.send(outgoing.encode(outgoing.error(code, message, retry_after_ms=retry_after_ms)))
        self.close(close_code, message)

    def _break_off(self) -> None:
        """Close a socket whose pieces of a message come too fast."""
        self._refuse("rate_limited", "Too many frames; slow down.", CloseCode.RATE_LIMITED)

    def _peer_address(self) -> str:
        peer = self._transport.get_extra_info("peername")
        return self._peer or (str(peer[0]) if isinstance(peer, tuple) else "local")

    def _count_end(self) -> None:
        counters, core = self._endpoint.edge.counters, self._kept_core
        if self.address:
            close = core and (
                core.close_rcvd if core.close_rcvd_then_sent else core.close_sent or core.close_rcvd
            )
            counters.closes[close.code if close else CloseCode.NONE] += 1
        if self.paused:
            counters.slow_readers -= 1

    # Deadlines

    def on_due(self, now: float) -> None:
        """Do the first thing that has become due, and wait for the next."""
        for due, what in self._deadlines():
            if now >= due:
                self._do(what)
                break
        self.deadline_changed()

    def _deadlines(self) -> Iterator[tuple[float, Due]]:
        edge, session = self._endpoint.edge, self.session
        expires_in_s = session.expires_at_ms / 1000 - time.time()
        return deadlines(
            edge.settings,
            self._phase,
            since=self._since,
            heard=self._heard,
            expires_at=edge.clock() + expires_in_s if session.user_id else None,
            slow_since=self._slow_since,
            holding=self._holding,
            ping_sent=self._ping_sent,
            idle_pings=self._idle_pings,
        )

    def _do(self, what: Due) -> None:
        match what:
            case Due.ABORT:
                self._transport.abort()
            case Due.NOBODY_CAME:
                self._refuse("unauthenticated", "No token arrived in time.", CloseCode.TIMEOUT)
            case Due.TOKEN_EXPIRED:
                message = "The token has expired."
                self._refuse("unauthenticated", message, CloseCode.UNAUTHENTICATED)
            case Due.TOO_SLOW:
                self.close(CloseCode.TRY_LATER, "reading too slowly")
            case Due.LISTEN_ANEW:
                self._heard = self._endpoint.edge.clock()
            case Due.NO_PONG:
                self.close(CloseCode.TIMEOUT, "no answer to a ping")
            case Due.PING:
                self._ping_sent = self._endpoint.edge.clock()
                self._idle_pings += 1
                self._core.send_ping(b"")
                self._flush_core()
