"""A server under test, and sockets on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness import traffic
from harness.processes import Process
from harness.websocket import HandshakeError, Socket, ignore, json_frame, log_in

ANSWER_TIMEOUT_S: Final = 15.0
_OPENING_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server under test."""

    name: str
    port: int
    processes: tuple[Process, ...]
    tokens: tuple[str, ...]
    """Of learners: socket i uses one of them in turn."""
    watcher_tokens: tuple[str, ...]
    """Of people who may watch every learner."""
    learners: tuple[str, ...]
    """The learner that each of the tokens stands for."""
    token_in_query: bool
    """The guide's way of authentication, instead of a first frame."""
    host: str = "127.0.0.1"
    on_measuring: Callable[[], None] | None = None
    """Called when preparations and warm-up are over."""

    def learner(self, number: int) -> str:
        """Return the learner of socket `number`."""
        return self.learners[number % len(self.learners)]


class LoadError(Exception):
    """The server did not do what the scenario needs; the message says what."""


async def open_socket(target: Target, number: int, *, watcher: bool = False) -> Socket:
    """Return an authenticated socket of a learner, or of a watcher. Raises LoadError."""
    tokens = target.watcher_tokens if watcher else target.tokens
    token = tokens[number % len(tokens)]
    try:
        socket, _ = await log_in(
            target.host,
            target.port,
            token,
            ignore,
            in_query=target.token_in_query,
            timeout_s=ANSWER_TIMEOUT_S,
        )
    except (OSError, HandshakeError, TimeoutError) as error:
        raise LoadError(f"{target.name}: socket {number} cannot connect: {error!r}") from error
    return socket


async def open_sockets(target: Target, count: int, *, watchers: bool = False) -> list[Socket]:
    """Return `count` authenticated sockets, opened some at once. Raises LoadError."""
    turn = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def one(number: int) -> Socket:
        async with turn:
            return await open_socket(target, number, watcher=watchers)

    return await asyncio.gather(*map(one, range(count)))


async def close_sockets(sockets: Sequence[Socket]) -> None:
    """Drop all sockets and give both sides time to forget them."""
    for socket in sockets:
        socket.on_lost = None
        socket.transport.abort()
    await asyncio.sleep(0.2 + len(sockets) / 5000)


async def ask(target: Target, socket: Socket, frame: bytes, answer: bytes) -> bytes:
    """Send one frame and return the first frame that starts with `answer`. Raises LoadError."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_text(payload: bytes) -> None:
        if not got.done() and payload.startswith((answer, b'{"type":"error"')):
            got.set_result(payload)

    socket.on_text = on_text
    socket.transport.write(frame)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            payload = await got
    except TimeoutError:
        raise LoadError(
            f"{target.name} did not answer in {ANSWER_TIMEOUT_S:g} s (expected {answer!r})"
        ) from None
    finally:
        socket.on_text = ignore
    if not payload.startswith(answer):
        raise LoadError(f"{target.name} answered {payload[:300].decode()}")
    return payload


async def subscribe(target: Target, sockets: Sequence[Socket], numbers: Sequence[int]) -> None:
    """Let each socket watch the learner of its number. Raises LoadError."""
    for socket, number in zip(sockets, numbers, strict=True):
        frame = json_frame(
            {"type": "subscribe_learner", "learner_id": target.learner(number), "id": "1"}
        )
        await ask(target, socket, frame, traffic.SUBSCRIBED)
