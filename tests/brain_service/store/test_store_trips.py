"""How often a store on a server waits for it, counted on the wire; and what reads look at there."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from brain_service.engine.storage import Row
from brain_service.model.increments import BankIncrements, ItemIncrement, NormIncrement
from brain_service.store import SCHEMA, SqlStore
from harness.postgres import Postgres
from tests.support.postgres import migrated
from tests.support.trips import Trips

NOTHING: Final = BankIncrements()
_numbers = itertools.count()


def row(learner: str, key: int, revision: int) -> Row:
    fields = ("practice", "what?", None, b"{}", 5, 6, "", b"outcome", b"state" * 60)
    return Row(learner, key, revision, f"{learner}-{revision}", *fields)


@pytest.fixture
def address(postgres: Postgres) -> str:
    return migrated(postgres.make(f"trips_{next(_numbers)}"), SCHEMA)


@pytest.fixture
def trips(postgres: Postgres) -> Iterator[Trips]:
    with tempfile.TemporaryDirectory(prefix="aivo-trips-") as folder:
        trips = Trips(postgres.socket, Path(folder))
        yield trips
        trips.close()


@pytest.fixture
async def store(address: str, trips: Trips) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(trips.address(address))
    yield store
    await store.close()


async def trips_of(trips: Trips, store: SqlStore, rows: list[Row], learned: BankIncrements) -> int:
    before = trips.count
    await store.commit(rows, learned)
    return trips.count - before


async def test_a_group_of_known_learners_is_one_round_trip_however_large(
    store: SqlStore, trips: Trips
) -> None:
    names = [f"learner-{n}" for n in range(200)]
    keys = await store.commit([row(name, 0, 1) for name in names], NOTHING)
    counted = [
        await trips_of(
            trips, store, [row(name, keys[name], revision) for name in names[:size]], NOTHING
        )
        for revision, size in enumerate((200, 64, 64, 64, 1, 1, 1, 1), 2)
    ]
    assert counted == [1] * 8


async def test_learners_who_are_not_in_memory_cost_a_look_at_the_connection_and_one_at_them(
    store: SqlStore, trips: Trips
) -> None:
    names = [f"learner-{n}" for n in range(64)]
    await store.commit([row(name, 0, 1) for name in names], NOTHING)
    counted = []
    for _ in range(4):
        before = trips.count
        await store.load(names)
        await store.revisions(names)
        await store.bank(["item"], ["subject"])
        counted.append(trips.count - before)
    # The first times connections are made and statements prepared. The bank has two tables.
    assert counted[-1] == 2 + 2 + 3


async def test_who_is_written_next_costs_one_round_trip_to_read_and_is_read_as_everybody_is(
    store: SqlStore, trips: Trips
) -> None:
    names = [f"learner-{n}" for n in range(64)]
    await store.commit([row(name, 0, 1) for name in names], NOTHING)
    expected = await store.load(names)
    assert len(expected) == 64
    counted = []
    for size in (64, 1, 64, 1):
        before = trips.count
        wanted = [*names[:size], "nobody"]
        assert await store.load(wanted, to_write=True) == {
            name: expected[name] for name in names[:size]
        }
        counted.append(trips.count - before)
    # The first time the statement is prepared.
    assert counted[1:] == [1] * 3


@pytest.mark.parametrize(
    ("learned", "trips_each"),
    [
        pytest.param(NOTHING, 4, id="begin, learners, group, commit"),
        pytest.param(
            BankIncrements((ItemIncrement("i", 0, 1, 1),), (NormIncrement("s", 1, 1),)),
            6,
            id="and two kinds of lessons",
        ),
    ],
)
async def test_new_learners_cost_as_many_however_many_they_are(
    store: SqlStore, trips: Trips, learned: BankIncrements, trips_each: int
) -> None:
    counted = []
    for size in (1, 64, 1, 64):
        names = [f"learner-{next(_numbers)}" for _ in range(size)]
        counted.append(await trips_of(trips, store, [row(name, 0, 1) for name in names], learned))
    # The first time statements are prepared, too.
    assert counted[1:] == [trips_each] * 3
