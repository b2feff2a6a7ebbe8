"""A brain that is used for weeks and shortens its log, and the truth beside it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from brain_service.engine import rebuild, retention
from brain_service.engine.bank_sync import BankSync
from brain_service.engine.storage import Rebuilt
from brain_service.engine.teaching import TeachingOptions
from brain_service.model import Interaction, LearnerState, Statistics, apply, codec
from brain_service.model.bank import Bank
from brain_service.model.teaching import Allowance, Teachers
from brain_service.store import SqlStore
from tests.brain_service.engine.engine_support import (
    Brain,
    Clock,
    interaction,
    revisions,
    running,
    submission,
)

DAY_S: Final = 86_400.0
DAYS: Final = 10.0
OLDER: Final = b"constant"
NAMES: Final = ("ada", "bob", "eve")
# Nobody teaches the bank, so that rows say the same whenever they are replayed.
UNTAUGHT: Final = TeachingOptions(teachers=Teachers.DECLARED, allowance=Allowance(lessons=0))


def answer(learner: str, n: int) -> Interaction:
    subject = f"{learner} {n}"
    return interaction(f"q {subject}", correct=n % 3 != 0, time_taken=2.0 + n, subject=subject)


def no_bank(store: SqlStore) -> BankSync:
    return BankSync(Bank(), store, flush_s=0.0, refresh_s=0.0)


def before_ms(clock: Clock) -> int:
    return int((clock.now - DAYS * DAY_S) * 1000)


class Told:
    """What one learner did, and what it must have come to."""

    def __init__(self) -> None:
        self.state: LearnerState | None = None
        self.times_ms: list[int] = []

    def add(self, learner: str, now_s: float) -> None:
        n = len(self.times_ms)
        self.state = apply(self.state, Statistics(), answer(learner, n), now_s).state
        self.times_ms.append(int(now_s * 1000))


class Scene:
    """A brain that is used for weeks, and the truth beside it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.clock = Clock()
        self.told: dict[str, Told] = {}
        self.removed_before_ms = 0

    @asynccontextmanager
    async def brain(self) -> AsyncIterator[Brain]:
        path: Any = self.address
        async with running(
            path, clock=self.clock, teaching=UNTAUGHT, max_age_s=None, cache_learners=2
        ) as brain:
            yield brain

    async def do(self, step: tuple[str, Any]) -> None:
        match step:
            case ("wait", days):
                self.clock.now += days * DAY_S
            case ("answer", counts):
                async with self.brain() as brain:
                    for learner, count in zip(NAMES, counts, strict=True):
                        await self.answer(brain, learner, count)
            case ("shorten", at_most):
                store = await SqlStore.open(self.address)
                self.removed_before_ms = before_ms(self.clock)
                for _ in range(at_most):
                    if not await retention.shorten(
                        store, no_bank(store), before_ms=self.removed_before_ms
                    ):
                        break
                await store.close()
            case ("rebuild", _):
                await self._rebuild()
            case ("erase", learner):
                async with self.brain() as brain:
                    await brain.engine.erase(learner, "root")
                    assert await brain.store.kept_after([learner]) == {}
                self.told.pop(learner, None)

    async def answer(self, brain: Brain, learner: str, count: int) -> None:
        told = self.told.setdefault(learner, Told())
        before = len(told.times_ms)
        results = await brain.apply(
            *[
                submission(learner, f"{learner}-{n}", interaction=answer(learner, n))
                for n in range(before, before + count)
            ]
        )
        for n in range(before, before + count):
            told.add(learner, self.clock.now)
            assert revisions([results[n - before]]) == [(n + 1, False)]

    async def _rebuild(self) -> None:
        """Have all states computed anew, after they were spoilt."""
        store = await SqlStore.open(self.address)
        heads = await store.load(list(self.told))
        assert await store.rebuild(
            [
                Rebuilt(
                    head.learner_key,
                    head.revision,
                    codec.encode_state(codec.decode_state(head.state)._replace(skills={}), OLDER),
                )
                for head in heads.values()
            ]
        ) == sorted(head.learner_key for head in heads.values())
        assert await rebuild.rebuild_all(store, Bank(), notice_s=0.0, tell=lambda _: None)
        await store.close()

    async def check(self) -> None:
        async with self.brain() as brain:
            for learner, told in self.told.items():
                if told.times_ms:
                    await self._check(brain, learner, told)

    async def _check(self, brain: Brain, learner: str, told: Told) -> None:
        newest = len(told.times_ms)
        [snapshot] = await brain.engine.snapshots([(learner, 0)])
        assert (snapshot.revision, snapshot.state) == (newest, told.state)
        kept = await pages(brain, learner)
        begin = (await brain.store.kept_after([learner])).get(learner, 0)
        assert [each.revision for each in kept] == list(range(begin + 1, newest + 1))
        assert [each.content for each in kept] == [f"q {learner} {n}" for n in range(begin, newest)]
        assert all(at < self.removed_before_ms for at in told.times_ms[:begin])
        again = await brain.apply(*[submission(learner, each.interaction_id) for each in kept[-3:]])
        assert revisions(again) == [(each.revision, True) for each in kept[-3:]]
        await self._check_export(brain, learner, begin)

    async def _check_export(self, brain: Brain, learner: str, begin: int) -> None:
        data = b"".join([each async for each in brain.engine.export(learner, "a parent")])
        lines = [json.loads(line) for line in data.splitlines()]
        newest = len(self.told[learner].times_ms)
        told = [each["revision"] for each in lines if each["type"] == "interaction"]
        assert told == list(range(begin + 1, newest + 1))
        bases = [each for each in lines if each["type"] == "base"]
        assert [each["revision"] for each in bases] == ([begin] if begin else [])
        assert all(each["state"]["answers"] == begin for each in bases)
        assert lines[-1]["type"] == "end"


async def pages(brain: Brain, learner: str, size: int = 7) -> list[Any]:
    found: list[Any] = []
    more = True
    while more:
        page, more = await brain.engine.history(
            learner, after_revision=found[-1].revision if found else 0, limit=size
        )
        found += page
    return found
