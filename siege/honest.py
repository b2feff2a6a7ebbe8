"""The honest side: a few people at work, and what they notice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure import Figures, latency_figures
from harness.traffic import (
    PONG,
    RESPONSE,
    Interactions,
    answered_number,
    ping,
)
from harness.websocket import HandshakeError, Socket, log_in

PING_EVERY_S = 0.1
INTERACT_EVERY_S = 0.5
ASK_EVERY_S = 0.25
LOGIN_EVERY_S = 1.0
GIVE_UP_S = 30.0

_NEW_ADDRESSES = (f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(2**16))
"""Of loopback, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who works."""

    learner_id: str
    token: str
    """Empty for somebody who has yet to sign in."""
    email: str
    password: str


@dataclass(slots=True)
class Noticed:
    """What honest people noticed."""

    pings: list[float] = field(default_factory=list)
    interactions: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    lost: int = 0
    """Sockets that ended, or did not open."""
    refused: list[str] = field(default_factory=list)
    """Errors that they were shown."""

    def figures(self) -> Figures:
        """Return latencies in milliseconds by name."""
        figures: Figures = {"lost": self.lost, "refused": len(self.refused)}
        for name in ("pings", "interactions", "health", "logins"):
            figures.update(latency_figures(getattr(self, name), f"{name}_"))
        return figures


class Worker:
    """One person's socket: pings and interactions that are due at fixed moments, whatever the
    answers do.
    """

    def __init__(self, person: Person, port: int, noticed: Noticed) -> None:
        """Not connected yet."""
        self._person = person
        self._port = port
        self._noticed = noticed
        self._waiting: dict[int, tuple[float, list[float]]] = {}
        self._number = 0
        self._socket: Socket

    async def work(self, until: float) -> None:
        """Work until then, reconnecting when disconnected."""
        interactions = Interactions(self._person.learner_id)
        await self._connect()
        due = interact_due = time.monotonic()
        while (now := time.monotonic()) < until:
            if self._socket.close_code is not None:
                self._noticed.lost += 1
                await self._connect()
                due = interact_due = now = time.monotonic()
            self._ask(ping(self._number), due, self._noticed.pings)
            if now >= interact_due:
                self._ask(interactions.frame(self._number), due, self._noticed.interactions)
                interact_due += INTERACT_EVERY_S
            due += PING_EVERY_S
            await asyncio.sleep(due - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                while self._waiting and self._socket.close_code is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        for asked, latencies in self._waiting.values():
            latencies.append(time.monotonic() - asked)
        self._socket.transport.abort()

    async def _connect(self) -> None:
        self._waiting.clear()
        while True:
            try:
                self._socket, _ = await log_in(
                    "127.0.0.1",
                    self._port,
                    self._person.token,
                    self._on_text,
                    timeout_s=GIVE_UP_S,
                )
                return
            except (OSError, HandshakeError, TimeoutError):
                self._noticed.lost += 1
                await asyncio.sleep(0.1)

    def _ask(self, frame: bytes, due: float, latencies: list[float]) -> None:
        self._waiting[self._number] = (due, latencies)
        self._number += 1
        self._socket.transport.write(frame)

    def _on_text(self, payload: bytes) -> None:
        if payload.startswith((PONG, RESPONSE)):
            asked, latencies = self._waiting.pop(answered_number(payload))
            latencies.append(time.monotonic() - asked)
        elif payload.startswith(b'{"type":"error"'):
            self._noticed.refused.append(json.loads(payload)["code"])
            with contextlib.suppress(Exception):
                self._waiting.pop(answered_number(payload))


async def work(
    people: Sequence[Person], port: int, *, newcomers: Iterator[Person], seconds: float
) -> Noticed:
    """Let everybody work for so long, ask for the edge's health now and then, and have the
    newcomers sign in, one after the other and each time at an address that nobody knows.
    """
    noticed = Noticed()
    until = time.monotonic() + seconds

    async def health(number: int) -> None:
        await _request(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"")

    async def login(number: int) -> None:
        person = next(newcomers)
        body = json.dumps({"email": person.email, "password": person.password}).encode()
        head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        status = await _request(port, head, body, next(_NEW_ADDRESSES))
        if status != 200:
            noticed.refused.append(f"sign-in {status}")

    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(Worker(person, port, noticed).work(until))
        group.create_task(_regularly(health, ASK_EVERY_S, until, noticed.health, noticed))
        group.create_task(_regularly(login, LOGIN_EVERY_S, until, noticed.logins, noticed))
    return noticed


async def _regularly(
    ask: Callable[[int], Awaitable[None]],
    every_s: float,
    until: float,
    latencies: list[float],
    noticed: Noticed,
) -> None:
    number = 0
    while (began := time.monotonic()) < until:
        try:
            async with asyncio.timeout(GIVE_UP_S):
                await ask(number)
        except (OSError, TimeoutError, ValueError) as error:
            noticed.refused.append(f"request: {type(error).__name__}")
        latencies.append(time.monotonic() - began)
        number += 1
        await asyncio.sleep(max(0.0, began + every_s - time.monotonic()))


async def _request(port: int, head: bytes, body: bytes, address: str = "127.0.0.1") -> int:
    """Make a request on a connection of its own; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        writer.write(head + length + body)
        return int((await reader.read(-1))[9:12])
    finally:
        writer.close()


def outline(noticed: Noticed) -> dict[str, Any]:
    """Return the figures, and which errors were shown how often."""
    shown = {code: noticed.refused.count(code) for code in sorted(set(noticed.refused))}
    return {**noticed.figures(), "shown": shown}
