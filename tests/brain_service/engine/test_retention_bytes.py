"""What leaves the log, byte by byte in SQLite's files."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest

from brain_service.engine.storage import Row, Shortened
from brain_service.model.increments import BankIncrements
from brain_service.store import SqlStore, shortening

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
