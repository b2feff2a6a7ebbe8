"""A lone row written on the caller's thread: as durable as any, and never a wait for others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brain_service.engine.storage import ConflictError, Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SqlStore
from brain_service.store.pace import Pace
from tests.support.brain_log import read_log


def row(revision: int, interaction_id: str, *, key: int = 1) -> Row:
    return Row(
        "ada", key, revision, interaction_id, "practice", "?", None, b"{}", 5, 6, "", b"", b""
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brain.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(path)
    await store.commit([row(1, "i1", key=0)], BankIncrements())
    hurry(store)
    yield store
    await store.close()


def hurry(store: SqlStore) -> None:
    """Make the store believe that its disk is quick, however long the last commit took."""
    for _ in range(40):
        store.pace.took(0.0)


def stored(path: Path) -> list[str]:
    """Return what another process sees."""
    return [row.interaction_id for _, row in read_log(path)]


async def test_a_row_is_durable_on_return(store: SqlStore, path: Path) -> None:
    assert store.commit_at_once(row(2, "i2"))

    assert stored(path) == ["i1", "i2"]
    hurry(store)
    with pytest.raises(ConflictError):
        store.commit_at_once(row(2, "i3"))
    assert stored(path) == ["i1", "i2"]


async def test_while_another_process_writes_it_is_refused_at_once(
    store: SqlStore, path: Path
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert not store.commit_at_once(row(2, "i2"))
        assert not store.pace.is_quick, "the writer's thread waits for others, not the loop"
    finally:
        other.execute("ROLLBACK")
        other.close()

    await store.commit([row(2, "i2")], BankIncrements())
    assert stored(path) == ["i1", "i2"]


async def test_while_the_writer_is_at_work_it_is_refused(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(store.record_export("ada", requested_by="me", at_ms=1))
    await asyncio.sleep(0)  # now it waits for the other process
    assert not store.commit_at_once(row(2, "i2"))
    other.execute("ROLLBACK")
    other.close()
    await task


@pytest.mark.parametrize(
    ("commits_s", "quick"),
    [
        ([], False),
        ([0.0002] * 10, True),
        ([0.003] * 50, False),
        ([*[0.0002] * 10, 0.1], False),
        ([*[0.0002] * 10, 0.1, *[0.0002] * 10], False),
        ([*[0.0002] * 10, 0.1, *[0.0002] * 30], True),
    ],
)
def test_what_counts_as_quick(commits_s: list[float], quick: bool) -> None:
    pace = Pace()
    for seconds in commits_s:
        pace.took(seconds)

    assert pace.is_quick is quick
