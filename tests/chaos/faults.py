"""What goes wrong, each as an action on a running system that has ended when it returns: all
processes run again then, and no fault is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.postgres import Postgres
from harness.stack import Stack
from tests.chaos import clock
from tests.chaos.clock import Clocks
from tests.chaos.disk import Disk, can_mount
from tests.chaos.relay import Relay

PAUSE_S: Final = 4.0
CUT_S: Final = 4.0
SLOW_S: Final = 3.0
SLOW_SERVER_S: Final = 0.3
"""How long each answer of a slow database server takes."""
STEP_S: Final = 600
"""How far a clock is set: further than clocks may differ (`…_CLOCK_LEEWAY_S`)."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a system consists of."""

    database: str = "sqlite"
    edges: int = 1
    brains: int = 1


@dataclass(frozen=True, slots=True)
class World:
    """A running system, and the wires between its edge, its services and its database server."""

    stack: Stack
    relays: Mapping[str, Relay]
    clocks: Clocks | None = None
    """Where clocks can be set."""
    disk: Disk | None = None
    """Where the database server's disk can be filled."""


Fault = Callable[[World], Awaitable[None]]


def kill(*names: str) -> Fault:
    """End processes by SIGKILL and start them again."""

    async def happen(world: World) -> None:
        await asyncio.to_thread(world.stack.kill, *names)
        await asyncio.to_thread(world.stack.start)

    return happen


def restart(name: str) -> Fault:
    """Stop a process as a deploy does, and start it again."""

    async def happen(world: World) -> None:
        await asyncio.to_thread(world.stack.restart, name)

    return happen


def pause(name: str) -> Fault:
    """Let a process stand still, as one that swaps or is debugged does."""

    async def happen(world: World) -> None:
        pid = world.stack.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            os.kill(pid, signal.SIGCONT)

    return happen


def cut(name: str) -> Fault:
    """Cut the network between the edge and a service, or between brains and the database server:
    what is under way gets lost without a word, nothing new gets through.
    """

    async def happen(world: World) -> None:
        async with world.relays[name].cut():
            await asyncio.sleep(CUT_S)

    return happen


def step(name: str, ahead_s: int) -> Fault:
    """Set a process's clock, and set it right again after a while."""

    async def happen(world: World) -> None:
        assert world.clocks is not None
        world.clocks.set(name, ahead_s)
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            world.clocks.set(name, 0)

    return happen


async def full_disk(world: World) -> None:
    """Let no file of the brain grow, as on a full disk."""
    pid = world.stack.pid("brain")
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, unlimited))
    try:
        await asyncio.sleep(PAUSE_S)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


async def slow_store(world: World) -> None:
    """Hold the write lock of the brain's database again and again, as a slow disk does."""
    database = sqlite3.connect(
        world.stack.database("brain"), isolation_level=None, timeout=5.0, check_same_thread=False
    )
    try:
        for _ in range(3):
            await asyncio.to_thread(database.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(SLOW_S / 3)
            database.execute("ROLLBACK")
            await asyncio.sleep(0.1)
    finally:
        database.close()


async def crash_postgres(world: World) -> None:
    """Crash the database server and start it again."""
    server = world.stack.postgres
    assert server is not None
    await asyncio.to_thread(server.stop, how=signal.SIGQUIT)
    await asyncio.to_thread(server.start)


async def restart_postgres(world: World) -> None:
    """Restart the database server as an upgrade does."""
    server = world.stack.postgres
    assert server is not None
    await asyncio.to_thread(server.stop, how=signal.SIGINT)
    await asyncio.to_thread(server.start)


async def pause_postgres(world: World) -> None:
    """Let the database server stand still, with all that serves connections."""
    server = world.stack.postgres
    assert server is not None
    all_of_it = await asyncio.to_thread(_family, server)
    try:
        for one in all_of_it:
            os.kill(one, signal.SIGSTOP)
        await asyncio.sleep(PAUSE_S)
    finally:
        for one in all_of_it:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)


def _family(server: Postgres) -> list[int]:
    """Return the server's process and its children."""
    pid = server.child.pid
    assert pid is not None
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


async def slow_postgres(world: World) -> None:
    """Let every answer of the database server take long, as an overburdened one does."""
    with world.relays["postgres"].slow(SLOW_SERVER_S):
        await asyncio.sleep(PAUSE_S)


async def fill_postgres(world: World) -> None:
    """Let the database server's disk be full for a while."""
    assert world.disk is not None
    with world.disk.full():
        await asyncio.sleep(PAUSE_S)


async def lose_valkey(world: World) -> None:
    """Let what brains hear of each other by be away for a while, and come back empty."""
    server = world.stack.valkey
    assert server is not None
    await asyncio.to_thread(server.child.kill)
    await asyncio.sleep(PAUSE_S)
    await asyncio.to_thread(server.start)


async def nothing(world: World) -> None:
    """Let nothing go wrong: what the rest is compared with."""
    await asyncio.sleep(PAUSE_S)


ANYWHERE: Final[Mapping[str, Fault]] = {
    "nothing": nothing,
    "brain killed": kill("brain"),
    "brain restarted": restart("brain"),
    "brain paused 4 s": pause("brain"),
    "brain cut off 4 s": cut("brain"),
    "edge killed": kill("edge"),
    "edge restarted": restart("edge"),
    "edge paused 4 s": pause("edge"),
    "auth killed": kill("auth"),
    "auth paused 4 s": pause("auth"),
    "auth cut off 4 s": cut("auth"),
    "metrics killed": kill("metrics"),
    "all killed at once": kill("brain", "edge", "auth", "metrics"),
}
ON_SQLITE: Final[Mapping[str, Fault]] = {"disk full 4 s": full_disk, "store slow 3 s": slow_store}
ON_POSTGRES: Final[Mapping[str, Fault]] = {
    "PostgreSQL restarted": restart_postgres,
    "PostgreSQL crashed": crash_postgres,
    "PostgreSQL paused 4 s": pause_postgres,
    "PostgreSQL cut off 4 s": cut("postgres"),
    "PostgreSQL slow 4 s": slow_postgres,
}
ON_A_SMALL_DISK: Final[Mapping[str, Fault]] = {"PostgreSQL's disk full 4 s": fill_postgres}

WITH_BRAINS: Final[Mapping[str, Fault]] = {
    "second brain killed": kill("brain-2"),
    "second brain restarted": restart("brain-2"),
    "second brain paused 4 s": pause("brain-2"),
    "both brains killed": kill("brain", "brain-2"),
    "Valkey lost 4 s": lose_valkey,
}
CLOCKS: Final = ("edge", "brain", "auth")
WITH_CLOCKS: Final[Mapping[str, Fault]] = {
    f"{name}'s clock 10 minutes {'ahead' if ahead_s > 0 else 'behind'} for 4 s": step(name, ahead_s)
    for name in CLOCKS
    for ahead_s in (STEP_S, -STEP_S)
}
WITH_EDGES: Final[Mapping[str, Fault]] = {
    "second edge killed": kill("edge-2"),
    "second edge restarted": restart("edge-2"),
}


def faults(size: Size) -> dict[str, Fault]:
    """Return all faults of a system of this size, by name."""
    on_postgres = size.database == "postgres"
    return {
        **ANYWHERE,
        **(ON_POSTGRES if on_postgres else ON_SQLITE),
        **(ON_A_SMALL_DISK if on_postgres and can_mount() else {}),
        **(WITH_BRAINS if size.brains > 1 else {}),
        **(WITH_EDGES if size.edges > 1 else {}),
        **(WITH_CLOCKS if clock.library() else {}),
    }
