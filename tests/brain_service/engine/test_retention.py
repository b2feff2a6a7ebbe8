"""What is older than the log is to be kept leaves it; everything else is as if it were there."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from brain_service.engine import rebuild, retention
from brain_service.engine.engine import Failed, FailureCode
from brain_service.engine.storage import LogRow, Rebuilt
from brain_service.model import codec
from brain_service.store import SCHEMA, SqlStore
from tests.brain_service.engine.engine_support import (
    Clock,
    interaction,
    revisions,
    running,
    submission,
)
from tests.brain_service.engine.retention_support import (
    DAY_S,
    DAYS,
    UNTAUGHT,
    Scene,
    before_ms,
    no_bank,
)
from tests.support.eventually import eventually
from tests.support.postgres import migrated


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


async def test_an_import_is_not_counted_again_once_its_rows_have_left(address: str) -> None:
    """Its ids tell no time; when it happened does, and lies before it came in first."""
    clock, path = Clock(), migrated(address, SCHEMA)
    imported = [
        submission("ada", f"statement-{n}", occurred_at_ms=int((clock.now - n * DAY_S) * 1000))
        for n in (3, 2, 1)
    ]
    everything: Any = {"path": path, "clock": clock, "max_age_s": None, "log_days": DAYS}
    async with running(**everything) as brain:
        assert revisions(await brain.apply(*imported)) == [(1, False), (2, False), (3, False)]
        clock.now += 5 * DAY_S
        assert revisions(await brain.apply(*imported)) == [(1, True), (2, True), (3, True)]
        clock.now += 6 * DAY_S
        while await retention.shorten(
            brain.store, no_bank(brain.store), before_ms=before_ms(clock)
        ):
            pass
        again = await brain.apply(*imported)
        assert [type(each) for each in again] == [Failed] * 3
        assert {each.code for each in again if isinstance(each, Failed)} == {FailureCode.INVALID}
        [snapshot] = await brain.engine.snapshots([("ada", 0)])
        assert snapshot.revision == 3


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
