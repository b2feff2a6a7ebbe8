"""States put in place of older ones as claims: all else of the log stays, and nothing is left."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from brain_service.engine.storage import Rebuilt, StateStamp
from brain_service.store import SqlStore
from brain_service.store.tables import MILESTONE
from tests.brain_service.store.test_store import NOTHING, row


@pytest.mark.parametrize("length", [1, 3, MILESTONE, MILESTONE + 1])
async def test_a_rebuilt_state_changes_nothing_else_of_the_log(
    store: SqlStore, length: int
) -> None:
    keys = await store.commit(
        [
            row(name, 0, n, f"{name}-{n}", f"{name} says {n}")
            for n in range(1, length + 1)
            for name in ("ada", "bob")
        ],
        NOTHING,
    )
    before = await store.load(["ada", "bob"])
    told = await store.history("ada", after_revision=0, limit=1000, newest=False)

    assert await store.rebuild([Rebuilt(keys["ada"], length, b"anew" * 999)]) == [keys["ada"]]

    heads = await store.load(["ada", "bob"])
    assert heads["ada"] == before["ada"]._replace(state=b"anew" * 999)
    assert heads["bob"] == before["bob"]
    assert told == await store.history("ada", after_revision=0, limit=1000, newest=False)
    assert told == await store.interactions(keys["ada"], after_revision=0, limit=1000)
    found = await store.find([("ada", f"ada-{length}")])
    assert found["ada", f"ada-{length}"].revision == length
    # And the learner goes on.
    await store.commit([row("ada", keys["ada"], length + 1, "next")], NOTHING)
    rows = await store.history("ada", after_revision=0, limit=1000, newest=False)
    assert [each.revision for each in rows] == list(range(1, length + 2))


async def test_an_outcome_is_replaced_only_where_one_is_given(store: SqlStore) -> None:
    keys = await store.commit([row("ada", 0, 1, "a"), row("bob", 0, 1, "a")], NOTHING)
    await store.rebuild([Rebuilt(keys["ada"], 1, b"s"), Rebuilt(keys["bob"], 1, b"s", b"o")])
    heads = await store.load(["ada", "bob"])

    assert (heads["ada"].assessment, heads["bob"].assessment) == (b"outcome", b"o")


@pytest.mark.parametrize("revision", [0, 1, 3])
async def test_a_learner_who_stands_elsewhere_is_left_alone(store: SqlStore, revision: int) -> None:
    keys = await store.commit([row("ada", 0, 1, "a"), row("ada", 0, 2, "b")], NOTHING)
    before = await store.load(["ada"])

    assert await store.rebuild([Rebuilt(keys["ada"], revision, b"anew")]) == []
    assert await store.rebuild([Rebuilt(77, 1, b"anew")]) == []
    assert before == await store.load(["ada"])


async def test_nothing_of_an_erased_learner_stays_because_neighbours_were_rebuilt(
    store: SqlStore, tmp_path: Path
) -> None:
    """With this seed, states that grow in their places leave copies of 18 lines behind."""
    dice = random.Random(2)
    keys: dict[str, int] = {}
    count = 0
    for n in range(1, 30):
        rows = []
        for k in range(dice.randint(1, 6)):
            if dice.random() < 0.6:
                count += 1
                text = "ada's secret " * dice.randint(1, 150)
                rows.append(row("ada", keys.get("ada", 0), count, f"a{count}", text))
            else:
                rows.append(row(f"n{n}-{k}", 0, 1, "i", "x" * dice.randint(1, 2000)))
        keys |= await store.commit(rows, NOTHING)
    for name, key in keys.items():
        if name != "ada":
            assert await store.rebuild([Rebuilt(key, 1, b"y" * dice.randint(1, 9000))]) == [key]
    assert await store.rebuild([Rebuilt(keys["ada"], count, b"ada's secret state" * 200)])
    assert await store.erase("ada", requested_by="root", at_ms=1) == count
    await store.close()

    assert in_files(tmp_path) == 0


def in_files(folder: Path) -> int:
    return sum(each.read_bytes().count(b"ada's secret") for each in folder.iterdir())


async def test_standings_come_in_the_order_of_keys_and_only_of_who_did_something(
    store: SqlStore,
) -> None:
    keys = await store.commit(
        [row(name, 0, 1, "a") for name in "abcde"] + [row("c", 0, 2, "b")], NOTHING
    )
    await store.erase("b", requested_by="root", at_ms=1)
    expected = [
        StateStamp(key, 2 if name == "c" else 1, f"state {name}"[:7].encode())
        for name, key in sorted(keys.items(), key=lambda pair: pair[1])
        if name != "b"
    ]

    assert await store.stamps(after=0, limit=10, stamp=7) == expected
    assert await store.stamps(after=0, limit=2, stamp=7) == expected[:2]
    assert await store.stamps(after=expected[1].learner_key, limit=9, stamp=7) == expected[2:]
    assert await store.stamps(after=expected[-1].learner_key, limit=9, stamp=7) == []
