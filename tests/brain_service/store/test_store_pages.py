"""A page of history looks at its own rows and at most 63 more, each by an index, however long the
log is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from brain_service.engine.storage import Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SCHEMA, SqlStore
from brain_service.store.tables import MILESTONE
from harness.postgres import Postgres
from service_runtime.database.connections import sqlite_connection
from tests.support.postgres import migrated

PAGE: Final = 50
SHORT: Final = 2 * PAGE
LONG: Final = 80 * SHORT
_numbers = itertools.count()


async def filled(address: str) -> SqlStore:
    """Open a store in which a learner has a long log, and one a short one, among others."""
    store = await SqlStore.open(address)
    names = ["long"] * (LONG // SHORT) + ["short"] + [f"other-{n}" for n in range(9)]
    stands: dict[str, tuple[int, int]] = {}
    for _ in range(SHORT):
        rows = []
        for name in names:
            key, revision = stands.get(name, (0, 0))
            stands[name] = key, revision + 1
            fields = ("practice", "what?", None, b"{}", 5, 6, "", b"outcome", b"state")
            rows.append(Row(name, key, revision + 1, f"{name}-{revision}", *fields))
        for name, key in (await store.commit(rows, BankIncrements())).items():
            stands[name] = key, stands[name][1]
    return store


async def read_all_ways(store: SqlStore, learner: str, newest: int) -> None:
    for after in (0, newest // 2, newest - PAGE):
        assert (
            len(await store.history(learner, after_revision=after, limit=PAGE, newest=False))
            == PAGE
        )
    assert len(await store.history(learner, after_revision=0, limit=PAGE, newest=True)) == PAGE


async def test_on_sqlite_a_page_of_a_long_log_takes_as_many_steps_as_of_a_short_one(
    tmp_path: Path,
) -> None:
    store = await filled(str(tmp_path / "brain.db"))
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def count(connection: sa.Connection, *_: object) -> None:
        sqlite_connection(connection).set_progress_handler(step, 1)

    counted = {}
    for learner, newest in (("short", SHORT), ("long", LONG)):
        steps = 0
        await read_all_ways(store, learner, newest)
        counted[learner] = steps
    await store.close()
    # Four pages; each may walk past 63 rows that are not on it. A row takes some dozens of steps.
    assert counted["long"] < counted["short"] + 4 * MILESTONE * 40
    assert counted["long"] < 4 * (PAGE + MILESTONE) * 100


async def read_everything(store: SqlStore) -> None:
    """Ask all that history, resuming and loading ask."""
    await read_all_ways(store, "long", LONG)
    await store.find([("long", f"long-{n}") for n in range(0, LONG, 500)])
    await store.load(["long", "short"])
    await store.revisions(["long", "short"])


async def test_on_sqlite_each_row_is_found_by_an_index_and_nothing_but_a_page_is_sorted(
    tmp_path: Path,
) -> None:
    store = await filled(str(tmp_path / "brain.db"))
    plans: dict[str, list[str]] = {}

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def explain(
        connection: sa.Connection, _: object, statement: str, parameters: Any, *__: object
    ) -> None:
        if statement.startswith(("SELECT", "WITH")) and statement not in plans:
            found = sqlite_connection(connection).execute(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
            plans[statement] = [detail for *_, detail in found]

    await read_everything(store)
    await store.close()
    looks = [detail for plan in plans.values() for detail in plan]
    # `steps` are the places of one page, and of at most 63 rows on the way to it.
    assert {detail for detail in looks if "SCAN" in detail} == {"SCAN steps"}
    assert sum(detail.startswith("SEARCH log USING") for detail in looks) >= 4
    sorting = [statement for statement, plan in plans.items() if "TEMP B-TREE" in str(plan)]
    assert len(sorting) == 1
    assert sorting[0].startswith("WITH RECURSIVE steps")


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(each for part in plan.get("Plans", ()) for each in nodes(part))]


async def test_on_postgres_a_page_looks_at_no_more_than_itself_by_index(
    postgres: Postgres,
) -> None:
    address = migrated(postgres.make(f"pages_{next(_numbers)}"), SCHEMA)
    store = await filled(address)
    with store.database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    plans: list[list[dict[str, Any]]] = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def explain(
        _: sa.Connection, cursor: Any, statement: str, parameters: Any, *__: object
    ) -> None:
        if statement.startswith(("SELECT", "WITH")):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [[found]] = cursor.fetchall()
            plans.append(nodes((json.loads(found) if isinstance(found, str) else found)[0]["Plan"]))

    await read_everything(store)
    await store.close()

    def looked_at(plan: list[dict[str, Any]], kind: Callable[[str], bool]) -> int:
        return sum(
            round(node["Actual Rows"] * node["Actual Loops"])
            for node in plan
            if node.get("Relation Name") == "log" and kind(node["Node Type"])
        )

    assert len(plans) > 8
    sorts = [node["Actual Rows"] for plan in plans for node in plan if "Sort" in node["Node Type"]]
    assert max(sorts) == PAGE
    assert max(looked_at(plan, lambda kind: "Seq" in kind) for plan in plans) == 0
    # Each row is looked at on the way, and once more when it is on the page.
    assert PAGE <= max(looked_at(plan, bool) for plan in plans) <= 2 * PAGE + MILESTONE
