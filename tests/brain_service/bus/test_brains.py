"""Two brains of one database and one bus: what each tells is not stale, and misses nothing."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from brain_service.bus.valkey import ValkeyBus
from brain_service.engine.engine import Engine
from brain_service.engine.memory import Memory
from brain_service.engine.publication import Publication
from brain_service.store import SqlStore
from brain_service.watch.watches import Cursor, Watches
from harness.valkey import Valkey
from tests.brain_service.engine.engine_support import Clock, running, submission
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(90)

LEARNERS = [f"learner-{number}" for number in range(5)]


class Brain:
    """What `__main__` puts together, without a server."""

    def __init__(self, store: SqlStore, url: str) -> None:
        self.store = store
        self.bus = ValkeyBus(url, store.epoch, beat_s=0.05, patience_s=0.5)
        self.engine = Engine(store=store, bus=self.bus, clock=Clock())
        self.watches = Watches(self.engine)
        self.bus.subscribe(self.watches.publish)
        self.bus.follow(self.engine)
        self.bus.follow(self.watches)

    async def revision(self, learner_id: str) -> int:
        (snapshot,) = await self.engine.snapshots([(learner_id, 0)])
        return snapshot.revision

    async def until_told(self, learner_id: str, revision: int) -> None:
        await eventually(lambda: self.revision(learner_id), lambda told: told == revision)

    async def until_in_touch(self, *, in_touch: bool = True) -> None:
        async def touch() -> bool:
            return self.bus.in_touch

        await eventually(touch, lambda seen: seen is in_touch)


@asynccontextmanager
async def brains(path: Path, url: str) -> AsyncIterator[tuple[Brain, Brain]]:
    both = [Brain(await SqlStore.open(path), url) for _ in range(2)]
    for brain in both:
        await brain.engine.start()
        await brain.bus.start()
    for brain in both:
        await brain.until_in_touch()
    try:
        yield both[0], both[1]
    finally:
        for brain in both:
            await brain.engine.stop()
            await brain.bus.stop()
            await brain.store.close()


async def test_memory_does_not_tell_what_another_brain_has_overtaken(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with brains(tmp_path / "brain.db", valkey.url) as (one, two):
        for number in range(1, 11):
            writer = (one, two)[number % 2]
            await writer.engine.submit([submission("ada", f"i{number}")])
            for brain in (one, two):
                await brain.until_told("ada", number)
        assert one.bus.counters.gaps == two.bus.counters.gaps == 0


async def test_memory_tells_nothing_while_the_bus_is_away_and_nothing_old_after_it(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with brains(tmp_path / "brain.db", valkey.url) as (one, two):
        await two.engine.submit([submission("ada", "a")])
        valkey.child.signal(signal.SIGSTOP)
        for brain in (one, two):
            await brain.until_in_touch(in_touch=False)
        await one.engine.submit([submission("ada", "b")])
        assert await two.revision("ada") == 2
        assert two.engine.cached_learners == 1
        valkey.child.signal(signal.SIGCONT)
        for brain in (one, two):
            await brain.until_in_touch()
        assert two.engine.cached_learners == 0
        assert await two.revision("ada") == 2


async def test_a_watcher_on_one_brain_gets_each_revision_of_the_other_in_order(
    valkey: Valkey, tmp_path: Path
) -> None:
    """Also while the bus comes and goes, and without a single regular heartbeat."""
    chance = random.Random(5)
    async with brains(tmp_path / "brain.db", valkey.url) as (one, two):
        watch, _ = await one.watches.open(
            "w", [Cursor(learner_id=learner, every=True) for learner in LEARNERS]
        )
        told: dict[str, list[int]] = {learner: [] for learner in LEARNERS}

        async def listen() -> None:
            while sum(map(len, told.values())) < 60:
                for update in (await watch.take()).updates:
                    told[update.publication.learner_id].append(update.publication.revision)

        listening = asyncio.create_task(listen())
        wrote = dict.fromkeys(LEARNERS, 0)
        for number in range(60):
            if number in (20, 40):
                valkey.child.signal(signal.SIGSTOP)
                await two.until_in_touch(in_touch=False)
            if number in (30, 50):
                valkey.child.signal(signal.SIGCONT)
                await two.until_in_touch()
            learner = chance.choice(LEARNERS)
            await two.engine.submit([submission(learner, f"i{number}")])
            wrote[learner] += 1
        async with asyncio.timeout(30):
            await listening
        assert told == {learner: list(range(1, count + 1)) for learner, count in wrote.items()}


async def test_a_late_word_of_an_erasure_does_not_end_watching_who_began_anew(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with brains(tmp_path / "brain.db", valkey.url) as (one, two):
        await one.engine.submit([submission("ada", "a")])
        watch, _ = await one.watches.open("w", [Cursor(learner_id="ada")])
        one.watches.hear([Publication("ada", 0, None, (), "", 0, gone=True)])
        assert one.watches.looking is not None
        await one.watches.looking
        batch = await watch.take()
        assert batch.updates == []
        assert batch.heartbeat is not None
        await two.engine.erase("ada", "a parent")
        async with asyncio.timeout(20):
            while not (batch := await watch.take()).updates:
                pass
        assert batch.updates[0].publication.gone


async def test_what_was_overtaken_while_it_was_written_does_not_enter_memory(
    tmp_path: Path,
) -> None:
    """The commit is over in the store, its answer still on the way, when another brain is heard."""
    async with running(tmp_path / "brain.db") as brain:
        engine, store = brain.engine, brain.store
        await brain.apply(submission("ada", "a"), submission("bob", "a"))
        for gap in (False, True):
            held, store.gate, store.entered = asyncio.Event(), asyncio.Event(), asyncio.Event()
            asked = asyncio.create_task(brain.apply(submission("ada", f"b{gap}"),
                                                    submission("bob", f"b{gap}")))  # fmt: skip
            await store.entered.wait()
            if gap:
                engine.regain_touch()
            else:
                engine.hear([Publication("ada", 9, None, (), "", 0)])
            store.gate.set()
            await asked
            store.gate = None
            assert engine.memory.get("ada") is None
            assert (engine.memory.get("bob") is None) is gap
            await brain.apply(submission("ada", f"c{gap}"))
            await brain.apply(submission("ada", f"d{gap}"))
            assert engine.memory.get("ada") is not None
            held.set()


def test_memory_keeps_what_is_newer_than_what_is_heard() -> None:
    assert Memory(learners=1, answers=1).hear("nobody", 3) is False
