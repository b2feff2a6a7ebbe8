"""A wire between an edge and a service that can be cut: then bytes vanish and no connection is
refused or ended, as when a cable is pulled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Relay:
    """Listens on a port of its own and passes bytes on to an address."""

    def __init__(self, target: str) -> None:
        """`target` is "host:port"."""
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
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

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            onward = await asyncio.open_connection(self._host, self._port)
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

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                await self._whole.wait()
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
