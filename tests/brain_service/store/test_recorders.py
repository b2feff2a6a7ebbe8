"""Who recorded interactions for others, as lines of the audit log on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from brain_service.engine.storage import ConflictError
from brain_service.store import SCHEMA, SqlStore
from brain_service.store.audit_log import KEEP_MS, Recorders
from tests.brain_service.store.test_store import NOTHING, row
from tests.support.postgres import migrated

HOUR_S = 3_600


class Clock:
    """A clock that is set by hand."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(address: str, clock: Clock) -> AsyncIterator[SqlStore]:
    migrated(address, SCHEMA)
    store = await SqlStore.open(address, clock=clock)
    yield store
    await store.close()


async def told(store: SqlStore) -> list[tuple[str, str, int]]:
    entries = await store.newest_audit(100)
    return [(each.action, each.requested_by, each.interactions) for each in entries]


async def test_each_name_has_a_line_an_hour_that_counts_on(store: SqlStore, clock: Clock) -> None:
    keys = await store.commit([row("ada", 0, 1, "a")], NOTHING, (), {"import": 1})
    await store.commit([row("ada", keys["ada"], 2, "b")], NOTHING, (), {"import": 1, "lms": 2})
    assert await told(store) == [("record", "import", 2), ("record", "lms", 2)]

    clock.now_s += HOUR_S
    await store.commit([row("ada", keys["ada"], 3, "c")], NOTHING, (), {"import": 5})
    assert await told(store) == [
        ("record", "import", 2), ("record", "lms", 2), ("record", "import", 5),
    ]  # fmt: skip


async def test_what_was_not_written_is_not_counted_and_spoils_no_later_line(
    store: SqlStore,
) -> None:
    with pytest.raises(ConflictError):
        await store.commit([row("eve", 77, 1, "a")], NOTHING, (), {"import": 1})
    assert await told(store) == []

    await store.record_export("ada", requested_by="import", at_ms=7)
    await store.commit([row("ada", 0, 1, "a")], NOTHING, (), {"import": 1})
    assert await told(store) == [("export", "import", 0), ("record", "import", 1)]


async def test_two_brains_count_on_lines_of_their_own(
    store: SqlStore, address: str, clock: Clock
) -> None:
    other = await SqlStore.open(address, clock=clock)
    try:
        await store.commit([row("ada", 0, 1, "a")], NOTHING, (), {"import": 1})
        await other.commit([row("bob", 0, 1, "a")], NOTHING, (), {"import": 2})
        await store.commit([row("eve", 0, 1, "a")], NOTHING, (), {"import": 4})
    finally:
        await other.close()
    assert await told(store) == [("record", "import", 5), ("record", "import", 2)]


async def test_lines_leave_after_90_days_and_what_people_asked_for_stays(
    store: SqlStore, clock: Clock
) -> None:
    await store.record_export("ada", requested_by="office", at_ms=7)
    keys = await store.commit([row("ada", 0, 1, "a")], NOTHING, (), {"import": 1})
    clock.now_s += KEEP_MS / 1000 + 1
    await store.commit([row("ada", keys["ada"], 2, "b")], NOTHING, (), {"lms": 1})

    assert await told(store) == [("export", "office", 0), ("record", "lms", 1)]


async def test_the_engine_and_learners_do_not_read_these_lines(store: SqlStore) -> None:
    await store.record_export("ada", requested_by="office", at_ms=7)
    await store.commit([row("ada", 0, 1, "a")], NOTHING, (), {"import": 1})

    assert [each.action for each in await store.audit()] == ["export"]
    assert [each.action for each in await store.audit(learner_id="ada")] == ["export"]
    assert [each.action for each in await store.newest_audit(1)] == ["record"]


async def test_names_of_past_hours_take_no_memory(store: SqlStore, clock: Clock) -> None:
    recorders = Recorders(clock)
    for _ in range(3):
        with store.database.write() as connection:
            recorders.add(connection, {f"import-{n}": 1 for n in range(50)})
        clock.now_s += HOUR_S

    assert len(recorders) == 50
