"""The durable log on a real SQLite file."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import stat
import string
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from brain_service.engine.storage import (
    ConflictError,
    Head,
    Row,
    SchemaError,
    StoreUnavailableError,
)
from brain_service.model.increments import (
    BankIncrements,
    ItemIncrement,
    NormIncrement,
    Value,
    merge_item,
    merge_norm,
)
from brain_service.store import SCHEMA, SqlStore, bank_rows, chain, shortening, statements, tables
from service_runtime.database import connections
from tests.support.postgres import migrated, running_postgres

NOTHING = BankIncrements()


def row(
    learner_id: str, key: int, revision: int, interaction_id: str, content: str = "what?"
) -> Row:
    state = f"state {learner_id} {revision}".encode()
    return Row(
        learner_id,
        key,
        revision,
        interaction_id,
        "practice",
        content,
        None,
        b"{}",
        5,
        6,
        "",
        b"outcome",
        state,
    )


def noise(length: int) -> str:
    """A text that cannot be packed into less."""
    return "".join(random.choices(string.ascii_letters, k=length))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brain.db"


@pytest.fixture
async def store(address: str) -> AsyncIterator[SqlStore]:
    migrated(address, SCHEMA)
    store = await SqlStore.open(address)
    yield store
    await store.close()


async def test_what_is_committed_is_there_after_reopening(address: str) -> None:
    migrated(address, SCHEMA)
    store = await SqlStore.open(address)
    keys = await store.commit(
        [row("ada", 0, 1, "a"), row("bob", 0, 1, "a"), row("ada", 0, 2, "b")], NOTHING
    )
    epoch = store.epoch
    await store.close()
    again = await SqlStore.open(address)
    heads = await again.load(["ada", "bob", "eve"])
    await again.close()

    assert epoch == again.epoch
    assert {
        "ada": Head(keys["ada"], 2, 5, b"outcome", b"state ada 2"),
        "bob": Head(keys["bob"], 1, 5, b"outcome", b"state bob 1"),
    } == heads


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([row("ada", 1, 2, "new"), row("ada", 1, 3, "a")], id="a repeated id"),
        pytest.param([row("ada", 1, 2, "new"), row("ada", 1, 2, "newer")], id="a taken revision"),
        pytest.param(
            [row("ada", 1, 2, "new"), row("ada", 0, 1, "newer")], id="a learner made twice"
        ),
        pytest.param(
            [row("ada", 1, 2, "new"), row("eve", 77, 1, "newer")], id="an erased learner's key"
        ),
    ],
)
@pytest.mark.parametrize(
    "learned", [(), (ItemIncrement("item", 0, 1, 1),)], ids=["rows alone", "rows and the bank"]
)
async def test_a_conflict_writes_nothing_of_its_commit(
    store: SqlStore, second: list[Row], learned: tuple[ItemIncrement, ...]
) -> None:
    await store.commit([row("ada", 0, 1, "a")], NOTHING)
    with pytest.raises(ConflictError):
        await store.commit(second, BankIncrements(learned))

    assert await store.revisions(["ada", "eve"]) == {"ada": 1}
    assert (await store.bank(["item"], [])).items == {}

    await store.commit([row("ada", 1, 2, "new")], NOTHING)
    assert await store.revisions(["ada"]) == {"ada": 2}


async def test_the_same_id_of_another_learner_is_another_interaction(store: SqlStore) -> None:
    await store.commit(
        [row("ada", 0, 1, "1"), row("bob", 0, 1, "1"), row("bob", 0, 2, "2")], NOTHING
    )
    found = await store.find([("ada", "1"), ("bob", "2"), ("ada", "2"), ("eve", "1")])

    assert {("ada", "1"), ("bob", "2")} == set(found)
    assert found["bob", "2"].revision == 2


async def test_ids_that_only_look_alike_are_different(store: SqlStore) -> None:
    canonical = str(uuid.uuid4())
    alike = [
        canonical,
        canonical.upper(),
        canonical.replace("-", ""),
        f"{canonical[:-1]}g",
        canonical[::-1],
        "é" * 36,
    ]
    await store.commit([row("ada", 0, n, each) for n, each in enumerate(alike, 1)], NOTHING)
    found = await store.find([("ada", each) for each in alike])

    assert list(range(1, 7)) == [found["ada", each].revision for each in alike]


async def test_history_pages_are_oldest_first(store: SqlStore) -> None:
    await store.commit([row("ada", 0, n, f"i{n}") for n in range(1, 8)], NOTHING)

    async def page(**options: int | bool) -> list[int]:
        return [each.revision for each in await store.history("ada", **options)]  # type: ignore[arg-type]

    assert await page(after_revision=0, limit=3, newest=False) == [1, 2, 3]
    assert await page(after_revision=5, limit=3, newest=False) == [6, 7]
    assert await page(after_revision=0, limit=3, newest=True) == [5, 6, 7]
    assert await store.history("eve", after_revision=0, limit=3, newest=False) == []


async def test_more_learners_than_one_statement_takes_are_loaded(store: SqlStore) -> None:
    names = [f"learner-{n}" for n in range(1203)]
    await store.commit([row(name, 0, 1, "1") for name in names], NOTHING)

    assert set(names) == set(await store.load(names))
    assert len(await store.find([(name, "1") for name in names])) == 1203


increments = st.lists(
    st.tuples(st.sampled_from("xyz"), st.floats(-3, 3), st.floats(-1, 1), st.integers(1, 400)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=50)
@given(increments)
def test_the_bank_merges_in_sql_as_in_memory(changes: list[tuple[str, float, float, int]]) -> None:
    """Increments that the store adds up end where `bank.merge_item` and `bank.merge_norm` end."""
    items: dict[str, Value] = {}
    norms: dict[str, Value] = {}
    merge_items, merge_norms = bank_rows.merges(sa.create_engine("sqlite://").dialect)
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        for name, start, delta, count in changes:
            item, norm = ItemIncrement(name, start, delta, count), NormIncrement(name, start, count)
            items[name] = merge_item(items.get(name), item)
            norms[name] = merge_norm(norms.get(name), norm)
            connection.execute(merge_items, [item._asdict() | {"day": count}])
            connection.execute(merge_norms, [norm._asdict() | {"day": count}])
        stored_items = {
            name: tuple(values)
            for name, *values, day in connection.execute(sa.select(tables.bank_items))
            if day == {change[0]: change[3] for change in changes}[name]
        }
        stored_norms = {
            name: tuple(values)
            for name, *values, day in connection.execute(sa.select(tables.bank_norms))
            if day == {change[0]: change[3] for change in changes}[name]
        }
    engine.dispose()

    for mine, stored in ((items, stored_items), (norms, stored_norms)):
        assert mine.keys() == stored.keys()
        for name, value in mine.items():
            assert stored[name] == pytest.approx(tuple(value), abs=1e-9)


async def test_the_migrations_make_the_schema_that_the_code_means(
    store: SqlStore,
) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.metadata)

    assert differences == []


def test_every_hot_query_reads_by_index() -> None:
    """No read that the engine makes for a group looks through a whole table."""
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(
        _c: object, cursor: sqlite3.Cursor, statement: str, parameters: object, *_: object
    ) -> None:
        if statement.startswith("SELECT"):
            steps = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            plans.extend(step[3] for step in steps)

    with engine.connect() as connection:
        for query in (statements.HEADS, statements.REVISIONS, statements.KEYS):
            list(statements.rows_in(connection, query, [b"1", b"2"]))
        chain.page(connection, chain.chain_end(connection, b"1"), after=0, limit=10)
        connection.execute(statements.STAMPS, {"after": 1, "limit": 9, "stamp": 9}).all()
        connection.scalar(chain._MILESTONE, {"key": 1, "milestone": 64})
        chain.places_of(connection, chain.ChainEnd(1, 1, 1, 0))
        list(statements.rows_in(connection, statements.FORGOTTEN, [b"1", b"2"]))
        shortening.bases(connection, [1, 2])
        list(statements.rows_of(connection, [(b"1", 2), (b"3", 4)]))
        list(statements.rows_in(connection, bank_rows.ITEMS, ["a", "b"]))
        list(statements.rows_in(connection, bank_rows.NORMS, ["a", "b"]))
    engine.dispose()

    assert len(plans) > 5
    # What a walk has found is read as it comes.
    assert [step for step in plans if step.startswith("SCAN") and step != "SCAN steps"] == []
    assert any("log_milestones" in step for step in plans)


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    await (await SqlStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SchemaError, match=r"9999.*newer version"):
        await SqlStore.open(path)


async def test_a_database_of_no_version_is_not_called_a_newer_one(path: Path) -> None:
    await (await SqlStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    connection.close()
    with pytest.raises(SchemaError, match=r"0004.*no version knows"):
        await SqlStore.open(path)


async def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(SchemaError, match="recipes"):
        await SqlStore.open(path)

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused_with_a_sentence(path: Path) -> None:
    path.write_bytes(b"these are the recipes of my grandmother, in no particular order" * 100)
    with pytest.raises(StoreUnavailableError, match="damaged or not a SQLite database"):
        asyncio.run(SqlStore.open(path))


async def test_a_damaged_page_is_told_apart_from_a_missing_row(path: Path) -> None:
    store = await SqlStore.open(path)
    await store.commit([row("ada", 0, n, f"i{n}", noise(3000)) for n in range(1, 200)], NOTHING)
    await store.close()
    scribble(path, after=100 * 4096)
    store = await SqlStore.open(path)
    with pytest.raises(StoreUnavailableError, match="damaged"):
        await store.history("ada", after_revision=0, limit=200, newest=False)
    await store.close()


def scribble(path: Path, *, after: int) -> None:
    size = path.stat().st_size
    assert size > after
    with path.open("r+b") as file:
        file.seek(after)
        file.write(b"\xff" * (size - after))


async def test_a_database_that_another_process_holds_gives_a_clear_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqlStore.open(path)
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0.01)
    impatient = await SqlStore.open(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked by another process"):
        await impatient.commit([row("ada", 0, 1, "a")], NOTHING)
    holder.execute("ROLLBACK")
    keys = await impatient.commit([row("ada", 0, 1, "a")], NOTHING)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked by another process"):
        await impatient.commit([row("ada", keys["ada"], 2, "b")], NOTHING)
    holder.execute("ROLLBACK")
    await impatient.commit([row("ada", keys["ada"], 2, "b")], NOTHING)
    holder.close()
    await impatient.close()

    assert await store.revisions(["ada"]) == {"ada": 2}
    await store.close()


@pytest.mark.parametrize(
    "increments",
    [
        pytest.param(NOTHING, id="rows alone"),
        pytest.param(BankIncrements((ItemIncrement("item", 0, 1, 1),)), id="rows and the bank"),
    ],
)
async def test_a_full_disk_gives_a_clear_error_and_keeps_what_was_there(
    path: Path, increments: BankIncrements
) -> None:
    store = await SqlStore.open(path)
    await store.commit([row("ada", 0, 1, "a")], NOTHING)

    # The same error as a full disk, from a limit of SQLite's own.
    driver = connections.sqlite_connection(store.written)
    (before,) = driver.execute("PRAGMA max_page_count").fetchone()
    driver.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreUnavailableError, match="disk is full"):
        await store.commit(
            [row("ada", 1, n, f"b{n}", noise(5000)) for n in range(2, 90)], increments
        )
    assert await store.revisions(["ada"]) == {"ada": 1}

    driver.execute(f"PRAGMA max_page_count={before}")
    await store.commit([row("ada", 1, 2, "b")], increments)
    assert await store.revisions(["ada"]) == {"ada": 2}
    await store.close()


async def test_a_path_that_cannot_be_opened_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await SqlStore.open(tmp_path / "file" / "brain.db")


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    store = await SqlStore.open(path)
    await store.commit([row("ada", 0, 1, "a")], NOTHING)
    modes = {each.name: stat.S_IMODE(os.stat(each).st_mode) for each in path.parent.iterdir()}

    assert {"brain.db", "brain.db-wal", "brain.db-shm"} == modes.keys()
    assert {0o600} == set(modes.values())
    await store.close()


async def test_a_closed_store_says_so(store: SqlStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.load(["ada"])


async def test_commits_are_synced_to_the_disk(path: Path) -> None:
    """An acknowledged commit survives a power cut: write-ahead log, full synchronisation."""
    store = await SqlStore.open(path)
    with store.database.engine.connect() as connection:
        assert tuple(connection.exec_driver_sql("PRAGMA journal_mode").one()) == ("wal",)
        assert tuple(connection.exec_driver_sql("PRAGMA synchronous").one()) == (2,)
        assert tuple(connection.exec_driver_sql("PRAGMA secure_delete").one()) == (1,)
    await store.close()


async def test_a_store_works_again_after_its_server_was_away() -> None:
    with running_postgres() as server:
        store = await SqlStore.open(migrated(server.make("brain"), SCHEMA))
        keys = await store.commit([row("ada", 0, 1, "a")], NOTHING)
        for revision, how in enumerate((signal.SIGINT, signal.SIGQUIT), 2):
            server.stop(how=how)
            following = [row("ada", keys["ada"], revision, f"i{revision}")]
            with pytest.raises(StoreUnavailableError, match="try again"):
                await store.commit(following, NOTHING)
            with pytest.raises(StoreUnavailableError, match="try again"):
                await store.load(["ada"])
            server.start()
            assert await store.revisions(["ada"]) == {"ada": revision - 1}
            await store.commit(following, NOTHING)
        assert await store.revisions(["ada"]) == {"ada": 3}
        await store.close()
