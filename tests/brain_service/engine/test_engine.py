"""The engine on a real file: order, exactly once, group commit, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from pathlib import Path

import pytest

from brain_service import model
from brain_service.engine.engine import Applied, Failed, FailureCode, Submission
from brain_service.engine.storage import Row, StoreUnavailableError
from brain_service.model import codec
from brain_service.model.bank import Bank
from brain_service.model.interaction import interaction_from_context
from brain_service.model.population import MARK
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    Clock,
    interaction,
    logged,
    revisions,
    running,
    submission,
)

NOW_MS = int(NOW_S * 1000)


def codes(results: list[Applied | Failed]) -> list[FailureCode | None]:
    return [result.code if isinstance(result, Failed) else None for result in results]


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


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        pytest.param({"occurred_at_ms": NOW_MS + 60_001}, "occurred_at", id="too far ahead"),
        pytest.param({"occurred_at_ms": NOW_MS - 7 * 86_400_000 - 1}, "7 days", id="too long ago"),
    ],
)
async def test_what_the_clock_does_not_let_in_is_refused_alone_with_its_reason(
    brain: Brain, path: Path, fields: dict[str, object], word: str
) -> None:
    bad = submission("ada", "bad", **fields)
    results = await brain.apply(submission("ada", "a"), bad, submission("ada", "b"))

    assert codes(results) == [None, FailureCode.INVALID, None]
    refused = results[1]
    assert isinstance(refused, Failed)
    assert word in refused.message
    assert len(logged(path)) == 2


async def test_a_caller_that_fills_in_may_lie_further_back_but_only_so_far(path: Path) -> None:
    async with running(path, clock=Clock(), max_age_s=60.0) as brain:
        results = await brain.apply(
            *[
                submission("ada", name, occurred_at_ms=NOW_MS - age_s * 1000, max_age_s=allowed_s)
                for name, age_s, allowed_s in (
                    ("old", 90, 0),
                    ("filled-in", 90, 100),
                    ("older", 110, 100),
                    ("never-less", 50, 10),
                )
            ]
        )
    assert codes(results) == [FailureCode.INVALID, None, FailureCode.INVALID, None]


def counted_ms(result: Applied | Failed) -> int:
    assert isinstance(result, Applied)
    return round(result.assessment.time * 1000)


async def test_times_count_as_the_protocol_says(path: Path) -> None:
    clock = Clock()
    async with running(path, clock=clock, max_age_s=None) as brain:
        times = {
            "ancient": NOW_MS - 10 * 365 * 86_400_000,
            "later": NOW_MS - 5_000,
            "backwards": NOW_MS - 90_000,
            "ahead": NOW_MS + 59_000,
            "received": 0,
        }
        results = await brain.apply(
            *[
                submission("ada", name, occurred_at_ms=at, received_at_ms=NOW_MS - 1)
                for name, at in times.items()
            ]
        )

    assert [counted_ms(result) for result in results] == [
        times["ancient"],
        times["later"],
        times["later"],
        NOW_MS,
        NOW_MS,
    ]


@pytest.mark.parametrize("behind_s", [0, 120, 86_000])
async def test_a_clock_behind_the_callers_refuses_nothing_that_the_caller_saw_happen(
    path: Path, behind_s: int
) -> None:
    """The edge's clock judges what is ahead: browsers correct theirs by it."""
    theirs = NOW_MS + behind_s * 1000
    async with running(path, clock=Clock()) as brain:
        now, soon, late = await brain.apply(
            submission("ada", "now", occurred_at_ms=theirs, received_at_ms=theirs),
            submission("ada", "soon", occurred_at_ms=theirs + 59_000, received_at_ms=theirs),
            submission("ada", "late", occurred_at_ms=theirs + 61_000, received_at_ms=theirs),
        )

    assert counted_ms(now) == NOW_MS
    assert isinstance(soon, Applied)
    assert isinstance(late, Failed)
    assert late.code is FailureCode.INVALID


async def test_clocks_a_day_apart_refuse_for_now_so_that_no_answer_is_thrown_away(
    path: Path,
) -> None:
    async with running(path, clock=Clock()) as brain:
        [refused] = await brain.apply(submission("ada", "now", received_at_ms=NOW_MS + 90_000_000))

    assert isinstance(refused, Failed)
    assert refused.code is FailureCode.UNAVAILABLE


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


async def test_history_pages_join_without_gap_and_keep_their_crossings(brain: Brain) -> None:
    tasks = [
        interaction("q", correct=n % 4 == 0, difficulty=1 + n % 5, attempts=n % 5)
        for n in range(11)
    ]
    await brain.apply(
        *[submission("ada", f"i{n}", interaction=each) for n, each in enumerate(tasks)]
    )
    whole, more = await brain.engine.history("ada")
    assert not more
    paged = []
    after = 0
    while True:
        page, more = await brain.engine.history("ada", after_revision=after, limit=3)
        paged += page
        after = page[-1].revision
        if not more:
            break

    assert paged == whole
    assert len(whole) == 11
    assert await brain.engine.history("ada", limit=4, newest=True) == (whole[-4:], False)
    assert await brain.engine.history("ada", limit=11, newest=True) == (whole, False)
    assert await brain.engine.history("ada", after_revision=11) == ([], False)
    assert await brain.engine.history("eve") == ([], False)


async def test_the_log_keeps_what_was_sent(brain: Brain) -> None:
    sent = submission(
        "ada",
        "a",
        interaction=interaction("¿Cuánto es 2 + 2?"),
        response="4",
        context_json=b'{"correct": true, "mood": "fine"}',
        traceparent="00-" + "a" * 32,
        received_at_ms=NOW_MS - 7,
        occurred_at_ms=NOW_MS - 9,
    )
    await brain.apply(sent)
    [entry], _ = await brain.engine.history("ada")

    assert (entry.interaction_id, entry.kind, entry.content) == (
        "a",
        "question_response",
        "¿Cuánto es 2 + 2?",
    )
    assert (entry.response, entry.context_json, entry.traceparent) == (
        "4",
        sent.context_json,
        sent.traceparent,
    )
    assert (entry.occurred_at_ms, entry.received_at_ms) == (NOW_MS - 9, NOW_MS - 7)


async def test_a_context_that_was_not_sent_as_json_can_be_read_back_from_the_log(
    brain: Brain,
) -> None:
    sent = interaction("q", item_id="item-1", hints=2)
    await brain.apply(submission("ada", "a", interaction=sent))
    [entry], _ = await brain.engine.history("ada")

    assert (
        interaction_from_context(entry.kind, entry.content, json.loads(entry.context_json)) == sent
    )


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


async def test_rows_hold_what_the_codec_reads(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Row] = []
    commit = brain.store.commit

    async def spy(batch: list[Row], *rest: object) -> object:
        rows.extend(batch)
        return await commit(batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(brain.store, "commit", spy)
    [result] = await brain.apply(submission("ada", "a"))
    [snapshot] = await brain.engine.snapshots([("ada", 0)])

    assert isinstance(result, Applied)
    assert codec.decode_assessment(rows[0].assessment) == result.assessment
    assert codec.decode_state(rows[0].state) == snapshot.state


async def test_no_submissions_are_no_work(brain: Brain) -> None:
    assert await brain.apply() == []
    assert await brain.engine.snapshots([]) == []
    assert await brain.engine.revisions([]) == {}
