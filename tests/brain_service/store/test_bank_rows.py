"""The bank's rows as claims: they stay bounded, and what leaves first is what least is known of."""

from __future__ import annotations

import pytest

from brain_service.engine.storage import Declared
from brain_service.model.increments import BankIncrements, ItemIncrement, NormIncrement
from brain_service.store import SqlStore

FOREVER = {"before_day": 0, "items": 1_000_000, "subjects": 1_000_000}


async def learn(store: SqlStore, name: str, *, answers: int, day: int) -> None:
    item, norm = ItemIncrement(name, 0.5, 0.1, answers), NormIncrement(name, 2.0, answers)
    await store.commit([], BankIncrements((item,), (norm,), day))


async def names(store: SqlStore) -> tuple[set[str], set[str]]:
    everything = ["a", "b", "c", "d", *(f"made-up-{n}" for n in range(12_000))]
    totals = await store.bank(everything, everything)
    return set(totals.items), set(totals.norms)


@pytest.mark.parametrize(
    ("bounds", "items", "subjects"),
    [
        pytest.param({}, "abcd", "abcd", id="nothing is too old or too much"),
        pytest.param({"before_day": 20}, "bcd", "bcd", id="who was taught that day stays"),
        pytest.param({"before_day": 99}, "", "", id="all are old"),
        pytest.param({"items": 3}, "acd", "abcd", id="the fewest answers leave first"),
        pytest.param({"items": 2}, "ad", "abcd", id="and the older of those that have as many"),
        pytest.param({"subjects": 1}, "abcd", "a", id="subjects likewise"),
        pytest.param({"before_day": 20, "items": 1}, "d", "bcd", id="both"),
    ],
)
async def test_what_leaves_the_bank(
    store: SqlStore, bounds: dict[str, int], items: str, subjects: str
) -> None:
    await learn(store, "a", answers=9, day=10)
    await learn(store, "b", answers=1, day=20)
    await learn(store, "c", answers=2, day=30)
    await learn(store, "d", answers=2, day=31)
    removed = await store.prune_bank(**(FOREVER | bounds))

    assert await names(store) == (set(items), set(subjects))
    assert removed == 8 - len(items) - len(subjects)


async def test_what_is_taught_again_is_young_again(store: SqlStore) -> None:
    await learn(store, "a", answers=1, day=10)
    await learn(store, "a", answers=1, day=50)
    await store.prune_bank(**(FOREVER | {"before_day": 50}))

    assert await names(store) == ({"a"}, {"a"})


async def test_more_than_one_transaction_takes_leaves_too(store: SqlStore) -> None:
    await learn(store, "a", answers=5, day=10)
    made_up = tuple([ItemIncrement(f"made-up-{n}", 0.0, 0.0, 1) for n in range(12_000)])
    await store.commit([], BankIncrements(made_up, (), 11))

    assert await store.prune_bank(**(FOREVER | {"items": 1})) == 12_000
    assert await names(store) == ({"a"}, {"a"})


async def test_a_list_takes_the_place_of_the_one_before(store: SqlStore) -> None:
    assert await store.declared("") is None
    assert await store.declare("item", ["q1", "q2"]) == (2, 0)
    assert await store.declare("subject", ["maths"]) == (1, 0)
    first = await store.declared("")
    assert first is not None
    assert first == Declared(first.version, frozenset({"q1", "q2"}), frozenset({"maths"}))
    assert await store.declared(first.version) is None

    assert await store.declare("item", ["q2"]) == (0, 1)
    second = await store.declared(first.version)
    assert second is not None
    assert (second.items, second.subjects) == (frozenset({"q2"}), frozenset({"maths"}))
    # The same list again is no news.
    assert await store.declare("item", ["q2"]) == (0, 0)
    assert await store.declared(second.version) is None
