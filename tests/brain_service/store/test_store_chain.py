"""Rows that point to one another: whatever was written, in whatever groups, is read in order and
page by page.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.engine.storage import Row
from brain_service.model.increments import BankIncrements, ItemIncrement
from brain_service.store import SCHEMA, SqlStore
from brain_service.store.identity import identity
from brain_service.store.tables import MILESTONE
from service_runtime.database.connections import Database
from service_runtime.database.schema import migrate
from tests.support.brain_log import read_log

NOTHING = BankIncrements()
LONG = 2 * MILESTONE + 5


def row(learner_id: str, key: int, revision: int) -> Row:
    content = f"{learner_id} {revision}"
    return Row(
        learner_id,
        key,
        revision,
        f"{learner_id}-{revision}",
        "practice",
        content,
        None,
        b"{}",
        5,
        6,
        "",
        b"o",
        b"s",
    )


async def write(
    store: SqlStore, groups: list[list[str]], *, learned: BankIncrements = NOTHING
) -> dict[str, int]:
    """Write groups of interactions, each told by its learner's name, and return everybody's newest
    revision.
    """
    keys: dict[str, int] = {}
    reached: dict[str, int] = {}
    for names in groups:
        rows = []
        for name in names:
            reached[name] = reached.get(name, 0) + 1
            rows.append(row(name, keys.get(name, 0), reached[name]))
        keys |= await store.commit(rows, learned)
    return reached


async def pages(store: SqlStore, name: str, size: int) -> list[str]:
    """Read a learner's log from its beginning, page by page."""
    contents: list[str] = []
    while found := await store.history(
        name, after_revision=len(contents), limit=size, newest=False
    ):
        assert len(found) <= size
        contents += [each.content for each in found]
    return contents


@settings(deadline=None, max_examples=40)
@given(
    groups=st.lists(
        st.lists(st.sampled_from(["ada", "bob", "eve"]), min_size=1, max_size=90),
        min_size=1,
        max_size=6,
    ),
    size=st.integers(1, 150),
    learned=st.sampled_from([NOTHING, BankIncrements((ItemIncrement("item", 0, 1, 1),))]),
)
def test_every_page_has_the_rows_between_its_revisions(
    groups: list[list[str]],
    size: int,
    learned: BankIncrements,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def run() -> None:
        store = await SqlStore.open(tmp_path_factory.mktemp("chain") / "brain.db")
        reached = await write(store, groups, learned=learned)
        heads = await store.load(list(reached))
        for name, revision in reached.items():
            everything = [f"{name} {each}" for each in range(1, revision + 1)]
            assert heads[name].revision == revision
            assert await pages(store, name, size) == everything
            last = await store.history(name, after_revision=0, limit=size, newest=True)
            assert [each.content for each in last] == everything[-size:]
        assert await store.revisions(list(reached)) == reached
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "after", [0, 1, MILESTONE - 1, MILESTONE, MILESTONE + 1, LONG - 1, LONG, LONG + 70]
)
async def test_a_page_may_begin_anywhere(after: int, tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "brain.db")
    await write(store, [["ada"] * LONG])
    for limit in (1, MILESTONE, LONG):
        found = await store.history("ada", after_revision=after, limit=limit, newest=False)
        assert [each.revision for each in found] == list(
            range(after + 1, min(after + limit, LONG) + 1)
        )
    await store.close()


async def test_all_of_a_long_log_is_erased_and_nothing_else(tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "brain.db")
    await write(store, [["ada", "bob"] * 300] * 4)
    assert await store.erase("ada", requested_by="root", at_ms=1) == 1200
    with store.database.engine.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM log WHERE learner_key IS NULL AND entry = x''"
        ).scalar()
    assert left == 1200
    assert not [row for _, row in read_log(tmp_path / "brain.db") if row.content[:3] == "ada"]
    assert await store.history("ada", after_revision=0, limit=10, newest=True) == []
    assert len(await pages(store, "bob", 1000)) == 1200

    # The same person from the beginning, in a log of shells.
    assert await write(store, [["ada"] * LONG]) == {"ada": LONG}
    assert len(await pages(store, "ada", 50)) == LONG
    await store.close()


def old_database(path: Path) -> None:
    """Make a database of the first schema: two learners turn and turn about, a third one erased, a
    fourth unwritten.
    """
    database = Database.open(path)
    with database.write() as connection:
        migrate(connection, SCHEMA, "0001")
        identity(connection)
    database.close()


async def test_a_database_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "brain.db"
    old_database(path)
    database = Database.open(path)
    with database.read() as connection:
        salt = bytes.fromhex(
            connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'salt'").scalar_one()
        )
    names = SqlStore(database, epoch="", salt=salt)
    insert = (
        "INSERT INTO log (learner_key, revision, interaction_key, interaction_id, kind, content,"
        " context_json, occurred_at_ms, received_at_ms, traceparent, outcome, state) VALUES (?, ?,"
        " ?, ?, 'practice', ?, x'7b7d', 5, 6, '', ?, ?)"
    )
    with database.write() as connection:
        for key, name in enumerate(["ada", "bob", "new"], 1):
            connection.execute(
                sa.text(
                    "INSERT INTO learners (learner_key, learner_digest) VALUES (:key, :digest)"
                ),
                {"key": key, "digest": names.digest(name)},
            )
        for revision in range(1, LONG + 1):
            for key, name in ((1, "ada"), (2, "bob"), (None, "")):
                old = row(name, 0, revision)
                place = None if key is None else names.interaction_key(old.interaction_id)
                values = (
                    key,
                    revision,
                    place,
                    old.interaction_id,
                    old.content,
                    old.assessment,
                    old.state,
                )
                connection.exec_driver_sql(insert, values)
    await names.close()

    store = await SqlStore.open(path)
    heads = await store.load(["ada", "bob", "new"])
    assert {name: head.revision for name, head in heads.items()} == {"ada": LONG, "bob": LONG}
    assert await store.revisions(["ada", "bob", "new"]) == {"ada": LONG, "bob": LONG}
    assert await pages(store, "bob", 60) == [f"bob {revision}" for revision in range(1, LONG + 1)]
    assert (await store.find([("ada", "ada-7")]))["ada", "ada-7"].revision == 7
    await store.commit([row("ada", heads["ada"].learner_key, LONG + 1)], NOTHING)
    assert len(await pages(store, "ada", 1000)) == LONG + 1
    await store.close()


async def test_a_brain_of_the_time_before_packed_rows_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "brain.db"
    await (await SqlStore.open(path)).close()
    database = Database.open(path)
    old_insert = (
        "INSERT INTO log (learner_key, revision, previous, interaction_key, interaction_id, kind)"
        " VALUES (1, 1, 0, x'01', 'a', 'practice')"
    )
    with (
        pytest.raises(sa.exc.OperationalError, match="interaction_id"),
        database.engine.connect() as connection,
    ):
        connection.exec_driver_sql(old_insert)
    database.close()
