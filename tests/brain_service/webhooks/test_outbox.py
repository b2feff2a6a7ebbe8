"""The outbox on both databases: kept with the interaction, in order, for one brain at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brain_service.engine.notices import Backlog, Notice, Postponed
from brain_service.engine.storage import ConflictError, Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SCHEMA, SqlStore
from tests.brain_service.store.test_store_chain import row
from tests.support.postgres import migrated

NOTHING = BankIncrements()
PAGE = 16_384


@pytest.fixture
def database(address: str) -> str:
    return address if address.startswith("sqlite") else migrated(address, SCHEMA)


@pytest.fixture
async def store(database: str) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(database)
    yield store
    await store.close()


def notice(learner_id: str, number: int, *, endpoint: str = "desk", since_ms: int = 1000) -> Notice:
    body = f"{learner_id} number {number}".encode()
    return Notice(endpoint, learner_id, f"{endpoint}-{learner_id}-{number}", since_ms, body)


async def commit(store: SqlStore, *notices: Notice, key: int = 0, revision: int = 1) -> int:
    """Write an interaction of the notices' learner with them; returns the learner's key."""
    learner_id = notices[0].learner_id
    one: Row = row(learner_id, key, revision)
    keys = await store.commit([one], NOTHING, notices)
    return keys.get(learner_id, key)


def files_with(folder: Path, text: str) -> list[str]:
    return [file.name for file in folder.iterdir() if text.encode() in file.read_bytes()]


async def due(store: SqlStore, endpoint: str = "desk", *, now_ms: int = 2000) -> list[str]:
    found = await store.outbox.due(endpoint, now_ms=now_ms, limit=100)
    return [each.message_id for each in found]


async def test_of_each_learner_the_first_is_due_for_each_endpoint(store: SqlStore) -> None:
    ada = await commit(store, notice("ada", 1), notice("ada", 1, endpoint="phone"))
    await commit(store, notice("ben", 1))
    await commit(store, notice("ada", 2), key=ada, revision=2)

    assert await due(store) == ["desk-ada-1", "desk-ben-1"]
    assert await due(store, "phone") == ["phone-ada-1"]
    assert await due(store, now_ms=999) == []
    [first, _] = await store.outbox.due("desk", now_ms=2000, limit=2)
    await store.outbox.delivered([first.place])
    assert await due(store) == ["desk-ben-1", "desk-ada-2"]


async def test_a_commit_that_fails_leaves_no_notice(store: SqlStore) -> None:
    key = await commit(store, notice("ada", 1))
    with pytest.raises(ConflictError):
        await commit(store, notice("ada", 2), key=key, revision=7)
    assert await store.outbox.backlog() == {"desk": Backlog(1, 0, 1000)}


async def test_a_postponed_one_holds_back_its_learner_only(store: SqlStore) -> None:
    key = await commit(store, notice("ada", 1))
    await commit(store, notice("ada", 2), key=key, revision=2)
    await commit(store, notice("ben", 1))
    [first, _] = await store.outbox.due("desk", now_ms=2000, limit=2)
    await store.outbox.postpone([Postponed(first.place, 9000, "busy", dead=False)], now_ms=2000)

    assert await due(store) == ["desk-ben-1"]
    assert await due(store, now_ms=9000) == ["desk-ada-1", "desk-ben-1"]
    [again, _] = await store.outbox.due("desk", now_ms=9000, limit=2)
    assert (again.attempts, again.since_ms) == (1, 1000)


async def test_dead_letters_are_listed_delivered_after_all_or_forgotten(store: SqlStore) -> None:
    key = await commit(store, notice("ada", 1))
    await commit(store, notice("ada", 2), key=key, revision=2)
    await commit(store, notice("ben", 1, since_ms=5000))
    [first, _] = await store.outbox.due("desk", now_ms=5000, limit=2)
    await store.outbox.postpone([Postponed(first.place, 0, "answered 500", dead=True)], now_ms=5000)

    assert await due(store, now_ms=5000) == ["desk-ada-2", "desk-ben-1"]
    swept = await store.outbox.sweep(dead_before_ms=1001, gone_before_ms=0, now_ms=6000)
    assert swept == 1
    dead = await store.outbox.dead(limit=10)
    assert [(one.message_id, one.attempts, one.why, one.dead_ms) for one in dead] == [
        ("desk-ada-1", 1, "answered 500", 5000),
        ("desk-ada-2", 0, "", 6000),
    ]
    assert await store.outbox.redeliver(["desk-ada-2", "unknown"], now_ms=7000) == 1
    assert await due(store, now_ms=7000) == ["desk-ada-2", "desk-ben-1"]
    await store.outbox.sweep(dead_before_ms=0, gone_before_ms=5001, now_ms=7000)
    assert await store.outbox.dead(limit=10) == []
    assert await store.outbox.redeliver([], now_ms=7000) == 0


async def test_one_of_two_brains_holds_the_lease_until_it_gives_it_back_or_dies(
    database: str,
) -> None:
    stores = [await SqlStore.open(database) for _ in range(2)]
    one, two = (store.outbox for store in stores)
    assert await one.lease("one", 60)
    assert not await two.lease("two", 60)
    assert await one.lease("one", 60)
    await two.release("two")
    assert not await two.lease("two", 60)
    await one.release("one")
    assert await two.lease("two", 0.01)  # and is never heard of again

    async with asyncio.timeout(10):
        while not await one.lease("one", 60):  # noqa: ASYNC110 - the database's clock must go on
            await asyncio.sleep(0.01)
    assert not await two.lease("two", 60)
    for store in stores:
        await store.close()


async def test_erasing_a_learner_takes_the_notices_along(store: SqlStore) -> None:
    key = await commit(store, notice("ada", 1))
    await commit(store, notice("ben", 1))
    await commit(store, notice("ada", 2), key=key, revision=2)
    [first, _] = await store.outbox.due("desk", now_ms=2000, limit=2)
    await store.outbox.postpone([Postponed(first.place, 0, "", dead=True)], now_ms=2000)
    assert await store.notices_of("ada") == [b"ada number 1", b"ada number 2"]

    await store.erase("ada", requested_by="a parent", at_ms=1)
    assert await store.notices_of("ada") == []
    assert await store.outbox.dead(limit=9) == []
    assert await due(store) == ["desk-ben-1"]
    # Places go on growing.
    [ben] = await store.outbox.due("desk", now_ms=2000, limit=2)
    await commit(store, notice("cho", 1))
    assert (await store.outbox.due("desk", now_ms=2000, limit=2))[1].place > ben.place


async def test_what_was_erased_is_in_no_file_whatever_came_and_went_beside_it(
    tmp_path: Path,
) -> None:
    """Rows move from page to page while others go; no copy of one stays behind."""
    store = await SqlStore.open(tmp_path / "brain.sqlite3")
    secret = "somebody-to-forget"
    key = 0
    for number in range(1, 120):
        key = await commit(store, notice(secret, number), key=key, revision=number)
        await commit(store, notice(f"other-{number}", 1), notice(f"other-{number}", 2))
    found = await store.outbox.due("desk", now_ms=2000, limit=500)
    mine = [each.place for each in found]
    for places in (mine[::3], mine[1::3]):
        await store.outbox.delivered(places)
    assert files_with(tmp_path, secret)

    await store.erase(secret, requested_by="a parent", at_ms=1)
    assert files_with(tmp_path, secret) == []
    assert (await store.outbox.backlog())["desk"].waiting > 120
    await store.close()


def plant(file: Path, text: bytes, *, beside: bytes) -> None:
    """Write a text into the gap between rows of the page that holds another one, where SQLite
    leaves copies of rows that it moved: of 18,000 that came and went one stayed.
    """
    data = bytearray(file.read_bytes())
    page = data.index(beside) // PAGE * PAGE
    # A leaf of a table: https://www.sqlite.org/fileformat2.html#b_tree_pages
    assert data[page] == 0x0D
    cells = int.from_bytes(data[page + 3 : page + 5])
    rows_from = int.from_bytes(data[page + 5 : page + 7])
    gap = page + 8 + 2 * cells
    assert gap + len(text) < page + rows_from
    data[gap : gap + len(text)] = text
    file.write_bytes(data)


async def test_erasing_also_takes_the_copies_that_sqlite_leaves_between_rows(
    tmp_path: Path,
) -> None:
    file, secret = tmp_path / "brain.sqlite3", "somebody-to-forget"
    store = await SqlStore.open(file)
    key = await commit(store, notice("other", 1), notice("other", 2))
    await commit(store, notice("other", 3), key=key, revision=2)
    await commit(store, notice(secret, 1))
    await store.close()
    await asyncio.to_thread(plant, file, f"{secret} number 0".encode(), beside=b"other number 2")

    store = await SqlStore.open(file)
    await store.erase(secret, requested_by="a parent", at_ms=1)
    assert files_with(tmp_path, secret) == []
    assert await due(store) == ["desk-other-1"]
    assert await store.notices_of("other") == [b"other number %d" % n for n in (1, 2, 3)]
    await store.close()
