"""Makes connections, and moves them to other edges when this one stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable, Iterator

from edge.admission.door import Door
from edge.connection.connection import Connection
from edge.frames.codes import CloseCode
from edge.ports import Sink
from edge.session.dependencies import Dependencies
from edge.session.logged import LoggedSession
from edge.session.session import Session

logger = logging.getLogger(__name__)

TICK_S = 0.05
"""Seconds between two batches of closes while the edge drains."""


@contextlib.contextmanager
def _survived() -> Iterator[None]:
    """Log the failure of one connection, so that it does not stop the others."""
    try:
        yield
    except Exception:
        logger.exception("a socket could not be told to go elsewhere")


class Endpoint:
    """Makes a connection of each socket, and closes them all when the edge stops."""

    def __init__(
        self,
        edge: Dependencies,
        *,
        door: Door | None = None,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """Prepare for sockets, which pass `door`.

        `call_soon` runs something in the event loop's next turn, by default the running loop's.
        """
        self.edge = edge
        self.door = door or Door(edge.settings)
        self.call_soon = call_soon or asyncio.get_running_loop().call_soon
        self.draining = False
        """Whether the edge is about to stop; so far only balancers notice."""
        self.closing = False
        """Whether sockets are being moved to other edges, new ones included."""
        self.make_session: Callable[[Dependencies, Sink], Session] = (
            LoggedSession if edge.settings.debug else Session
        )
        self.connections: set[Connection] = set()
        """All open sockets."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self, peer: str = "") -> Connection:
        """Make the protocol of a new socket, when a request of `peer` asks to upgrade."""
        return Connection(self, peer)

    def add(self, connection: Connection) -> None:
        """Note an open socket."""
        self.connections.add(connection)
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        """Forget a closed socket."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def drain(self) -> None:
        """Turn unready and give balancers time to notice; then tell every client to reconnect
        elsewhere and close the sockets in batches, those with work in progress last.

        Takes `drain_notice_s` for a few sockets and up to `drain_s` for many: they must not all
        reconnect at once, nor to this edge.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.edge.settings.drain_s
        self.draining = True
        await asyncio.sleep(self.edge.settings.drain_notice_s)
        self.closing = True
        waiting = list(self.connections)
        random.shuffle(waiting)
        window = min((deadline - clock()) * 0.8, len(waiting) / 500)
        for connection in waiting:
            with _survived():
                connection.session.drain(int(random.uniform(0.1, window + 1) * 1000))  # noqa: S311
        due = math.ceil(len(waiting) * TICK_S / max(TICK_S, window))
        while waiting:
            batch, waiting = waiting[:due], waiting[due:]
            for connection in batch:
                if connection.session.busy and clock() < deadline - window:
                    waiting.append(connection)
                else:
                    with _survived():
                        connection.close(CloseCode.RESTART, "server restarts")
            await asyncio.sleep(TICK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(clock() + 0.1, deadline)):
                await self._empty.wait()
