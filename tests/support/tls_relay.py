"""TLS in front of a server that has none: of a PostgreSQL, whose clients request it, or from the
first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificate import make_certificate

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@contextlib.contextmanager
def tls_relay(
    folder: Path, socket: str, *, at_once: bool = False
) -> Iterator[tuple[int, list[str | None]]]:
    """Listen on loopback for the server at a socket; gives the port, and of each connection the
    version of TLS, or None when it asked for none. `at_once` waits for no request. The certificate
    is in `folder`.
    """
    make_certificate(folder, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls-certificate", folder / "tls-key")
    seen: list[str | None] = []
    ready = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b"" if at_once else await reader.read(8)
        if at_once:
            seen.append(writer.get_extra_info("ssl_object").version())
        elif first == _SSL_REQUEST:
            writer.write(b"S")
            try:
                await writer.start_tls(context)
            except OSError:
                return
            seen.append(writer.get_extra_info("ssl_object").version())
            first = b""
        else:
            seen.append(None)
        server_reader, server_writer = await asyncio.open_unix_connection(socket)
        server_writer.write(first)
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    async def run() -> None:
        nonlocal port
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if at_once else None)
        port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    try:
        yield port, seen
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
