"""Runs a system through faults while clients use it, and accounts for everything after each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.client import Account
from harness.root import OUR_PATH
from harness.stack import Stack, private_stack
from tests.chaos import clock, history
from tests.chaos.clock import Clocks
from tests.chaos.disk import small_disk
from tests.chaos.faults import CLOCKS, Fault, Size, World, faults
from tests.chaos.probe import Probe
from tests.chaos.relay import Relay
from tests.support.ledger import history as stored_history
from tests.support.school import PASSWORD, School, found_school
from tests.support.watcher import Watcher

ONE: Final = Size()
LEARNERS: Final = 4
PROBES: Final = 6
BEFORE_S: Final = 1.0
AFTER_S: Final = 1.5
"""How long clients go on before and after a fault."""
CURRENT_S: Final = 30.0
"""How long operations may go on after the fault, and watchers then take to be current."""
SETTINGS: Final = {
    "EDGE_FRAMES_PER_S": "0",
    "EDGE_USER_UNITS_PER_S": "0",
    "EDGE_MAX_SOCKETS_PER_USER": "0",
    "EDGE_SLOW_S": "20",
    "BRAIN_QUOTA_A_DAY": "0",
    "BRAIN_HEARTBEAT_S": "1",
}


@dataclass(slots=True, kw_only=True)
class Row:
    """What became of one fault."""

    fault: str
    acknowledged: int = 0
    """Interactions that clients heard were durable."""
    stored: int = 0
    """Interactions in the log, read after everything."""
    delivered: int = 0
    """Updates shown to whoever asked for every revision."""
    reads: int = 0
    longest_s: float = 0.0
    """The longest that one operation took, with all that was tried again."""
    told: Counter[str] = field(default_factory=Counter)
    """Errors that asked clients to try again, by code."""
    wrong: list[str] = field(default_factory=list)
    """Promises that were not kept."""


def schedule(seed: int, size: Size, count: int) -> list[str]:
    """Return names of faults in the order in which a seed brings them; every fault once before any
    comes again.
    """
    chance = random.Random(seed)
    names: list[str] = []
    while len(names) < count:
        names += chance.sample(list(faults(size)), len(faults(size)))
    return names[:count]


async def run(
    names: Sequence[str], *, seed: int, size: Size = ONE, plant: str = ""
) -> AsyncIterator[Row]:
    """Bring a system up, let each of these faults happen to it, and yield what became of it."""
    env = dict(SETTINGS)
    if plant:
        plants = Path(__file__).parent / "plants"
        env |= {
            "CHAOS_PLANT": plant,
            "PYTHONPATH": os.pathsep.join((str(plants), OUR_PATH["PYTHONPATH"])),
        }
    async with running(size, env) as (world, school):
        for number, name in enumerate(names):
            yield await _one(world, school, faults(size)[name], name, f"{seed}-{number}")


@contextlib.asynccontextmanager
async def running(
    size: Size, env: Mapping[str, str], *, fillable: bool = True
) -> AsyncIterator[tuple[World, School]]:
    """Run a system to which things can happen, and a school in it. `fillable` puts the database
    server on a small disk, which has room for some minutes.
    """
    with private_stack(
        env=env, services=(), database=size.database, edges=size.edges, brains=size.brains
    ) as stack:
        async with _wired(stack, fillable) as world:
            await asyncio.to_thread(stack.start)
            yield world, await asyncio.to_thread(found_school, stack)


@contextlib.asynccontextmanager
async def _wired(stack: Stack, fillable: bool) -> AsyncIterator[World]:
    """Put a wire that can be cut between the first edge and each service, and one between brains
    and the database server.

    Further edges reach the services directly. To them the brains have other addresses, so the edges
    disagree about which brain a learner belongs to.
    """
    async with contextlib.AsyncExitStack() as open_ones:
        disk = open_ones.enter_context(small_disk(stack)) if fillable else None
        relays = {
            name: await open_ones.enter_async_context(Relay(stack.address(name)))
            for name in stack.services
            if name not in stack.named("edge")
        }
        stack.set(
            "edge",
            {
                "EDGE_BRAIN_ADDRESSES": ",".join(
                    relays[name].address for name in stack.named("brain")
                ),
                "EDGE_AUTH_ADDRESS": relays["auth"].address,
                "EDGE_METRICS_ADDRESS": relays["metrics"].address,
            },
        )
        if server := stack.postgres:
            wire = Relay(f"{server.socket}/.s.PGSQL.5432")
            relays["postgres"] = await open_ones.enter_async_context(wire)
            for name in stack.named("brain"):
                address = f"postgresql://aivo@{wire.address}/brain"
                stack.set(name, {"BRAIN_DATABASE_URL": address})
        faketime = clock.library()
        yield World(stack, relays, Clocks(stack, CLOCKS, faketime) if faketime else None, disk)


async def _one(world: World, school: School, fault: Fault, name: str, seed: str) -> Row:
    stack = world.stack
    learners = await asyncio.to_thread(
        lambda: [school.add_learner(f"c-{uuid.uuid4().hex[:10]}") for _ in range(LEARNERS)]
    )
    admin = Account(stack.http_url, "admin@school.example", PASSWORD)
    teacher = Account(stack.http_url, "teacher@school.example", PASSWORD)
    probes = [
        Probe(f"p{number}", stack.ws_url, admin, learners, f"{seed}-{number}")
        for number in range(PROBES)
    ]
    latest, every = (
        Watcher(stack.ws_url, teacher, learners, mode=mode) for mode in ("latest", "every")
    )
    row, stop = Row(fault=name), asyncio.Event()
    async with latest.watching(), every.watching():
        running = [asyncio.create_task(probe.run(stop)) for probe in probes]
        await asyncio.sleep(BEFORE_S)
        await fault(world)
        await asyncio.sleep(AFTER_S)
        stop.set()
        _, stuck = await asyncio.wait(running, timeout=CURRENT_S)
        row.wrong += ["an operation is never answered"] * len(stuck)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=bool(stuck))
        await _account(row, school, learners, probes)
        newest = {one: len(log) for one, log in (await _logs(school, learners)).items()}
        for watcher in (latest, every):
            try:
                await watcher.until(newest, within_s=CURRENT_S)
            except TimeoutError:
                row.wrong.append(f"a watcher of {watcher.mode} is not current")
    for watcher in (latest, every):
        row.wrong += watcher.broken
    row.delivered = sum(map(len, every.shown.values()))
    if any(shown != list(range(1, newest[one] + 1)) for one, shown in every.shown.items()):
        row.wrong.append("who asked for every revision was not shown every one, once")
    return row


async def _account(
    row: Row, school: School, learners: Sequence[str], probes: Sequence[Probe]
) -> None:
    logs = await _logs(school, learners)
    operations = [one for probe in probes for one in probe.operations]
    row.acknowledged = sum(bool(one.interaction_id) for one in operations)
    row.reads = len(operations) - row.acknowledged
    row.stored = sum(map(len, logs.values()))
    row.longest_s = max(probe.longest_s for probe in probes)
    row.told = sum((probe.told for probe in probes), Counter())
    row.wrong += history.violations(operations, logs)
    row.wrong += [text for probe in probes for text in probe.refused]
    if row.stored != row.acknowledged:
        row.wrong.append(f"{row.acknowledged} acknowledged, {row.stored} stored")


async def _logs(school: School, learners: Sequence[str]) -> dict[str, list[str]]:
    token = await asyncio.to_thread(school.token, "admin")
    logs = {}
    for learner in learners:
        entries = await asyncio.to_thread(stored_history, school, learner, token)
        logs[learner] = [entry["interaction_id"] for entry in entries]
    return logs
