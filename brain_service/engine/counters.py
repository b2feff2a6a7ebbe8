"""Counts what a brain does and how well its predictions hold, in plain numbers for hot paths. Names
no learner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from brain_service.engine.publication import Publication
from brain_service.engine.submission import Applied, FailureCode, Submission
from brain_service.model.alerts import CROSSINGS
from brain_service.model.levels import NAMES, SIX
from service_runtime.metrics import DURATION_S, SIZES, Histogram

BINS: Final = 10
"""Number of equally wide bins in which predictions are compared with outcomes."""
SAMPLED: Final = 8
"""Levels are counted after every n-th interaction: enough for their distribution, and nearly
free.
"""
LEVEL_BOUNDS: Final = tuple(tenth / 10 for tenth in range(1, 10))


class Calibration:
    """Predicted and observed answers by predicted probability, for the Brier score and the
    calibration error.

    Brier, "Verification of forecasts expressed in terms of probability", 1950; Naeini et al.,
    "Obtaining well calibrated probabilities using Bayesian binning", 2015. Sums instead of scores,
    so that a reader can take any span of time: the error of a span is Σ|expected − correct| over
    the bins by the answers in it.
    """

    __slots__ = ("answers", "correct", "expected", "squared_error")

    def __init__(self) -> None:
        """Start with no answers. One place more than there are bins takes the predictions of
        exactly 1.
        """
        self.answers = [0] * (BINS + 1)
        self.expected = [0.0] * (BINS + 1)
        """Sums of predicted probabilities: the expected number of right answers."""
        self.correct = [0] * (BINS + 1)
        self.squared_error = 0.0

    def add(self, applied: Iterable[tuple[Submission, Applied]]) -> None:
        """Count graded answers, each under its prediction from before it was seen."""
        answers, expected, right = self.answers, self.expected, self.correct
        squared_error = 0.0
        for submission, result in applied:
            predicted = result.assessment.predicted_correct
            if predicted is None:
                continue
            place = int(predicted * BINS)
            answers[place] += 1
            expected[place] += predicted
            if submission.interaction.correct:
                right[place] += 1
                predicted = 1.0 - predicted
            squared_error += predicted * predicted
        self.squared_error += squared_error


class BrainCounters:
    """The metrics of one brain."""

    def __init__(self) -> None:
        """Start at zero."""
        self.outcomes = dict.fromkeys(
            ("applied", "duplicate", *(code.value for code in FailureCode)), 0
        )
        """Interactions by outcome."""
        self.batch_sizes = Histogram(SIZES)
        """Interactions per commit."""
        self.commits_s = Histogram(DURATION_S)
        """Seconds per successful commit."""
        self.conflicts = 0
        """Commits that lost to another brain and were computed again."""
        self.commit_failures = 0
        """Commits that the store refused."""
        self.cache_hits = 0
        self.cache_misses = 0
        self.crossings = {(name, rising): 0 for name in CROSSINGS for rising in (False, True)}
        self.levels = {NAMES[place]: Histogram(LEVEL_BOUNDS) for place in SIX}
        self.calibration = Calibration()
        self._sample_from = 0

    def count_applied(
        self, applied: Sequence[tuple[Submission, Applied]], publications: Iterable[Publication]
    ) -> None:
        """Count what a commit made durable."""
        self.outcomes["applied"] += len(applied)
        self.calibration.add(applied)
        for publication in publications:
            if publication.crossings:
                for crossing in publication.crossings:
                    self.crossings[crossing.name, crossing.rising] += 1
        for _, result in applied[self._sample_from :: SAMPLED]:
            self._sample(result)
        self._sample_from = (self._sample_from - len(applied)) % SAMPLED

    def count_failed(self, code: FailureCode, count: int = 1) -> None:
        """Count interactions that were not applied."""
        self.outcomes[code.value] += count

    def count_duplicate(self) -> None:
        """Count an interaction that had been applied before."""
        self.outcomes["duplicate"] += 1

    def _sample(self, applied: Applied) -> None:
        levels = applied.assessment.estimates.levels
        for place in SIX:
            self.levels[NAMES[place]].observe(levels[place])
