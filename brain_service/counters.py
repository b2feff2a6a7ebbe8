"""Counts what a brain does and how well its predictions hold; hot paths add to plain numbers. It names no learner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brain_service.alerts import RECOMMENDATION, THRESHOLDS
from brain_service.bus import Publication
from brain_service.group import Work
from brain_service.levels import NAMES, SIX
from brain_service.submission import Applied, FailureCode
from service_runtime.figures import DURATION_S, SIZES, Histogram

BINS: Final = 10
"""Predictions are compared with what happened in so many groups of equal width."""
SAMPLED: Final = 8
"""The levels after one interaction in so many are counted: enough for their distribution, and nearly free."""
LEVEL_BOUNDS: Final = tuple(tenth / 10 for tenth in range(1, 10))


class Calibration:
    """Predicted and observed answers by predicted probability, for the Brier score and the calibration error.

    Brier, "Verification of forecasts expressed in terms of probability", 1950; Naeini et al., "Obtaining well
    calibrated probabilities using Bayesian binning", 2015. Sums instead of scores, so that a reader can take any span
    of time: the error of a span is Σ|expected − correct| over the bins by the answers in it.
    """

    __slots__ = ("answers", "correct", "expected", "squared_error")

    def __init__(self) -> None:
        """Start with no answers."""
        self.answers = [0] * BINS
        self.expected = [0.0] * BINS
        """Sums of predicted probabilities: how many right answers were to be expected."""
        self.correct = [0] * BINS
        self.squared_error = 0.0

    def add(self, predicted: float, correct: bool) -> None:
        """Count one answer that was predicted to be right with a probability of `predicted`."""
        place = min(int(predicted * BINS), BINS - 1)
        self.answers[place] += 1
        self.expected[place] += predicted
        self.correct[place] += correct
        surprise = correct - predicted
        self.squared_error += surprise * surprise


class Counters:
    """The figures of one brain."""

    def __init__(self) -> None:
        """Start at zero."""
        self.outcomes = dict.fromkeys(("applied", "duplicate", *(code.value for code in FailureCode)), 0)
        """Interactions by what became of them."""
        self.batch_sizes = Histogram(SIZES)
        """Interactions per commit."""
        self.commits_s = Histogram(DURATION_S)
        """Seconds that the store took for a commit that it made."""
        self.conflicts = 0
        """Commits that another brain was faster than; they are computed again."""
        self.commit_failures = 0
        """Commits that the store refused."""
        self.cache_hits = 0
        self.cache_misses = 0
        self.crossings = {(name, rising): 0 for name in (*THRESHOLDS, RECOMMENDATION) for rising in (False, True)}
        self.levels = {NAMES[place]: Histogram(LEVEL_BOUNDS) for place in SIX}
        self.calibration = Calibration()
        self._until_sample = 1

    def count_applied(self, applied: Iterable[tuple[Work, Applied]], publications: Iterable[Publication]) -> None:
        """Count what a commit made durable."""
        count = 0
        for (work, result), publication in zip(applied, publications, strict=True):
            count += 1
            predicted, correct = result.outcome.predicted_correct, work.submission.interaction.correct
            if predicted is not None and correct is not None:
                self.calibration.add(predicted, correct)
            for crossing in publication.crossings:
                self.crossings[crossing.name, crossing.rising] += 1
            self._until_sample -= 1
            if not self._until_sample:
                self._until_sample = SAMPLED
                self._sample(result)
        self.outcomes["applied"] += count

    def count_failed(self, code: FailureCode, count: int = 1) -> None:
        """Count interactions that were not applied."""
        self.outcomes[code.value] += count

    def count_duplicate(self) -> None:
        """Count an interaction that had been applied before."""
        self.outcomes["duplicate"] += 1

    def _sample(self, applied: Applied) -> None:
        levels = applied.outcome.readout.levels
        for place in SIX:
            self.levels[NAMES[place]].observe(levels[place])
