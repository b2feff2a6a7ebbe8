"""A wire to a service or a database that can be cut: then bytes vanish and no connection is refused
or ended, as when a cable is pulled. It can also be slow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator


class Relay:
    """Listens on a port of its own and passes bytes on to an address."""

    def __init__(self, target: str) -> None:
        """`target` is "host:port", or the path of a socket."""
        self._target = target
        self._delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Relay:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and end all connections."""
        assert self._server is not None
        self._server.close()
        self._break()

    @property
    def address(self) -> str:
        """Return "host:port" of this end."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Cut the wire for as long as the block runs; connections of before are dead after it."""
        self._whole.clear()
        try:
            yield
        finally:
            self._break()
            self._whole.set()

    @contextlib.contextmanager
    def slow(self, delay_s: float) -> Iterator[None]:
        """Let whatever goes there and comes back take so long, for as long as the block runs."""
        self._delay_s = delay_s / 2
        try:
            yield
        finally:
            self._delay_s = 0.0

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            onward = await self._open()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward[1]}
        try:
            # Cancelled when the whole program ends, which is no fault.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(self._pass(reader, onward[1]), self._pass(onward[0], writer))
        finally:
            for one in (writer, onward[1]):
                self._writers.discard(one)
                one.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                await self._whole.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            # A connection that broke is broken at both ends: nobody may wait at the other one.
            writer.transport.abort()
