"""The load: what clients do to a server, and how long it takes them.

Everything runs in one thread on one core that the servers do not use. It checks itself: how busy it
was, how late it sent. It knows servers only as a `Target`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measure import Figures, Meter, latency_figures
from harness import traffic
from harness.processes import Process
from harness.wire import HandshakeError, Socket, ignore, json_frame, log_in

_OPENING_AT_ONCE: Final = 32
_ANSWER_TIMEOUT_S: Final = 15.0
_CHECKED_EVERY: Final = 256

OnText = Callable[[bytes], None]


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
            timeout_s=_ANSWER_TIMEOUT_S,
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
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            payload = await got
    except TimeoutError:
        raise LoadError(
            f"{target.name} did not answer in {_ANSWER_TIMEOUT_S:g} s (expected {answer!r})"
        ) from None
    finally:
        socket.on_text = ignore
    if not payload.startswith(answer):
        raise LoadError(f"{target.name} answered {payload[:300].decode()}")
    return payload


class Caller:
    """One socket that sends numbered requests and times their answers; in a closed loop each answer
    brings the next.
    """

    __slots__ = (
        "_answer",
        "_check",
        "_frame",
        "_meter",
        "_number",
        "_sent",
        "_socket",
        "closed_loop",
    )

    def __init__(
        self,
        socket: Socket,
        meter: Meter,
        frame: Callable[[int], bytes],
        answer: bytes,
        check: OnText = ignore,
    ) -> None:
        self._socket, self._meter, self._frame, self._answer, self._check = (
            socket,
            meter,
            frame,
            answer,
            check,
        )
        self._number = 0
        self._sent: dict[int, float] = {}
        self.closed_loop = False
        socket.on_text = self._on_text
        socket.on_lost = self._on_lost

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self._sent)

    def send(self, intended: float | None = None) -> None:
        """Send the next request; its latency counts from `intended` (perf_counter), or from now."""
        self._number = number = self._number + 1
        frame = self._frame(number)
        self._sent[number] = intended or time.perf_counter()
        self._socket.transport.write(frame)

    def _on_text(self, payload: bytes) -> None:
        if payload.startswith(self._answer):
            now = time.perf_counter()
            number = traffic.answered_number(payload)
            self._meter.done(now - self._sent.pop(number))
            if number % _CHECKED_EVERY == 1:
                self._look_at(payload)
            if self.closed_loop:
                self.send()
        elif payload.startswith(b'{"type":"error"'):
            self._meter.failed(payload.decode())
            self._sent.clear()  # the run is void: nobody need wait for the rest

    def _look_at(self, payload: bytes) -> None:
        try:
            self._check(payload)
        except (traffic.WrongAnswerError, ValueError, KeyError, TypeError) as error:
            self._meter.failed(f"{error!r} in {payload.decode()}")

    def _on_lost(self, socket: Socket) -> None:
        self._meter.failed(f"a socket was closed with {socket.close_code}")


async def closed_loop(
    target: Target,
    *,
    sockets: int,
    in_flight: int,
    ping: bool,
    subscribe: bool,
    warmup_s: float,
    seconds: float,
) -> Figures:
    """Every socket keeps so many requests in flight: the most that the server can do."""
    opened = await open_sockets(target, sockets)
    try:
        if subscribe:
            await _subscribe(target, opened, range(sockets))
        meter = Meter(target.processes, target.on_measuring)
        callers = [
            _caller(target, socket, number, meter, ping=ping)
            for number, socket in enumerate(opened)
        ]
        for caller in callers:
            caller.closed_loop = True
            for _ in range(in_flight):
                caller.send()
        await asyncio.sleep(warmup_s)
        meter.start()
        await asyncio.sleep(seconds)
        figures = meter.stop()
        for caller in callers:
            caller.closed_loop = False
        await _all_answered(target, callers)
        return _checked(target, meter, figures)
    finally:
        await close_sockets(opened)


@contextlib.asynccontextmanager
async def repeated_loop(
    target: Target, *, sockets: int, subscribe: bool
) -> AsyncIterator[Callable[[float, float], Awaitable[Figures]]]:
    """Yield what runs a closed loop with one request in flight for (warm-up, measured) seconds,
    again and again.

    The sockets stay open in between, so that servers can be compared in short turns.
    """
    opened = await open_sockets(target, sockets)
    try:
        if subscribe:
            await _subscribe(target, opened, range(sockets))
        meter = Meter(target.processes)
        callers = [
            _caller(target, socket, number, meter, ping=False)
            for number, socket in enumerate(opened)
        ]

        async def once(warmup_s: float, seconds: float) -> Figures:
            for caller in callers:
                caller.closed_loop = True
                caller.send()
            await asyncio.sleep(warmup_s)
            meter.start()
            await asyncio.sleep(seconds)
            figures = meter.stop()
            for caller in callers:
                caller.closed_loop = False
            await _all_answered(target, callers)
            return _checked(target, meter, figures)

        yield once
    finally:
        await close_sockets(opened)


async def open_loop(
    target: Target, *, sockets: int, rate: float, subscribe: bool, warmup_s: float, seconds: float
) -> Figures:
    """Learners who act when they like: arrivals at random (Poisson) moments, whether or not earlier
    ones were answered.

    Latency counts from the moment an interaction was due, so a server that stalls pays for all who
    had to wait.
    """
    opened = await open_sockets(target, sockets)
    try:
        if subscribe:
            await _subscribe(target, opened, range(sockets))
        meter = Meter(target.processes, target.on_measuring)
        callers = [
            _caller(target, socket, number, meter, ping=False)
            for number, socket in enumerate(opened)
        ]
        chance = random.Random(1000)
        lateness: list[float] = []

        async def send_for(stretch_s: float) -> None:
            due = begin = time.perf_counter()
            while (due := due + chance.expovariate(rate)) < begin + stretch_s:
                # Timers of the loop have a millisecond's grain; turning the loop over until the
                # moment is exact.
                while time.perf_counter() < due:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                chance.choice(callers).send(due)
                lateness.append(time.perf_counter() - due)

        await send_for(warmup_s)
        meter.start()
        lateness.clear()
        await send_for(seconds)
        figures = meter.stop()
        await _all_answered(target, callers)
        figures.update(latency_figures(meter.latencies))
        figures.update(latency_figures(lateness, "late_"))
        del figures["generator_busy"]  # it turns over all the time; how late it sent is what tells
        return _checked(target, meter, figures)
    finally:
        await close_sockets(opened)


async def fan_out(target: Target, *, watchers: int, warmup_s: float, seconds: float) -> Figures:
    """One learner, many watchers; the next interaction comes when all have the last update. An
    operation is a delivery.

    Latency is from the interaction to its arrival at the last watcher.
    """
    opened = await open_sockets(target, watchers, watchers=True)
    publisher = await open_socket(target, 0)
    try:
        await _subscribe(target, opened, [0] * watchers)
        meter = Meter(target.processes, target.on_measuring)
        rounds = FanOutRounds(publisher, opened, traffic.Interactions(target.learner(0)), meter)
        rounds.next()
        await asyncio.sleep(warmup_s)
        meter.start()
        before = rounds.count
        await asyncio.sleep(seconds)
        figures = meter.stop()
        figures["updates_rate"] = (rounds.count - before) / figures["seconds"]
        figures["update_bytes"] = rounds.update_bytes
        if rounds.count == before:
            raise LoadError(
                f"{target.name}: no update reached all {watchers} watchers in {seconds:g} s"
            )
        return _checked(target, meter, figures)
    finally:
        await close_sockets([*opened, publisher])


class FanOutRounds:
    """Sends an interaction, waits for an update at every watcher, and again."""

    def __init__(
        self,
        publisher: Socket,
        watchers: Sequence[Socket],
        interactions: traffic.Interactions,
        meter: Meter,
    ) -> None:
        self._publisher, self._interactions, self._meter = publisher, interactions, meter
        self._size = len(watchers)
        self._left = 0
        self._sent = 0.0
        self.count = 0
        self.update_bytes = 0
        publisher.on_text = self._on_answer
        for watcher in watchers:
            watcher.on_text = self._on_update

    def next(self) -> None:
        """Begin a round."""
        self._left = self._size
        self._sent = time.perf_counter()
        self._publisher.transport.write(self._interactions.frame(self.count))

    def _on_answer(self, payload: bytes) -> None:
        if not payload.startswith(traffic.RESPONSE):
            self._meter.failed(payload.decode())

    def _on_update(self, payload: bytes) -> None:
        if not payload.startswith(traffic.UPDATE):
            self._meter.failed(payload.decode())
            return
        self._meter.operations += 1
        self._left -= 1
        if self._left == 0:
            self._meter.latencies.append(time.perf_counter() - self._sent)
            self.update_bytes = len(payload)
            self.count += 1
            self.next()


async def idle(target: Target, *, sockets: int, hold_s: float) -> Figures:
    """Many sockets that do nothing: memory for each, and the processor time of keeping them. Wants
    a fresh server.
    """
    await close_sockets(
        await open_sockets(target, 20)
    )  # what the first connections load is not theirs
    await asyncio.sleep(1.0)
    before = [process.memory_kb() for process in target.processes]
    started = time.perf_counter()
    opened = await open_sockets(target, sockets)
    opening_s = time.perf_counter() - started
    try:
        await asyncio.sleep(1.0)
        after = [process.memory_kb() for process in target.processes]
        meter = Meter(target.processes, target.on_measuring)
        meter.start()
        await asyncio.sleep(hold_s)
        figures = meter.stop()
        figures["held"] = sum(socket.close_code is None for socket in opened)
        figures["memory_kb"] = (sum(after) - sum(before)) / sockets
        figures["opened_rate"] = sockets / opening_s
        for process, kb_0, kb_1 in zip(target.processes, before, after, strict=True):
            figures[f"memory_kb.{process.name}"] = (kb_1 - kb_0) / sockets
        del figures["rate"]
        if figures["held"] < sockets:
            raise LoadError(
                f"{target.name} dropped {sockets - figures['held']:g} of {sockets} idle sockets"
            )
        return figures
    finally:
        await close_sockets(opened)


async def connections(target: Target, *, at_once: int, warmup_s: float, seconds: float) -> Figures:
    """Clients that connect, authenticate and leave, some at once. Latency is until
    `connection_established`.
    """
    meter = Meter(target.processes, target.on_measuring)
    stop = asyncio.Event()

    async def come_and_go(number: int) -> None:
        while not stop.is_set():
            started = time.perf_counter()
            socket = await open_socket(target, number)
            meter.done(time.perf_counter() - started)
            socket.transport.abort()
            number += at_once

    workers = asyncio.gather(*map(come_and_go, range(at_once)))
    try:
        await asyncio.sleep(warmup_s)
        meter.start()
        await asyncio.sleep(seconds)
        figures = meter.stop()
    finally:
        stop.set()
        await workers
    await asyncio.sleep(0.3)
    return _checked(target, meter, figures)


def _caller(target: Target, socket: Socket, number: int, meter: Meter, *, ping: bool) -> Caller:
    if ping:
        return Caller(socket, meter, traffic.ping, traffic.PONG)
    frame = traffic.Interactions(target.learner(number)).frame
    return Caller(socket, meter, frame, traffic.RESPONSE, traffic.check_response)


async def _subscribe(target: Target, sockets: Sequence[Socket], numbers: Sequence[int]) -> None:
    for socket, number in zip(sockets, numbers, strict=True):
        frame = json_frame(
            {"type": "subscribe_learner", "learner_id": target.learner(number), "id": "1"}
        )
        await ask(target, socket, frame, traffic.SUBSCRIBED)


async def _all_answered(target: Target, callers: Sequence[Caller]) -> None:
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while waiting := sum(caller.waiting for caller in callers):
        if time.monotonic() > deadline:
            raise LoadError(f"{target.name} left {waiting} requests without an answer")
        await asyncio.sleep(0.02)


def _checked(target: Target, meter: Meter, figures: Figures) -> Figures:
    """Return the figures, unless something went wrong while they were made: such figures mean
    nothing.
    """
    if meter.errors:
        raise LoadError(f"{target.name}: {meter.errors} errors, the first: {meter.error_text}")
    return figures
