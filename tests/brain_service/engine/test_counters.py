"""A brain counts what became of each interaction once, and its predictions against the answers that
came.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.engine.counters import BINS, SAMPLED, BrainCounters, Calibration
from brain_service.engine.engine import Applied, Submission
from brain_service.engine.publication import Publication
from brain_service.metrics import families
from brain_service.model.bank import Bank
from brain_service.model.levels import NAMES, SIX
from brain_service.watch.watches import Watches
from service_runtime.metrics import Buckets
from tests.brain_service.engine.engine_support import interaction, running, submission


async def test_every_interaction_is_counted_under_what_became_of_it(tmp_path: Path) -> None:
    async with running(tmp_path / "brain.db", max_pending=3) as brain:
        await brain.apply(
            submission("ada", "1"),
            submission("ada", "1"),
            submission("ben", "1"),
            submission("ben", "2"),
        )
        await brain.apply(submission("ada", "1"))
        await brain.apply(submission("ada", "old", occurred_at_ms=1))
        brain.store.refusals = 1
        await brain.apply(submission("ada", "3"), submission("ben", "3"))
        outcomes = brain.engine.counters.outcomes

    assert outcomes == {
        "applied": 2, "duplicate": 2, "invalid": 1, "quota": 0, "overloaded": 1, "unavailable": 2,
        "internal": 0,
    }  # fmt: skip
    assert brain.engine.counters.commit_failures == 1


async def test_commits_and_the_cache_are_counted(tmp_path: Path) -> None:
    async with running(tmp_path / "brain.db") as brain:
        for turn in range(3):
            await brain.apply(submission("ada", f"a{turn}"), submission("ben", f"b{turn}"))
        await brain.engine.snapshots([("ada", 0), ("nobody", 0)])
        counters = brain.engine.counters

    assert (sum(counters.batch_sizes.counts), counters.batch_sizes.sum) == (3, 6)
    assert sum(counters.commits_s.counts) == 3
    assert (counters.cache_hits, counters.cache_misses) == (4 + 1, 2 + 1)


async def test_a_commit_that_another_brain_was_faster_than_counts_as_a_conflict(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.db"
    async with running(path) as one, running(path) as other:
        await one.apply(submission("ada", "1"))
        await other.apply(submission("ada", "2"))
        await one.apply(submission("ada", "3"))

        assert one.engine.counters.conflicts == 1
        assert other.engine.counters.conflicts == 0
        assert one.engine.counters.outcomes["applied"] == 2


async def test_predictions_are_compared_with_the_answers_that_came(tmp_path: Path) -> None:
    answers = [True, True, False, True, False, True, True, True]
    async with running(tmp_path / "brain.db") as brain:
        results = await brain.apply(
            *(
                submission("ada", str(place), interaction=interaction(correct=one))
                for place, one in enumerate(answers)
            )
        )
        counted = brain.engine.counters.calibration
    predicted = []
    for result in results:
        assert isinstance(result, Applied)
        assert result.assessment.predicted_correct is not None
        predicted.append(result.assessment.predicted_correct)

    assert sum(counted.answers) == len(answers)
    assert sum(counted.correct) == sum(answers)
    assert sum(counted.expected) == pytest.approx(sum(predicted))
    squares = [(right - p) ** 2 for right, p in zip(answers, predicted, strict=True)]
    assert counted.squared_error == pytest.approx(sum(squares))


class Graded:
    """As much of an applied interaction as the calibration reads."""

    def __init__(self, predicted: float | None, correct: bool | None) -> None:
        self.assessment = self.interaction = self
        self.predicted_correct = predicted
        self.correct = correct


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())))
def test_each_answer_is_in_the_bin_of_its_prediction(pairs: list[tuple[float, bool]]) -> None:
    counted = Calibration()
    counted.add([(one, one) for one in (Graded(*pair) for pair in pairs)])  # type: ignore[misc]
    counted.add([(one, one) for one in [Graded(None, None)]])  # type: ignore[misc]

    for place in range(BINS + 1):
        mine = [(p, right) for p, right in pairs if int(p * BINS) == place]
        assert counted.answers[place] == len(mine)
        assert counted.correct[place] == sum(right for _, right in mine)
        assert counted.expected[place] == pytest.approx(sum(p for p, _ in mine))


async def _applied(tmp_path: Path) -> tuple[tuple[Submission, Applied], Publication]:
    async with running(tmp_path / "brain.db") as brain:
        sent = submission("ada", "1")
        (result,) = await brain.apply(sent)
        assert isinstance(result, Applied)
        return (sent, result), brain.published[0]


@pytest.mark.parametrize("sizes", [[1] * 17, [17], [5, 5, 5, 2], [8, 9], [16, 0, 1]])
async def test_one_interaction_in_eight_shows_its_levels_however_they_are_grouped(
    tmp_path: Path, sizes: list[int]
) -> None:
    applied, publication = await _applied(tmp_path)
    counters = BrainCounters()
    for size in sizes:
        counters.count_applied([applied] * size, [publication] * size)

    assert sum(sizes) == 17
    assert {name: sum(levels.counts) for name, levels in counters.levels.items()} == {
        NAMES[place]: -(-17 // SAMPLED) for place in SIX
    }


async def test_crossings_are_counted_by_name_and_direction(tmp_path: Path) -> None:
    async with running(tmp_path / "brain.db") as brain:
        for turn in range(40):
            await brain.apply(
                submission(
                    "ada", str(turn), interaction=interaction(correct=turn > 20, time_taken=60.0)
                )
            )
        published = [
            (crossing.name, crossing.rising)
            for publication in brain.published
            for crossing in publication.crossings
        ]
        counted = brain.engine.counters.crossings

    assert published
    assert {key: count for key, count in counted.items() if count} == {
        key: published.count(key) for key in published
    }


async def test_figures_have_names_and_say_what_was_counted(tmp_path: Path) -> None:
    async with running(tmp_path / "brain.db") as brain:
        await brain.apply(submission("ada", "1"), submission("ben", "1"))
        named = {
            family.name: family for family in families(brain.engine, Watches(brain.engine), Bank())
        }

    assert named["aivo_brain_interactions"].values["applied",] == 2
    assert named["aivo_brain_cached_learners"].values == {(): 2}
    size = named["aivo_brain_commit_batch_size"].values[()]
    assert isinstance(size, Buckets)
    assert size.sum == 2
    assert sum(named["aivo_brain_predicted_answers"].values.values()) == 2  # type: ignore[arg-type]
    assert len(named["aivo_brain_predicted_answers"].values) == BINS
