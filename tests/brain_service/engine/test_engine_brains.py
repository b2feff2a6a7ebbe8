"""Two engines on one file: what one knows of a learner may be stale, what it writes never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from brain_service.engine.engine import Applied, Failed, FailureCode
from brain_service.engine.storage import BankTotals, ConflictError, Row
from tests.brain_service.engine.engine_support import (
    Brain,
    interaction,
    logged,
    revisions,
    running,
    submission,
)


@pytest.fixture
async def brains(path: Path) -> AsyncIterator[tuple[Brain, Brain]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(running(path)),
            await stack.enter_async_context(running(path)),
        )


async def test_brains_of_one_store_share_its_epoch(brains: tuple[Brain, Brain]) -> None:
    one, two = brains

    assert one.engine.epoch == two.engine.epoch


async def test_a_stale_brain_reloads_and_recomputes(
    brains: tuple[Brain, Brain], path: Path
) -> None:
    one, two = brains
    await one.apply(submission("ada", "a", interaction=interaction("x", correct=True)))
    await two.apply(submission("ada", "b", interaction=interaction("y", correct=False)))
    stale = await one.apply(submission("ada", "c"), submission("bob", "c"))
    [snapshot] = await one.engine.snapshots([("ada", 0)])

    assert revisions(stale) == [(3, False), (1, False)]
    assert [row[1:] for row in logged(path)] == [(1, "a"), (2, "b"), (3, "c"), (1, "c")]
    assert snapshot.state is not None
    assert snapshot.state.progress.answers == 3


async def test_an_id_that_the_other_brain_applied_is_a_duplicate_in_any_position(
    brains: tuple[Brain, Brain],
) -> None:
    one, two = brains
    first = await one.apply(submission("ada", "a"))
    await two.apply(submission("bob", "z"))
    batch = [
        submission("bob", "y"),
        submission("ada", "a"),
        submission("ada", "b"),
        submission("ada", "a"),
    ]
    second = await two.apply(*batch)

    assert revisions(second) == [(2, False), (1, True), (2, False), (1, True)]
    assert isinstance(first[0], Applied)
    assert isinstance(second[1], Applied)
    assert second[1].assessment == first[0].assessment


async def test_brains_that_meet_a_new_learner_at_once_agree(
    brains: tuple[Brain, Brain], path: Path
) -> None:
    results = await asyncio.gather(
        *(
            brain.apply(submission("ada", f"{name}{n}"))
            for n in range(10)
            for name, brain in zip("xy", brains, strict=True)
        )
    )

    assert sorted(revisions([result for each in results for result in each])) == [
        (n, False) for n in range(1, 21)
    ]
    assert [row[1] for row in logged(path)] == list(range(1, 21))


async def test_the_same_interaction_sent_to_both_brains_moves_the_learner_once(
    brains: tuple[Brain, Brain], path: Path
) -> None:
    one, two = brains
    for n in range(10):
        both = await asyncio.gather(
            one.apply(submission("ada", f"i{n}")), two.apply(submission("ada", f"i{n}"))
        )
        assert sorted(revisions([both[0][0], both[1][0]])) == [(n + 1, False), (n + 1, True)]

    assert len(logged(path)) == 10


async def test_a_read_as_new_as_a_write_elsewhere_goes_to_the_store(
    brains: tuple[Brain, Brain],
) -> None:
    one, two = brains
    await one.apply(submission("ada", "a"))
    await two.apply(submission("ada", "b"))

    assert [each.revision for each in await one.engine.snapshots([("ada", 1), ("ada", 2)])] == [
        2,
        2,
    ]
    assert await one.engine.revisions(["ada", "eve"]) == {"ada": 2}


async def test_an_erasure_by_another_brain_is_noticed_at_the_next_write(
    brains: tuple[Brain, Brain], path: Path
) -> None:
    one, two = brains
    await one.apply(submission("ada", "a"), submission("ada", "b"))
    await two.engine.erase("ada", "a parent")
    results = await one.apply(submission("ada", "c"))

    assert revisions(results) == [(1, False)]
    assert [row[1:] for row in logged(path)] == [(1, "c")]
    assert [(each.revision, each.gone) for each in one.published] == [
        (1, False),
        (2, False),
        (0, True),
        (1, False),
    ]


async def test_an_erasure_by_another_brain_is_noticed_without_a_write(path: Path) -> None:
    async with running(path, erasure_check_s=0.01) as one, running(path) as two:
        await one.apply(submission("ada", "a"), submission("bob", "a"))
        gone = asyncio.Event()
        one.bus_subscribe(lambda publications: gone.set() if publications[0].gone else None)
        await two.engine.erase("ada", "a parent")
        async with asyncio.timeout(10):
            await gone.wait()

        assert [each.revision for each in await one.engine.snapshots([("ada", 0), ("bob", 0)])] == [
            0,
            1,
        ]
        assert [each.learner_id for each in one.published if each.gone] == ["ada"]
        assert revisions(await one.apply(submission("ada", "a"))) == [(1, False)]


async def test_a_brain_that_always_loses_the_race_says_so(
    brains: tuple[Brain, Brain], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = brains

    async def lose(_rows: list[Row], *_: object) -> dict[str, int]:
        raise ConflictError("too late")

    monkeypatch.setattr(one.store, "commit", lose)
    [result] = await one.apply(submission("ada", "a"))

    assert isinstance(result, Failed)
    assert result.code is FailureCode.UNAVAILABLE


async def test_brains_learn_of_each_others_items(path: Path) -> None:
    async with (
        running(path, bank_flush_s=0, bank_refresh_s=0) as one,
        running(path, bank_flush_s=0, bank_refresh_s=0) as two,
    ):
        for n in range(3):
            await one.apply(submission(f"ada-{n}", "a"))
            await two.apply(submission(f"bob-{n}", "b"))

        async def totals() -> BankTotals:
            return await one.store.bank([interaction().item], ["maths"])

        async with asyncio.timeout(10):
            while (await totals()).items[interaction().item][1] < 6:
                continue
        await two.apply(submission("eve", "e"))
        assert two.engine.bank.lookup(interaction()).answers >= 6
