"""One load test: opens the clients, sends at moments that were set before, waits for the rest, and
judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.load.client import Client, RefusedError, Run
from tests.load.scenarios import Scenario

PATIENCE_S: Final = 10.0
"""When nothing is sent any more and nothing has come for so long, nothing will: what is missing is
lost.
"""
PATIENCE_INTERRUPTED_S: Final = 3.0
SETTLE_S: Final = 60.0
"""How long an overloaded server may take in all to catch up."""
_OPENING_AT_ONCE: Final = 64
_LOOK_S: Final = 0.05
_LIMIT_PART: Final = 0.8
"""Part of the server's rate limit that a plan may use of each socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for."""

    scenario: Scenario
    rate: float
    """Requests a second, of all connections together."""
    duration_s: float
    ramp_s: float
    """Seconds over which the connections are opened."""
    sole_writer: bool = False


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How long it took, and what is known only at the end."""

    total_s: float = 0.0
    loaded_s: float = 0.0
    """While requests were sent."""
    answered: int = 0
    """Of these seconds."""
    unexplained: int = 0
    """Revisions that no acknowledged interaction of ours explains."""
    interrupted: bool = False


def most_per_s(limits: dict[str, float], sockets: int) -> float | None:
    """Return the rate up to which so many sockets stay clear of the server's limit; None when there
    is no limit.
    """
    allowed = limits.get("frames_per_second", 0)
    return allowed * _LIMIT_PART * sockets if allowed else None


async def execute(
    run: Run,
    clients: Sequence[Client],
    plan: Plan,
    *,
    stop: asyncio.Event,
    progress: Callable[[str], None],
) -> Outcome:
    """Do it; `stop` ends it early with what was measured so far."""
    outcome = Outcome()
    started = time.perf_counter()
    helpers = [asyncio.create_task(run.self_check.watch())]
    try:
        await _open_all(run, clients, plan.ramp_s, stop=stop, progress=progress)
        acting = [
            client
            for client in clients
            if client.drives is not None and client.greeting is not None
        ]
        if acting and not stop.is_set():
            before = await _revisions(acting)
            helpers.append(asyncio.create_task(plan.scenario.disturb(clients, plan.duration_s)))
            loading = time.perf_counter()
            await _send(acting, plan, stop=stop)
            outcome.loaded_s = time.perf_counter() - loading
            outcome.answered = run.tally.answered
            await _stop(helpers.pop())
            if await _settle(run, clients, PATIENCE_INTERRUPTED_S if stop.is_set() else PATIENCE_S):
                outcome.unexplained = _account(
                    run, before, await _revisions(acting), sole_writer=plan.sole_writer
                )
        outcome.interrupted = stop.is_set()
    finally:
        for helper in helpers:
            await _stop(helper)
        for client in clients:
            client.end()
    outcome.total_s = time.perf_counter() - started
    await asyncio.sleep(0)  # the transports are told that they were aborted
    return outcome


async def _open_all(
    run: Run,
    clients: Sequence[Client],
    ramp_s: float,
    *,
    stop: asyncio.Event,
    progress: Callable[[str], None],
) -> None:
    turn = asyncio.Semaphore(_OPENING_AT_ONCE)
    begin = time.perf_counter()
    told_each = max(1, len(clients) // 20) if len(clients) > 100 else 1

    async def open_one(client: Client) -> None:
        await _until(begin + ramp_s * client.number / len(clients), stop)
        async with turn:
            if stop.is_set():
                return
            started = time.perf_counter()
            try:
                await client.open()
            except RefusedError as refused:
                run.tally.failed[str(refused)] += 1
                client.stayed_away = True
                progress(f"[{client.number}] Failed: {refused}")
                return
            seconds = time.perf_counter() - started
            run.tally.connected += 1
            run.tally.connect.record(seconds)
            if client.number % told_each == 0 or client.number == len(clients) - 1:
                progress(f"[{client.number}] Connected in {seconds:.3f}s")

    await asyncio.gather(*map(open_one, clients))


async def _send(acting: Sequence[Client], plan: Plan, *, stop: asyncio.Event) -> None:
    """Request in turn at random (Poisson) moments that depend on nothing that the server does."""
    chance = random.Random()
    kinds = itertools.cycle(plan.scenario.requests)
    turns = itertools.cycle(acting)
    due = begin = time.perf_counter()
    end = begin + plan.duration_s
    # A round of all clients does not always begin with the same kind, or some would never do
    # anything but ping.
    skipped = len(acting) % len(plan.scenario.requests) == 0
    for number in itertools.count(1):
        due += chance.expovariate(plan.rate)
        if due >= end:
            break
        await _until(due, stop)
        if stop.is_set():
            return
        if number % 64 == 0:
            await asyncio.sleep(0)  # a sender that is behind still lets answers in
        if skipped and number % len(acting) == 0:
            next(kinds)
        next(turns).request(next(kinds), due)
    await _until(end, stop)


async def _settle(run: Run, clients: Sequence[Client], patience_s: float) -> bool:
    """Wait for what is still to come; tell whether all of it came."""
    tally = run.tally
    end = time.monotonic() + SETTLE_S
    seen, since = -1, time.monotonic()
    while not all(client.settled(run.writes.newest) for client in clients):
        now = time.monotonic()
        if (come := tally.answered + tally.updates + tally.reconnect.count) != seen:
            seen, since = come, now
        if now > min(end, since + patience_s):
            return False
        await asyncio.sleep(_LOOK_S)
    return True


def _account(run: Run, before: dict[str, int], after: dict[str, int], *, sole_writer: bool) -> int:
    """Compare revisions with what was acknowledged; return those that nobody explains."""
    sole = (
        sole_writer and not run.tally.errors.total()
    )  # what an error frame refused may have been done all the same
    return sum(
        run.writes.account(learner_id, before[learner_id], after[learner_id], sole_writer=sole)
        for learner_id in before.keys() & after.keys()
    )


async def _revisions(acting: Sequence[Client]) -> dict[str, int]:
    """Read where each learner that is acted for stands, by a socket that nothing else is expected
    of.
    """
    first = {client.drives: client for client in reversed(acting) if client.greeting is not None}
    asked = {
        learner_id: client.ask_revision()
        for learner_id, client in first.items()
        if learner_id is not None
    }
    found: dict[str, int] = {}
    for learner_id, answer in asked.items():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                revision = await answer
                if revision is not None:
                    found[learner_id] = revision
    return found


async def _until(when: float, stop: asyncio.Event) -> None:
    """Sleep until a moment (perf_counter), or shortly after `stop`; a task for each wait would cost
    more.
    """
    while (wait := when - time.perf_counter()) > 0 and not stop.is_set():  # noqa: ASYNC110
        await asyncio.sleep(min(wait, 0.25))


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
