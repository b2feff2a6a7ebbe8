"""What the engine writes into the log, and how it is read again."""

from __future__ import annotations

import json

import pytest

from brain_service.engine.engine import Applied
from brain_service.engine.storage import Row
from brain_service.model import codec
from brain_service.model.interaction import interaction_from_context
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    interaction,
    submission,
)

NOW_MS = int(NOW_S * 1000)


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
