"""HTTP as it arrives: uvicorn's protocol, for clients that send a request's head too slowly or
without end.

Whoever connects could otherwise hold a connection and fill our memory without ever saying who they
are.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of an unfinished head: a token in the address and a browser's cookies are a few KB."""

HEAD_S = 10.0
"""Seconds from the connection, or a request's first byte, to the end of its head."""


class Listener(HttpToolsProtocol):
    """One HTTP connection; sockets have another protocol from the end of their handshake's
    head on.
    """

    _late: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        if self._late is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Note that a request's head is there."""
        super().on_headers_complete()
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is a head that has grown too large."""
        super().data_received(data)
        if self._late is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def _await_head(self) -> None:
        self._head_bytes = 0
        # Without an answer: browsers open connections ahead of any request.
        self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
