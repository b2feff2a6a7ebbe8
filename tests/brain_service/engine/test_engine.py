"""The engine on a real file: order, exactly once, group commit, limits."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from brain_service import model
from brain_service.engine.engine import Applied, Failed, FailureCode, Submission
from brain_service.engine.storage import StoreUnavailableError
from brain_service.model import codec
from brain_service.model.bank import Bank
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    codes,
    interaction,
    logged,
    revisions,
    running,
    submission,
)

NOW_MS = int(NOW_S * 1000)


async def held(brain: Brain, *submissions: Submission) -> asyncio.Task[list[Applied | Failed]]:
    """Begin a submit whose commit waits at the gate."""
    brain.store.gate = brain.store.gate or asyncio.Event()
    brain.store.entered.clear()
    task = asyncio.create_task(brain.apply(*submissions))
    await brain.store.entered.wait()
    return task


def release(brain: Brain) -> None:
    gate, brain.store.gate = brain.store.gate, None
    assert gate is not None
    gate.set()


async def test_interactions_of_a_learner_are_applied_in_the_order_they_arrive(
    brain: Brain, path: Path
) -> None:
    batch = [submission(learner, f"i{n}") for n in range(5) for learner in ("ada", "bob")]
    results = await brain.apply(*batch)

    assert revisions(results) == [(n, False) for n in range(1, 6) for _ in range(2)]
    for key in (1, 2):
        assert [row[1:] for row in logged(path) if row[0] == key] == [
            (n + 1, f"i{n}") for n in range(5)
        ]


async def test_states_equal_a_straight_run_of_the_model(brain: Brain) -> None:
    contexts = [
        {"correct": n % 3 > 0, "difficulty": 1 + n % 5, "time_taken": 2.0 + n} for n in range(12)
    ]
    interactions = [interaction(f"q{n % 4}", **context) for n, context in enumerate(contexts)]
    results = await brain.apply(
        *[
            submission("ada", f"i{n}", interaction=each, occurred_at_ms=NOW_MS - 60_000 + n * 1000)
            for n, each in enumerate(interactions)
        ]
    )
    stage, state = Bank().stage(), None
    for n, each in enumerate(interactions):
        state, assessment, increments = model.apply(state, stage.lookup(each), each, NOW_S - 60 + n)
        # A learner teaches an item once, and nothing that learners share (`APART`).
        increments = increments._replace(lesson=None)
        stage.add(increments._replace(item=None) if increments.repeated else increments)
        result = results[n]
        assert isinstance(result, Applied)
        assert result.assessment == codec.told(assessment)[0]

    [snapshot] = await brain.engine.snapshots([("ada", 0)])
    assert snapshot.state == state


async def test_a_repeated_id_gets_the_first_outcome_wherever_it_comes(
    brain: Brain, path: Path
) -> None:
    first = submission("ada", "same")
    other = submission("ada", "other")
    in_one_batch = await brain.apply(first, first, other, first)
    in_memory = await brain.apply(first)
    brain.engine.memory.forget_answers()
    in_the_store = await brain.apply(
        submission("ada", "new"), first, submission("bob", "same"), first
    )

    assert revisions(in_one_batch) == [(1, False), (1, True), (2, False), (1, True)]
    assert revisions(in_memory) == [(1, True)]
    assert revisions(in_the_store) == [(3, False), (1, True), (1, False), (1, True)]
    assessments = {
        result.assessment
        for result in (*in_one_batch, *in_memory, *in_the_store[:2])
        if isinstance(result, Applied) and result.revision == 1
    }
    assert len(assessments) == 1
    assert len(logged(path)) == 4


async def test_an_id_is_known_after_a_restart(path: Path) -> None:
    async with running(path) as brain:
        before = await brain.apply(submission("ada", "a"), submission("ada", "b"))
        epoch = brain.engine.epoch
    async with running(path) as brain:
        after = await brain.apply(
            submission("ada", "a"), submission("ada", "c"), submission("ada", "b")
        )

        assert brain.engine.epoch == epoch
    assert revisions(after) == [(1, True), (3, False), (2, True)]
    assert before[0]._replace(duplicate=True) == after[0]


async def test_a_repetition_with_other_content_changes_nothing(brain: Brain) -> None:
    await brain.apply(submission("ada", "a", interaction=interaction("first")))
    again = await brain.apply(
        submission("ada", "a", interaction=interaction("second", correct=False))
    )
    entries, _ = await brain.engine.history("ada")

    assert revisions(again) == [(1, True)]
    assert [entry.content for entry in entries] == ["first"]


async def test_a_failed_commit_changes_nothing_and_the_retry_works(
    brain: Brain, path: Path
) -> None:
    await brain.apply(submission("ada", "a"))
    before = await brain.engine.snapshots([("ada", 0), ("bob", 0)])
    published = list(brain.published)
    bank = brain.engine.bank.lookup(interaction())
    brain.store.refusals = 1
    batch = [submission("ada", "b"), submission("bob", "a"), submission("ada", "b")]
    failed = await brain.apply(*batch)

    assert codes(failed) == [FailureCode.UNAVAILABLE] * 3
    assert await brain.engine.snapshots([("ada", 0), ("bob", 0)]) == before
    assert brain.published == published
    assert brain.engine.bank.lookup(interaction()) == bank
    assert len(logged(path)) == 1
    assert revisions(await brain.apply(*batch)) == [(2, False), (1, False), (2, True)]


async def test_a_commit_whose_answer_got_lost_is_found_again(brain: Brain, path: Path) -> None:
    brain.store.lost_answers = 1
    failed = await brain.apply(submission("ada", "a"), submission("ada", "b"))
    retried = await brain.apply(
        submission("ada", "a"), submission("ada", "b"), submission("ada", "c")
    )

    assert codes(failed) == [FailureCode.UNAVAILABLE] * 2
    assert revisions(retried) == [(1, True), (2, True), (3, False)]
    assert len(logged(path)) == 3


async def test_a_poisonous_interaction_fails_alone(
    brain: Brain, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = model.apply

    def fragile(state: object, statistics: object, each: object, now: float) -> object:
        if each.content == "boom":  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return apply(state, statistics, each, now)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "apply", fragile)
    with caplog.at_level(logging.ERROR):
        results = await brain.apply(
            submission("ada", "a"),
            submission("ada", "b", interaction=interaction("boom"), traceparent="00-abc"),
            submission("ada", "c"),
            submission("bob", "a"),
        )

    assert codes(results) == [None, FailureCode.INTERNAL, None, None]
    assert [row[1:] for row in logged(path)] == [(1, "a"), (2, "c"), (1, "a")]
    assert "ZeroDivisionError" in caplog.text
    assert caplog.records[0].traceparent == "00-abc"  # type: ignore[attr-defined]


async def test_a_row_that_the_driver_chokes_on_fails_alone(brain: Brain, path: Path) -> None:
    brain.store.poison = lambda row: row.interaction_id == "bad"
    results = await brain.apply(
        submission("ada", "a"),
        submission("ada", "bad"),
        submission("ada", "b"),
        submission("bob", "a"),
    )

    assert codes(results) == [None, FailureCode.INTERNAL, None, None]
    assert [row[1:] for row in logged(path)] == [(1, "a"), (2, "b"), (1, "a")]


async def test_while_one_group_commits_the_next_one_gathers(brain: Brain) -> None:
    first = await held(brain, submission("ada", "a"))
    later = [asyncio.create_task(brain.apply(submission("ada", f"b{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    assert brain.engine.pending == 20
    release(brain)
    await asyncio.gather(first, *later)

    assert brain.store.sizes == [1, 20]
    assert [revisions(task.result())[0][0] for task in later] == list(range(2, 22))


async def test_nothing_is_answered_or_shown_before_it_is_durable(brain: Brain) -> None:
    task = await held(brain, submission("ada", "a"))
    [snapshot] = await brain.engine.snapshots([("ada", 0)])

    assert not task.done()
    assert snapshot.revision == 0
    assert brain.published == []
    release(brain)
    await task
    [snapshot] = await brain.engine.snapshots([("ada", 1)])
    assert snapshot.revision == 1


async def test_groups_are_bounded(path: Path) -> None:
    async with running(path, max_batch=8) as brain:
        results = await brain.apply(*[submission("ada", f"i{n}") for n in range(20)])

        assert brain.store.sizes == [8, 8, 4]
    assert revisions(results) == [(n, False) for n in range(1, 21)]


async def test_above_the_limit_of_waiting_interactions_new_ones_are_refused(path: Path) -> None:
    async with running(path, max_pending=3) as brain:
        first = await held(brain, submission("ada", "a"))
        waiting = asyncio.create_task(brain.apply(*[submission("ada", f"b{n}") for n in range(5)]))
        await asyncio.sleep(0)
        release(brain)
        results = await waiting
        await first

        assert codes(results) == [None, None, None, FailureCode.OVERLOADED, FailureCode.OVERLOADED]
        assert revisions(await brain.apply(submission("ada", "b4"))) == [(5, False)]


async def test_a_cancelled_call_is_applied_all_the_same(brain: Brain) -> None:
    task = await held(brain, submission("ada", "a"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release(brain)

    assert revisions(await brain.apply(submission("ada", "a"))) == [(1, True)]


async def test_stopping_finishes_what_is_queued_and_refuses_what_comes_later(path: Path) -> None:
    async with running(path) as brain:
        first = await held(brain, submission("ada", "a"))
        queued = asyncio.create_task(brain.apply(submission("ada", "b")))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(brain.engine.stop())
        await asyncio.sleep(0)
        late = await brain.apply(submission("ada", "c"))
        release(brain)
        await stopping

        assert revisions(await first + await queued) == [(1, False), (2, False)]
        assert codes(late) == [FailureCode.UNAVAILABLE]
        with pytest.raises(StoreUnavailableError):
            await brain.engine.erase("ada", "someone")


async def test_publications_tell_each_revision_once_in_order_with_its_crossings(
    brain: Brain,
) -> None:
    hard = interaction("hard", correct=False, difficulty=5, attempts=4, hints=3)
    for n in range(6):
        await brain.apply(submission("ada", f"i{n}", interaction=hard, traceparent=f"00-{n}"))
    entries, _ = await brain.engine.history("ada")

    assert [each.revision for each in brain.published] == list(range(1, 7))
    assert [each.traceparent for each in brain.published] == [f"00-{n}" for n in range(6)]
    assert any(each.crossings for each in brain.published)
    assert [each.crossings for each in brain.published] == [entry.crossings for entry in entries]
    assert [each.assessment for each in brain.published] == [entry.assessment for entry in entries]


async def test_all_learners_missing_in_memory_take_one_read(path: Path) -> None:
    names = [f"l{n}" for n in range(30)]
    async with running(path) as brain:
        await brain.apply(*[submission(name, "a") for name in names])
    async with running(path) as brain:
        snapshots = await brain.engine.snapshots([(name, 0) for name in names])
        assert [each.revision for each in snapshots] == [1] * 30
        assert brain.store.loads == 1
        await brain.apply(*[submission(name, "b") for name in names])
        assert brain.store.loads == 2
        await brain.apply(*[submission(name, "c") for name in names])
        await brain.engine.snapshots([(name, 3) for name in names])
        assert brain.store.loads == 2


async def test_memory_is_bounded_and_forgetting_loses_nothing(path: Path) -> None:
    async with running(path, cache_learners=3, recent_ids=4) as brain:
        for n in range(3):
            results = await brain.apply(*[submission(f"l{k}", f"i{n}") for k in range(10)])
            assert revisions(results) == [(n + 1, False)] * 10
        assert brain.engine.memory.size == 3
        assert brain.engine.memory.answers == 4
        assert revisions(await brain.apply(submission("l0", "i0"))) == [(1, True)]


async def test_a_state_that_cannot_be_read_delays_that_learner_only(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(path) as brain:
        await brain.apply(submission("ada", "a"), submission("bob", "a"))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE heads SET head = x'00' WHERE place = 1")
    connection.close()
    async with running(path) as brain:
        results = await brain.apply(submission("ada", "b"), submission("bob", "b"))

    damaged = [isinstance(result, Failed) for result in results]
    assert sorted(damaged) == [False, True]
    assert FailureCode.UNAVAILABLE in codes(results)
    assert "cannot be read" in caplog.text


async def test_no_submissions_are_no_work(brain: Brain) -> None:
    assert await brain.apply() == []
    assert await brain.engine.snapshots([]) == []
    assert await brain.engine.revisions([]) == {}
