"""A hostile client's end of a connection: it sends what it likes, as fast as all of them together
may, and reads or does not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from harness.websocket import text_frame
from siege.honest import Person

PIECE_BYTES = 32 * 1024
"""What is written at a time, so that no one client takes all of the line."""

PATIENCE_S = 5.0
"""How long a hostile client waits for an answer that it wants."""

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


NOBODY = Person(learner_id="", token="", email="", password="")
"""A stranger."""


class Line:
    """The line to the server that all hostile clients share: so many bytes a second and no more."""

    def __init__(self, bytes_per_s: float) -> None:
        """It begins idle."""
        self._rate = bytes_per_s
        self._free_at = 0.0
        self.sent = 0
        """Bytes so far."""

    async def take(self, size: int) -> None:
        """Wait until the line has carried what was sent before."""
        self.sent += size
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 0.05) + size / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


@dataclass(slots=True, kw_only=True)
class Front:
    """Where the hostile clients stand: whom they attack, and what they share."""

    port: int
    line: Line
    source: str = "127.0.0.1"
    """Their address."""
    people: tuple[Person, ...] = (NOBODY,)
    """Whose logins some of them have got."""
    one_user: bool = False
    """Whether everybody here is the first of these."""
    opened: int = 0
    """Connections so far."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How connections went: close codes, statuses, or that they just ended."""


class EndedError(Exception):
    """The server has ended the connection."""


class Wire(asyncio.Protocol):
    """One connection. What comes back is counted and, but for the last of it, forgotten."""

    def __init__(self, front: Front, number: int) -> None:
        """Not connected yet; `number` says which of the hostile clients this is."""
        self.front = front
        self.number = number
        self.heard = b""
        """The last of what came."""
        self._transport: asyncio.Transport
        self._lost = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._news = asyncio.Event()

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hear something."""
        self.heard = (self.heard + data)[-4096:]
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        if not self._lost.done():
            self._lost.set_result(None)
        self._writable.set()
        self._news.set()

    def pause_writing(self) -> None:
        """The server does not take it."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    # What a kind of hostile client does

    @property
    def person(self) -> Person:
        """Whose login this client has."""
        number = 0 if self.front.one_user else self.number
        return self.front.people[number % len(self.front.people)]

    async def connect(self, *, deaf: bool = False) -> None:
        """Open the connection; who is `deaf` never reads. Raises `EndedError`."""
        self.front.opened += 1
        await self.front.line.take(200)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self, "127.0.0.1", self.front.port, local_addr=(self.front.source, 0)
            )
        except OSError:
            raise EndedError from None
        if deaf:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Be deaf from now on."""
        self._transport.pause_reading()

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises `EndedError`."""
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            await self.front.line.take(len(piece))
            if self._lost.done() or self._transport.is_closing():
                raise EndedError
            self._transport.write(piece)
            await self._writable.wait()

    async def say(self, type: str, **fields: Any) -> None:
        """Send a frame of the protocol. Raises `EndedError`."""
        await self.send(text_frame(json.dumps({"type": type, **fields}).encode()))

    async def until(self, words: bytes) -> None:
        """Wait until these come, but not for ever. Raises `EndedError`."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.heard:
                if self._lost.done():
                    raise EndedError
                self._news.clear()
                await self._news.wait()

    async def until_ended(self) -> None:
        """Hold the connection for as long as the server does."""
        await asyncio.shield(self._lost)

    async def become_socket(self, *, login: bool) -> None:
        """Ask to upgrade, and log in. Raises `EndedError`."""
        await self.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n")
        await self.until(b"\r\n\r\n")
        if login:
            await self.say("authenticate", token=self.person.token)
            await self.until(b"connection_established")

    def close(self) -> None:
        """Leave without a word, and note how it ended."""
        if not hasattr(self, "_transport"):
            self.front.outcomes["no connection"] += 1
            return
        self.front.outcomes[self._outcome()] += 1
        self._transport.abort()

    def _outcome(self) -> str:
        at = self.heard.rfind(b"\x88")
        if at >= 0 and at + 4 <= len(self.heard):
            return str(int.from_bytes(self.heard[at + 2 : at + 4]))
        if self.heard.startswith(b"HTTP/1.1 "):
            return self.heard[9:12].decode("latin-1")
        return "ended by the server" if self._lost.done() else "left"
