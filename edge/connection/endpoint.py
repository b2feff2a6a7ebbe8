"""Where sockets arrive, and how they are all sent elsewhere when the edge stops."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable
from typing import Any

from edge.connection.connection import Connection
from edge.frames.codes import CloseCode
from edge.session.logged import LoggedSession
from edge.session.session import Session
from edge.session.surroundings import Surroundings

TICK_S = 0.05
"""How often some sockets are closed while the edge drains."""


class Endpoint:
    """Where sockets arrive: makes a connection of each, and closes them all when the edge stops."""

    def __init__(
        self,
        edge: Surroundings,
        *,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """Prepare for sockets. `call_soon` runs something in the next turn of the event loop, by
        default of the running one.
        """
        self.edge = edge
        self.call_soon = call_soon or asyncio.get_running_loop().call_soon
        self.draining = False
        self.make_session = LoggedSession if edge.settings.debug else Session
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self, **_: Any) -> Connection:
        """Make the protocol of a new socket; called by the HTTP server when a request asks to
        upgrade.
        """
        return Connection(self)

    def add(self, connection: Connection) -> None:
        """Note an open socket."""
        self._connections.add(connection)
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        """Forget a closed socket."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def drain(self) -> None:
        """Tell every client to go elsewhere, then close the sockets in batches, those with work
        under way last.

        Takes a moment for a few sockets and up to the setting `drain_s` for many: they must not all
        come back at once.
        """
        self.draining = True
        waiting = list(self._connections)
        random.shuffle(waiting)
        window = min(self.edge.settings.drain_s * 0.8, len(waiting) / 500)
        for connection in waiting:
            connection.session.drain(int(random.uniform(0.1, window + 1) * 1000))  # noqa: S311
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.edge.settings.drain_s
        due = math.ceil(len(waiting) * TICK_S / max(TICK_S, window))
        while waiting:
            batch, waiting = waiting[:due], waiting[due:]
            for connection in batch:
                if connection.session.busy and clock() < deadline - window:
                    waiting.append(connection)
                else:
                    connection.close(CloseCode.RESTART, "server restarts")
            await asyncio.sleep(TICK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(clock() + 0.1, deadline)):
                await self._empty.wait()
