"""A database that stays slow while clients bring more than it can take: acknowledgements take
longer, what is too much is turned away and comes back, and no process grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Final

from harness.client import Account, open_socket
from harness.processes import Process
from tests.chaos.faults import Size, World
from tests.chaos.run import SETTINGS, running
from tests.replay.lane import Tally
from tests.replay.log import Entry, rfc3339
from tests.replay.run import replay
from tests.support.ledger import assert_in_log_exactly_once
from tests.support.school import PASSWORD, School
from tests.support.socket import answer
from tests.support.watcher import Watcher

SOCKETS: Final = 64
LEARNERS: Final = 32
PER_SECOND: Final = 400
"""More than a slow database takes."""
STRETCHES: Final = 10
HALF: Final = STRETCHES // 2
"""By then all caches are full, the 32 MB of SQLite's pages among them, and nothing may grow."""
ROUND_TRIP_S: Final = 0.15
"""How long an answer of the server takes."""
HELD_S, FREE_S = 0.9, 0.15
"""How long a SQLite file is locked, in turns; who waits for it looks every 0.1 s."""
AFTER_S: Final = 90.0
"""How long what was sent may take once the database is as always."""
ALLOWED: Final = {"EDGE_MAX_PENDING": "1000", "EDGE_MAX_IN_FLIGHT": "64"}
"""So few may wait, that a laptop's clients are too many."""
GROWN, MEGABYTES = 1.1, 8.0
"""How much more memory the last two may take than those since half of the time: a tenth and a
little.
"""


@dataclass(slots=True, kw_only=True)
class Stretch:
    """A tenth of the time."""

    seconds: float
    acknowledged: int
    middle_s: float
    longest_s: float
    """How long an acknowledgement took from its last sending."""
    turned_away: int
    """Answers that asked to come back later."""
    read_s: float
    """How long a question for a state took at most."""
    megabytes: Mapping[str, float]
    """Of each process of the way, at the end."""


@dataclass(slots=True)
class _Reading:
    """Asks for a state every second."""

    longest_s: float = 0.0

    async def run(self, url: str, account: Account, learner: str) -> None:
        async with await open_socket(url, account) as socket:
            while True:
                began = time.monotonic()
                await socket.send({"type": "get_state", "learner_id": learner, "id": "state"})
                while (await socket.receive()).get("id") != "state":
                    pass
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                await asyncio.sleep(1.0)

    def take(self) -> float:
        longest_s, self.longest_s = self.longest_s, 0.0
        return longest_s


@dataclass(slots=True)
class Verdict:
    """What was found out, once all stretches are over."""

    told: str = ""
    wrong: list[str] = field(default_factory=list)


async def slow_database(seconds: float, size: Size, show: Callable[[Stretch], None]) -> Verdict:
    """Run a system whose brains' database is slow for so long, show what each tenth of it was like,
    and return what was not as it must be.
    """
    async with running(size, SETTINGS | ALLOWED, fillable=False) as (world, school):
        names = [f"slow-{number}-{uuid.uuid4().hex[:6]}" for number in range(LEARNERS)]
        learners = await asyncio.to_thread(lambda: [school.add_learner(name) for name in names])
        return await _Run(world, school, learners, seconds, show).run()


class _Run:
    def __init__(
        self,
        world: World,
        school: School,
        learners: Sequence[str],
        seconds: float,
        show: Callable[[Stretch], None],
    ) -> None:
        self._world, self._school, self._learners = world, school, learners
        self._seconds = seconds
        self._show = show
        self._tally, self._stop = Tally(), asyncio.Event()
        self._reading = _Reading()
        self._stretches: list[Stretch] = []
        self._verdict = Verdict()
        stack = world.stack
        self._processes = [
            Process(name=name, pid=stack.pid(name))
            for name in (*stack.named("edge"), *stack.named("brain"))
        ]

    async def run(self) -> Verdict:
        stack, learners = self._world.stack, self._learners
        account = Account(stack.http_url, "admin@school.example", PASSWORD)
        began_s = time.time() - 3600
        entries = [
            _entry(line, learners, began_s) for line in range(int(self._seconds) * PER_SECOND)
        ]
        watcher = Watcher(stack.ws_url, account, learners, mode="every")
        async with watcher.watching():
            sending = asyncio.create_task(
                replay(
                    entries,
                    ws_url=stack.ws_url,
                    tokens=dict.fromkeys(learners, account),
                    sockets=SOCKETS,
                    patience_s=AFTER_S,
                    stop=self._stop,
                    grace_s=AFTER_S,
                    tally=self._tally,
                )
            )
            reading = asyncio.create_task(self._reading.run(stack.ws_url, account, learners[0]))
            async with _slow(self._world):
                await self._look(sending)
            self._stop.set()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await sending
            await self._account(entries, watcher)
        self._judge()
        return self._verdict

    async def _look(self, sending: asyncio.Task[object]) -> None:
        """Take a stretch after the other while the database is slow."""
        for _ in range(STRETCHES):
            began, before = time.monotonic(), len(self._tally.latencies_s)
            away = sum(self._tally.retryable.values())
            done, _ = await asyncio.wait([sending], timeout=self._seconds / STRETCHES)
            if done:
                self._verdict.wrong.append("the clients ran out of answers, or gave up")
                return
            latencies = self._tally.latencies_s[before:] or [0.0]
            stretch = Stretch(
                seconds=time.monotonic() - began,
                acknowledged=len(self._tally.latencies_s) - before,
                middle_s=median(latencies),
                longest_s=max(latencies),
                turned_away=sum(self._tally.retryable.values()) - away,
                read_s=self._reading.take(),
                megabytes={one.name: one.memory_kb() / 1024 for one in self._processes},
            )
            self._stretches.append(stretch)
            self._show(stretch)

    async def _account(self, entries: Sequence[Entry], watcher: Watcher) -> None:
        """Hold what was sent against the log and against what was shown."""
        tally = self._tally
        acknowledged: dict[str, dict[str, int]] = {one: {} for one in self._learners}
        for entry in entries:
            if revision := tally.revisions.get(entry.interaction_id):
                acknowledged[entry.learner_id][entry.interaction_id] = revision
        token = await asyncio.to_thread(self._school.token, "admin")
        newest = await assert_in_log_exactly_once(self._school, token, acknowledged)
        await watcher.until(newest, within_s=AFTER_S)
        stored, shown = sum(newest.values()), sum(map(len, watcher.shown.values()))
        counts = tally.sent, tally.acknowledged, stored, shown
        self._verdict.told = "sent {}, acknowledged {}, stored {}, delivered {}".format(*counts)
        self._verdict.told += f"; turned away: {tally.retryable}"
        if len(set(counts)) != 1:
            self._verdict.wrong.append(self._verdict.told)
        self._verdict.wrong += watcher.broken

    def _judge(self) -> None:
        tally, wrong = self._tally, self._verdict.wrong
        wrong += tally.examples
        if not tally.retryable.get("overloaded"):
            wrong.append("nobody was turned away: this run shows nothing")
        if tally.without_pause:
            wrong.append(f"{tally.without_pause} were turned away without retry_after_ms")
        for name in self._stretches[-1].megabytes if self._stretches else ():
            taken = [one.megabytes[name] for one in self._stretches]
            first, last = mean(taken[HALF:-2]), mean(taken[-2:])
            if last > first * GROWN + MEGABYTES:
                wrong.append(f"{name} grew from {first:.0f} to {last:.0f} MB")


@contextlib.asynccontextmanager
async def _slow(world: World) -> AsyncIterator[None]:
    """Let the brains' database be slow while the block runs."""
    if world.stack.postgres is not None:
        with world.relays["postgres"].slow(ROUND_TRIP_S):
            yield
        return
    holding = asyncio.create_task(_hold(world))
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def _hold(world: World) -> None:
    """Hold the write lock of a SQLite file nearly all the time, as a slow disk does."""
    database = sqlite3.connect(
        world.stack.database("brain"), isolation_level=None, timeout=30.0, check_same_thread=False
    )
    try:
        while True:
            await asyncio.to_thread(database.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(HELD_S)
            database.execute("ROLLBACK")
            await asyncio.sleep(FREE_S)
    finally:
        database.close()


def _entry(line: int, learners: Sequence[str], began_s: float) -> Entry:
    id, learner, at_s = str(uuid.uuid4()), learners[line % len(learners)], began_s + line / 1000
    data = answer(learner, correct=line // 20 % 2 == 0, interaction_id=id)
    return Entry(
        line=line,
        at_s=at_s,
        learner_id=learner,
        interaction_id=id,
        data=data | {"occurred_at": rfc3339(at_s)},
    )
