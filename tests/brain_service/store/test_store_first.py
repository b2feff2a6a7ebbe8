"""What a learner's first interaction since a brain started costs a SQLite file, and the next ones:
counted in pages of the write-ahead file.
"""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path

import pytest

from brain_service.engine.storage import Head, Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SqlStore

_numbers = itertools.count(1)
NOTHING = BankIncrements()
MANY = 3000
"""Learners whose heads fill some hundreds of pages."""
ABSENT = [f"l-{n}" for n in range(7, MANY, MANY // 20)]
"""Learners who lie far from one another."""


def row(name: str, key: int, revision: int) -> Row:
    """Make a row after which the learner's state is as long as before."""
    fields = ("practice", "what?", None, b"{}", 5, 6, "", b"told" * 50, bytes(800))
    return Row(name, key, revision, str(uuid.UUID(int=next(_numbers))), *fields)


async def filled(path: Path) -> None:
    """Make a store of many learners."""
    store = await SqlStore.open(path)
    for start in range(0, MANY, 500):
        names = [f"l-{n}" for n in range(start, start + 500)]
        await store.commit([row(name, 0, 1) for name in names], NOTHING)
    await store.close()


def pages(path: Path) -> int:
    """Return how many pages the write-ahead file has."""
    return (Path(f"{path}-wal").stat().st_size - 32) // (8192 + 24)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "brain.sqlite3"
    await filled(path)
    return path


async def test_a_first_interaction_changes_one_page_of_the_learner_and_the_next_ones_hardly_any(
    path: Path,
) -> None:
    store = await SqlStore.open(path)
    before = pages(path)
    costs = []
    for revision in range(2, 6):
        heads = await store.load(ABSENT, to_write=True)
        await store.commit(
            [row(name, heads[name].learner_key, revision) for name in ABSENT], NOTHING
        )
        costs.append(pages(path) - before)
        before += costs[-1]
    await store.close()
    # The ends of the log and of its index besides.
    assert costs[0] <= len(ABSENT) * 3 // 2
    # Then they move together, once: where each was, where it is, and the pages that say so.
    assert costs[1] > len(ABSENT)
    assert max(costs[2:]) < len(ABSENT)


async def test_who_is_to_be_written_is_read_as_everybody_is(path: Path) -> None:
    store = await SqlStore.open(path)
    wanted = [*ABSENT, "nobody"]
    heads: dict[str, Head] = await store.load(wanted, to_write=True)
    assert set(heads) == set(ABSENT)
    assert heads == await store.load(wanted)
    await store.close()
