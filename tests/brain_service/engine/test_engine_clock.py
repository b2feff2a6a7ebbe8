"""When an interaction counts, and what the clock does not let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from brain_service.engine.engine import Applied, Failed, FailureCode
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    Clock,
    codes,
    logged,
    running,
    submission,
)

NOW_MS = int(NOW_S * 1000)


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
