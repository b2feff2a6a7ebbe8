"""What is older than the log is to be kept leaves it; everything else is as if it were there."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_service.engine import rebuild, retention
from brain_service.engine.bank_sync import BankSync
from brain_service.engine.engine import Failed, FailureCode
from brain_service.engine.journal import LogRow, Rebuilt, Row, Shortened
from brain_service.engine.teaching import TeachingOptions
from brain_service.model import Interaction, LearnerState, Statistics, apply, codec
from brain_service.model.bank import Bank, BankIncrements
from brain_service.model.teaching import Allowance, Teachers
from brain_service.store import SCHEMA, SqlStore, shortening
from harness.postgres import Postgres
from tests.brain_service.engine.engine_support import (
    Brain,
    Clock,
    interaction,
    revisions,
    running,
    submission,
)
from tests.support.eventually import eventually
from tests.support.postgres import migrated

DAY_S: Final = 86_400.0
DAYS: Final = 10.0
OLDER: Final = b"constant"
NAMES: Final = ("ada", "bob", "eve")
# Nobody teaches the bank, so that rows say the same whenever they are replayed.
UNTAUGHT: Final = TeachingOptions(teachers=Teachers.DECLARED, allowance=Allowance(lessons=0))

_numbers = itertools.count()


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


STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.tuples(*[st.integers(0, 9)] * 3)),
        st.tuples(st.just("answer"), st.just((130, 0, 1))),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 4.0, 11.0])),
        st.tuples(st.just("shorten"), st.integers(1, 30)),
        st.tuples(st.just("rebuild"), st.none()),
        st.tuples(st.just("erase"), st.sampled_from(NAMES)),
    ),
    min_size=3,
    max_size=14,
)


async def play(address: str, steps: list[tuple[str, Any]]) -> None:
    scene = Scene(address)
    for step in steps:
        await scene.do(step)
    await scene.check()
    await scene.do(("wait", 11.0))
    await scene.do(("shorten", 10_000))
    await scene.check()
    async with scene.brain() as brain:
        for learner in scene.told:
            assert await pages(brain, learner) == []
    await scene.do(("answer", (1, 1, 1)))
    await scene.do(("rebuild", None))
    await scene.check()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, size=st.sampled_from([1, 7, 200]), shells=st.sampled_from([0, 20, 16_384]))
def test_all_but_what_left_is_as_it_was_on_sqlite(
    steps: list[tuple[str, Any]],
    size: int,
    shells: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("retention") / "brain.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_SLICE", size)
        patch.setattr(shortening, "_SHELLS", shells)
        asyncio.run(play(str(path), steps))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, size=st.sampled_from([1, 7, 200]))
def test_all_but_what_left_is_as_it_was_on_postgres(
    steps: list[tuple[str, Any]], size: int, postgres: Postgres
) -> None:
    address = migrated(postgres.make(f"retention_{next(_numbers)}"), SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_SLICE", size)
        asyncio.run(play(address, steps))


async def practised(address: str, count: int) -> Scene:
    """Let everybody answer so often, long ago, and twice now."""
    scene = Scene(migrated(address, SCHEMA))
    await scene.do(("answer", (count, count, count)))
    await scene.do(("wait", 20.0))
    await scene.do(("answer", (2, 2, 2)))
    return scene


async def test_two_that_shorten_at_once_remove_each_row_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_SLICE", 5)
    scene = await practised(address, 20)
    stores = [await SqlStore.open(address) for _ in range(2)]

    async def all_of(store: SqlStore) -> int:
        removed = 0
        for _ in range(60):
            removed += await retention.shorten(
                store, no_bank(store), before_ms=before_ms(scene.clock)
            )
        return removed

    assert sum(await asyncio.gather(*map(all_of, stores))) == 60
    for store in stores:
        await store.close()
    scene.removed_before_ms = before_ms(scene.clock)
    await scene.do(("rebuild", None))
    await scene.check()


async def test_a_replay_whose_rows_leave_meanwhile_begins_again(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await practised(address, 30)
    monkeypatch.setattr(rebuild, "_PAGE", 8)
    store = await SqlStore.open(address)
    read, reads = store.interactions, 0

    async def shortening_reads(key: int, *, after_revision: int, limit: int) -> list[LogRow]:
        nonlocal reads
        reads += 1
        if reads == 2:
            assert await retention.shorten(store, no_bank(store), before_ms=before_ms(scene.clock))
        return await read(key, after_revision=after_revision, limit=limit)

    monkeypatch.setattr(store, "interactions", shortening_reads)
    head = (await store.load(["ada"]))["ada"]
    rebuilt = await rebuild.replay(store, no_bank(store), head.learner_key)
    await store.close()
    expected = scene.told["ada"].state
    assert expected is not None
    assert rebuilt == Rebuilt(head.learner_key, 32, codec.encode_state(expected))


async def test_a_brain_that_serves_shortens_by_itself_and_says_so(address: str) -> None:
    scene = await practised(address, 150)
    path: Any = address
    async with running(
        path, clock=scene.clock, teaching=UNTAUGHT, max_age_s=None, log_days=DAYS
    ) as brain:
        kept = brain.engine.retention

        async def oldest_s() -> float:
            return kept.oldest_s

        assert await eventually(oldest_s, bool) == scene.clock.now
        assert kept.removed == 450
        await scene.answer(brain, "ada", 1)
    scene.removed_before_ms = before_ms(scene.clock)
    await scene.check()


async def test_an_id_that_may_have_left_is_refused_and_says_why(tmp_path: Path) -> None:
    clock = Clock()

    def made(days_ago: float) -> str:
        ms = int((clock.now - days_ago * DAY_S) * 1000)
        return str(uuid.UUID(int=ms << 80 | 7 << 76 | 2 << 62 | 5))

    async with running(tmp_path / "brain.db", clock=clock, log_days=DAYS) as brain:
        [old, young, other] = await brain.apply(
            submission("ada", made(DAYS + 0.01)),
            submission("ada", made(DAYS - 0.01)),
            submission("ada", "no-time-in-it"),
        )
    assert isinstance(old, Failed)
    assert old.code == FailureCode.INVALID
    assert "BRAIN_LOG_DAYS" in old.message
    assert revisions([young, other]) == [(1, False), (2, False)]


async def test_what_crossed_before_a_log_begins_is_not_told_as_new(tmp_path: Path) -> None:
    scene = Scene(str(tmp_path / "brain.db"))
    hard = interaction("hard", correct=False, time_taken=90.0, hints=5, attempts=6)
    async with scene.brain() as brain:
        for n in range(30):
            await brain.apply(submission("ada", f"old-{n}", interaction=hard))
        before, _ = await brain.engine.history("ada", limit=100)
        assert any(each.crossings for each in before)
        scene.clock.now += 20 * DAY_S
        await brain.apply(submission("ada", "new", interaction=hard))
        whole, _ = await brain.engine.history("ada", newest=True, limit=1)
        while await retention.shorten(
            brain.store, no_bank(brain.store), before_ms=before_ms(scene.clock)
        ):
            pass
        for newest in (True, False):
            [first], _ = await brain.engine.history("ada", limit=9, newest=newest)
            assert first.revision == 31
            assert first.crossings == ()
    assert whole[0].revision == 31


async def test_a_learner_whose_base_is_damaged_goes_on_from_what_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = await practised(str(tmp_path / "brain.db"), 10)
    await scene.do(("shorten", 5))
    with sqlite3.connect(tmp_path / "brain.db") as connection:
        spoilt = "UPDATE heads SET head = zeroblob(length(head)) WHERE place IN"
        connection.execute(f"{spoilt} (SELECT base FROM learners)")
        connection.execute(f"{spoilt} (SELECT head FROM learners)")
    connection.close()
    async with scene.brain() as brain:
        [snapshot] = await brain.engine.snapshots([("ada", 0)])
        assert snapshot.revision == 12
        assert snapshot.state is not None
        assert snapshot.state.progress.answers == 2
        assert snapshot.assessment is not None
    assert "what was before is lost" in caplog.text


async def test_a_learner_without_rows_is_rebuilt_with_an_assessment(tmp_path: Path) -> None:
    scene = await practised(str(tmp_path / "brain.db"), 3)
    await scene.do(("wait", 20.0))
    await scene.do(("shorten", 5))
    with sqlite3.connect(tmp_path / "brain.db") as connection:
        connection.execute(
            "UPDATE heads SET head = zeroblob(length(head)) WHERE place IN"
            " (SELECT head FROM learners)"
        )
    connection.close()
    await scene.check()


sizes: Final = random.Random(3)


async def commit(store: SqlStore, names: dict[str, int], group: list[str], at_ms: int) -> None:
    """Write rows that hold their learners' names, in the clear."""
    rows = []
    for name in group:
        names[name] += 1
        text = f"secret-{name}-{names[name]}"
        rows.append(
            Row(
                name,
                0,
                names[name],
                f"{text}-id",
                "practice",
                "",
                None,
                b"{}",
                at_ms,
                at_ms,
                "",
                text.encode() * sizes.choice([3, 20, 60]),
                f"state-{text}".encode() * 9,
            )
        )
    heads = await store.load(list(set(group)))
    keyed = [
        row._replace(learner_key=heads[row.learner_id].learner_key)
        if row.learner_id in heads
        else row
        for row in rows
    ]
    await store.commit(keyed, BankIncrements())


async def shorten_all(store: SqlStore, before: int) -> int:
    """Take out all that is older than a time; states stand for themselves."""
    removed = 0
    while aged := await store.aged(before_ms=before, limit=sizes.randint(1, 300)):
        theirs: dict[int, list[Any]] = {}
        for each in aged:
            theirs.setdefault(each.learner_key, []).append(each)
        bases = await store.bases(list(theirs))
        removed += await store.shorten(
            [
                Shortened(
                    key,
                    bases[key].revision,
                    rows[-1].row.revision,
                    rows[-1].row.assessment * 5,
                    [each.place for each in rows],
                )
                for key, rows in theirs.items()
            ]
        )
    return removed


def in_files(folder: Path, text: str) -> int:
    return sum(file.read_bytes().count(text.encode()) for file in folder.iterdir())


async def test_no_byte_of_an_erased_learner_is_left_where_rows_left_beside_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.db"
    store = await SqlStore.open(path)
    names = {f"{chr(97 + n) * 5}.name": 0 for n in range(5)}
    group = list(names) * 40
    for n in range(120):
        await commit(store, names, group[n % 7 :], n)
    assert await shorten_all(store, 110) > 20_000
    with sqlite3.connect(path) as connection:
        [[rows]] = connection.execute("SELECT count(*) FROM log")
    connection.close()
    assert 16_384 < rows < 16_384 + 11 * 200
    for name in names:
        assert await store.erase(name, requested_by="root", at_ms=1) > 300
        left = in_files(tmp_path, f"secret-{name}")
        assert left == 0, name
    await store.close()


async def test_what_leaves_a_file_makes_room_for_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortening, "_SHELLS", 500)
    store = await SqlStore.open(tmp_path / "brain.db")
    names = {f"learner-{n}": 0 for n in range(20)}
    pages: list[int] = []
    for day in range(12):
        for _ in range(20):
            await commit(store, names, list(names) * 5, day)
        await shorten_all(store, day - 1)
        with store.database.engine.connect() as connection:
            pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    await store.close()
    assert pages[-1] <= pages[3] * 1.1
