"""The shared bank beside the engine: loaded once, written with the commits, never twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brain_service.model.interaction import interaction_from_context
from brain_service.model.population import MARK
from tests.brain_service.engine.engine_support import (
    Brain,
    interaction,
    running,
    submission,
)


async def test_what_the_bank_learned_is_there_after_a_restart(path: Path) -> None:
    async with running(path) as brain:
        await brain.apply(*[submission(f"l{n}", "a") for n in range(7)])
        learned = brain.engine.bank.lookup(interaction())
    async with running(path) as brain:
        await brain.apply(
            submission(
                "eve", "view", interaction=interaction_from_context("content_view", "2 + 2?", {})
            )
        )
        await brain.apply(submission("eve", "norm", interaction=interaction("another")))
        again = brain.engine.bank.lookup(interaction())

    assert learned.answers == 7
    assert again.answers == 7
    assert again.easiness == pytest.approx(learned.easiness)


async def test_the_banks_increments_reach_the_store_while_the_engine_idles(path: Path) -> None:
    async with running(path, bank_flush_s=0.01) as brain:
        await brain.apply(submission("ada", "a"))
        async with asyncio.timeout(10):
            while not (totals := await brain.store.bank([interaction().item], ["maths"])).items:
                continue
        item, norm = totals.items[interaction().item], totals.norms["maths"]

    assert (item[1], norm[1]) == (1, 1)


async def test_increments_of_a_failed_commit_are_written_once_by_a_later_one(path: Path) -> None:
    async with running(path, bank_flush_s=0) as brain:
        await brain.apply(submission("ada", "a"))
        brain.store.refusals = 1
        await brain.apply(submission("bob", "a"))
        await brain.apply(submission("eve", "a"))
    async with running(path) as brain:
        totals = await brain.store.bank([interaction().item], ["maths"])

    assert totals.items[interaction().item][1] == 2
    assert totals.norms["maths"][1] == 2


async def test_items_and_subjects_that_nobody_knows_are_looked_up_once(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    bank = brain.store.bank

    async def counted(items: list[str], subjects: list[str]) -> object:
        asked.extend([*items, *subjects])
        return await bank(items, subjects)

    monkeypatch.setattr(brain.store, "bank", counted)
    view = interaction_from_context("content_view", "a text", {"subject": "poetry"})
    for n in range(3):
        await brain.apply(submission("ada", f"v{n}", interaction=view))

    assert len(asked) == len(set(asked))
    assert [name for name in asked if not name.startswith(MARK)] == [view.item, "poetry"]
