"""Accepts connections, many per turn of the event loop, and closes those the door refuses.

An event loop's own server takes one connection a turn. With busy sockets that is fewer than
strangers can open: the kernel's queue fills, and the next client is only accepted when its system
retries, after one, three or seven seconds.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge.admission.door import Door

logger = logging.getLogger(__name__)

MANY: Final = 64
"""Connections accepted per turn, before the open ones get theirs."""

FULL: Final = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
"""Errors that mean this process or machine can hold no more connections."""

PAUSE_S: Final = 0.1
"""Seconds to wait after a machine was full."""


def listen(host: str, port: int, *, backlog: int, reuse_port: bool) -> list[socket.socket]:
    """Return a listening socket for each address of the host. Raises OSError."""
    listening: list[socket.socket] = []
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        for family, _, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=kind, flags=flags
        ):
            one = socket.socket(family, kind, protocol)
            listening.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(backlog)
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening


class Arrivals:
    """The listening sockets, with the interface of `asyncio.Server`."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        make: Callable[[], asyncio.Protocol],
        *,
        door: Door,
        **tls: Any,
    ) -> None:
        """Give each connection that `door` lets come a protocol, once it has spoken TLS if that is
        what it must (the arguments of `connect_accepted_socket`).
        """
        self.sockets = tuple(listening)
        self._make = make
        self._door = door
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[Any]] = set()
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        for one in self.sockets:
            self._attend(one)

    def close(self) -> None:
        """Accept no more; unfinished TLS handshakes are dropped."""
        for one in self.sockets:
            if pause := self._pauses.pop(one, None):
                pause.cancel()
            self._loop.remove_reader(one)
            one.close()
        for task in self._connecting:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until every accepted connection has its protocol."""
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def _attend(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        self._loop.add_reader(listening, self._take, listening)

    def _take(self, listening: socket.socket) -> None:
        """Accept what has arrived, up to the limit of one turn."""
        for _ in range(MANY):
            try:
                arrived, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in FULL:
                    self._pause(listening, error)
                    return
                continue  # it had gone before it was taken
            if self._door.lets_come(address[0]):
                self._connect(arrived)
            else:
                self._door.refused_requests += 1
                arrived.close()

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        logger.warning("no connections are accepted for a moment: %s", error.strerror)
        self._loop.remove_reader(listening)
        self._pauses[listening] = self._loop.call_later(PAUSE_S, self._attend, listening)

    def _connect(self, arrived: socket.socket) -> None:
        arrived.setblocking(False)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(self._make, arrived, **self._tls)
        )
        self._connecting.add(task)
        task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[Any]) -> None:
        self._connecting.discard(task)
        if not task.cancelled():
            task.exception()  # the client does not speak TLS or has gone: not worth logging
