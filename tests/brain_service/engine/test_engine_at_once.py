"""A lone interaction is applied in one turn of the loop, with all that holds for any other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brain_service.engine.engine import Applied
from tests.brain_service.engine.engine_support import (
    Brain,
    interaction,
    logged,
    running,
    submission,
)


@pytest.fixture
async def brain(tmp_path: Path) -> AsyncIterator[Brain]:
    """A brain at rest that has Ada and her item in memory, on a quick disk."""
    async with running(tmp_path / "brain.db", bank_flush_s=3600.0) as brain:
        await brain.apply(submission("ada", "i1"))
        await brain.apply(submission("ada", "i2"))
        for _ in range(40):
            brain.store.pace.took(0.0)
        yield brain


async def settled(brain: Brain) -> None:
    """Let the engine come to rest: a resend is answered from memory, behind everything else."""
    await brain.apply(submission("ada", "i1"), submission("ada", "i1"))


async def test_it_is_answered_without_waiting_for_anything(brain: Brain) -> None:
    await settled(brain)
    call = brain.engine.submit([submission("ada", "i3")])
    with pytest.raises(StopIteration) as ended:
        call.send(None)

    (applied,) = ended.value.value
    assert isinstance(applied, Applied)
    assert (applied.revision, brain.store.at_once) == (3, 1)
    assert logged(brain.path)[-1][1:] == (3, "i3")
    assert [each.revision for each in brain.published] == [1, 2, 3]


async def test_it_tells_the_same_as_in_a_group(tmp_path: Path) -> None:
    told = []
    for name, quick in (("a", True), ("b", False)):
        async with running(tmp_path / name, bank_flush_s=3600.0) as brain:
            results = []
            for number in range(12):
                for _ in range(40):  # whatever this disk does
                    brain.store.pace.took(0.0 if quick else 1.0)
                one = submission(
                    "ada", f"i{number}", interaction=interaction(correct=number % 3 > 0)
                )
                results += await brain.apply(one)
            told.append(results)
            assert (brain.store.at_once > 0) is quick

    assert told[0] == told[1]


async def test_a_repeated_one_gets_the_first_answer(brain: Brain) -> None:
    await settled(brain)
    (first,) = await brain.apply(submission("ada", "i3"))
    (again,) = await brain.apply(submission("ada", "i3"))

    assert isinstance(first, Applied)
    assert again == first._replace(duplicate=True)
    assert brain.store.at_once == 1


@pytest.mark.parametrize("new", ["bob", "ada"])
async def test_what_memory_does_not_have_takes_the_usual_way(brain: Brain, new: str) -> None:
    await settled(brain)
    item = "elsewhere" if new == "ada" else "2 + 2?"
    (applied,) = await brain.apply(submission(new, "i9", interaction=interaction(item)))

    assert isinstance(applied, Applied)
    assert brain.store.at_once == 0


async def test_an_answer_lost_on_the_way_back_counts_once(brain: Brain) -> None:
    await settled(brain)
    brain.store.lost_answers = 1
    (applied,) = await brain.apply(submission("ada", "i3"))

    assert isinstance(applied, Applied)
    assert (applied.revision, applied.duplicate) == (3, True)
    assert [name for *_, name in logged(brain.path)] == ["i1", "i2", "i3"]


async def test_a_disk_that_is_full_is_told_by_the_usual_way(brain: Brain) -> None:
    await settled(brain)
    brain.store.refusals = 1
    (failed,) = await brain.apply(submission("ada", "i3"))

    assert "on holiday" in failed.message  # type: ignore[union-attr]
    assert [name for *_, name in logged(brain.path)] == ["i1", "i2"]
