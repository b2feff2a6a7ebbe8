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

from bench.callers import Caller, all_answered, caller_of, checked
from bench.measure import Figures, Meter, latency_figures
from bench.target import LoadError, Target, close_sockets, open_socket, open_sockets, subscribe


@contextlib.asynccontextmanager
async def _calling(
    target: Target, meter: Meter, sockets: int, *, subscribed: bool, ping: bool = False
) -> AsyncIterator[list[Caller]]:
    """Open sockets, and yield who sends on each of them."""
    opened = await open_sockets(target, sockets)
    try:
        if subscribed:
            await subscribe(target, opened, range(sockets))
        yield [
            caller_of(target, socket, number, meter, ping=ping)
            for number, socket in enumerate(opened)
        ]
    finally:
        await close_sockets(opened)


async def _in_a_loop(
    target: Target,
    meter: Meter,
    callers: Sequence[Caller],
    *,
    in_flight: int,
    warmup_s: float,
    seconds: float,
) -> Figures:
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
    await all_answered(target, callers)
    return checked(target, meter, figures)


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
    meter = Meter(target.processes, target.on_measuring)
    async with _calling(target, meter, sockets, subscribed=subscribe, ping=ping) as callers:
        return await _in_a_loop(
            target, meter, callers, in_flight=in_flight, warmup_s=warmup_s, seconds=seconds
        )


@contextlib.asynccontextmanager
async def repeated_loop(
    target: Target, *, sockets: int, subscribe: bool
) -> AsyncIterator[Callable[[float, float], Awaitable[Figures]]]:
    """Yield what runs a closed loop with one request in flight for (warm-up, measured) seconds,
    again and again.

    The sockets stay open in between, so that servers can be compared in short turns.
    """
    meter = Meter(target.processes)
    async with _calling(target, meter, sockets, subscribed=subscribe) as callers:

        def once(warmup_s: float, seconds: float) -> Awaitable[Figures]:
            return _in_a_loop(
                target, meter, callers, in_flight=1, warmup_s=warmup_s, seconds=seconds
            )

        yield once


async def open_loop(
    target: Target, *, sockets: int, rate: float, subscribe: bool, warmup_s: float, seconds: float
) -> Figures:
    """Learners who act when they like: arrivals at random (Poisson) moments, whether or not earlier
    ones were answered.

    Latency counts from the moment an interaction was due, so a server that stalls pays for all who
    had to wait.
    """
    meter = Meter(target.processes, target.on_measuring)
    async with _calling(target, meter, sockets, subscribed=subscribe) as callers:
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
        await all_answered(target, callers)
        figures.update(latency_figures(meter.latencies))
        figures.update(latency_figures(lateness, "late_"))
        del figures["generator_busy"]  # it turns over all the time; how late it sent is what tells
        return checked(target, meter, figures)


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
    return checked(target, meter, figures)
