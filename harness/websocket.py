"""The load generator's end of a WebSocket: as little Python per frame as asyncio allows.

Frames are masked with the key 0, which RFC 6455 §5.3 permits and which leaves the payload as it is:
the generator saves the work, the server does all of it. Extensions are not offered, so nobody
compresses.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

_TEXT: Final = 0x81
_CLOSE, _PING = 8, 9
_PONG_FRAME: Final = 0x8A
_MASKED: Final = 0x80
_KEY: Final = bytes(4)


class HandshakeError(Exception):
    """The server did not answer 101 to the upgrade, or does not want this client; the message says
    what it said.
    """


def json_frame(message: dict[str, Any]) -> bytes:
    """Return a message as a frame."""
    return text_frame(json.dumps(message, separators=(",", ":")).encode())


def text_frame(payload: bytes) -> bytes:
    """Return a whole masked text frame."""
    return frame(_TEXT, payload)


def frame(first: int, payload: bytes) -> bytes:
    """Return a whole masked frame whose first byte is given."""
    size = len(payload)
    if size < 126:
        return bytes((first, _MASKED | size)) + _KEY + payload
    if size < 65_536:
        return bytes((first, _MASKED | 126)) + size.to_bytes(2, "big") + _KEY + payload
    return bytes((first, _MASKED | 127)) + size.to_bytes(8, "big") + _KEY + payload


class Socket(asyncio.Protocol):
    """One client socket. `on_text` gets the payload of every text frame; replace it at any time.

    `opened` is done after the upgrade; `close_code` is None while open, then what the server sent,
    or 1006.
    """

    __slots__ = ("_rest", "_upgrade", "close_code", "on_lost", "on_text", "opened", "transport")

    def __init__(self, host: str, path: str, on_text: Callable[[bytes], None]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._upgrade: bytes | None = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._rest = b""
        self.on_text = on_text
        self.on_lost: Callable[[Socket], None] | None = None
        self.close_code: int | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if self._upgrade is not None:
            self.transport.write(self._upgrade)

    def connection_lost(self, error: Exception | None) -> None:
        """Wake waiters and call back."""
        if self.close_code is None:
            self.close_code = 1006
        if not self.opened.done():
            self.opened.set_exception(
                HandshakeError("the connection was lost during the handshake")
            )
        if self.on_lost is not None:
            self.on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Hand over every whole text frame; what is not whole yet waits."""
        if self._rest:
            data = self._rest + data
        if self._upgrade is not None:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = head
                return
            self._upgrade = None
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(
                    HandshakeError(head.split(b"\r\n", 1)[0].decode("latin-1"))
                )
                self.transport.close()
                return
            self.opened.set_result(None)
        at, end = 0, len(data)
        while end - at >= 2:
            size = data[at + 1]
            start = at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size = int.from_bytes(data[start : start + width], "big")
                start += width
                if start > end:
                    break
            stop = start + size
            if stop > end:
                break
            first = data[at]
            at = stop
            if first == _TEXT:
                self.on_text(data[start:stop])
            else:
                self._control(first & 15, data[start:stop])
        self._rest = data[at:] if at < end else b""

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.transport.write(frame(_PONG_FRAME, payload))
        elif opcode == _CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self.transport.close()


async def connect(
    host: str,
    port: int,
    path: str,
    on_text: Callable[[bytes], None],
    *,
    name: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Socket:
    """Open a socket and wait for the upgrade; raises OSError or HandshakeError.

    `name` is the server's, in the request and the certificate, when `host` is an address.
    """
    loop = asyncio.get_running_loop()
    name = name or host
    _, socket = await loop.create_connection(
        lambda: Socket(f"{name}:{port}", path, on_text),
        host,
        port,
        ssl=tls,
        server_hostname=name if tls else None,
    )
    try:
        await socket.opened
    except BaseException:
        socket.transport.abort()
        raise
    return socket


async def log_in(
    host: str,
    port: int,
    token: str,
    on_text: Callable[[bytes], None],
    on_lost: Callable[[Socket], None] | None = None,
    *,
    in_query: bool = False,
    path: str = "/ws",
    name: str | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 15.0,
) -> tuple[Socket, dict[str, Any]]:
    """Open a socket, authenticate by the first frame (or, as the original guide has it,
    `in_query`), and return it with the server's `connection_established`.

    Both callbacks get later events. Raises OSError, TimeoutError or HandshakeError.
    """
    greeted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_first(payload: bytes) -> None:
        if not greeted.done():
            greeted.set_result(payload)

    def on_end(socket: Socket) -> None:
        if not greeted.done():
            greeted.set_exception(HandshakeError(f"closed with {socket.close_code}, ungreeted"))

    async with asyncio.timeout(timeout_s):
        path += f"?token={token}" if in_query else ""
        socket = await connect(host, port, path, on_first, name=name, tls=tls)
        try:
            socket.on_lost = on_end
            if socket.close_code is not None:
                on_end(socket)
            if not in_query:
                socket.transport.write(json_frame({"type": "authenticate", "token": token}))
            greeting = _greeting(await greeted)
            if socket.close_code is not None:
                raise HandshakeError(f"closed with {socket.close_code} when greeted")
        except BaseException:
            socket.transport.abort()
            raise
    socket.on_text, socket.on_lost = on_text, on_lost
    return socket, greeting


def _greeting(payload: bytes) -> dict[str, Any]:
    try:
        frame: dict[str, Any] = json.loads(payload)
        if frame["type"] == "connection_established":
            return frame
        said = f"{frame['code']}: {frame['error']}"
    except (ValueError, KeyError, TypeError):
        said = f"not a frame of the protocol: {payload[:300].decode(errors='replace')}"
    raise HandshakeError(said)


def ignore(payload: bytes) -> None:
    """Take no notice of a frame."""
