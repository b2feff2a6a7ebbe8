"""How much a learner may do in a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from brain_service.engine import allowances
from brain_service.engine.allowances import Allowances
from brain_service.engine.submission import Applied, Failed, FailureCode
from tests.brain_service.engine.engine_support import Clock, running, submission

DAY_S = 86_400.0


def test_each_learner_has_so_much_a_day() -> None:
    allowed = Allowances(3, 2)
    left = allowed.left("ada", 5.0)
    left[0] -= 1

    assert allowed.left("ada", DAY_S - 1) == [2, 2]
    assert allowed.left("bob", 5.0) == [3, 2]
    assert allowed.left("ada", DAY_S + 1) == [3, 2]


def test_who_came_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "_MAX_LEARNERS", 2)
    allowed = Allowances(1)
    for name in ("ada", "bob", "cleo"):
        allowed.left(name, 0.0)[0] = 0

    assert [allowed.left(name, 0.0) for name in ("cleo", "bob", "ada")] == [[0], [0], [1]]


@pytest.mark.parametrize("most", [3, 0])
async def test_a_learner_adds_so_many_interactions_a_day(tmp_path: Path, most: int) -> None:
    clock = Clock()
    async with running(tmp_path / "brain.db", clock=clock, quota_a_day=most) as brain:
        first = await brain.apply(*(submission("ada", f"id-{number}") for number in range(5)))
        other = await brain.apply(submission("bob", "other"))
        clock.now += DAY_S
        tomorrow = await brain.apply(submission("ada", "late"))

    refused = [one.code for one in first if isinstance(one, Failed)]
    assert refused == ([FailureCode.QUOTA] * 2 if most else [])
    assert all(isinstance(one, Applied) for one in (*other, *tomorrow))


async def test_much_text_counts_as_many_interactions(tmp_path: Path) -> None:
    context = b'{"note": "' + b"x" * 4096 + b'"}'
    async with running(tmp_path / "brain.db", quota_a_day=10) as brain:
        answers = await brain.apply(
            *(submission("ada", f"id-{number}", context_json=context) for number in range(4))
        )

    assert [isinstance(one, Applied) for one in answers] == [True, True, False, False]
