"""What the levels mean for one learner, as part of an assessment: bands, usual values, the
forecast, and attention. Reads a state and changes nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from brain_service.model import levels
from brain_service.model.attention import REASONS, UNLIKE_USUAL, is_unlike_usual
from brain_service.model.forecast import causes_of
from brain_service.model.habits import ALL_EARLY, Band, Comparison, compare, too_early
from brain_service.model.levels import SIX, Estimates
from brain_service.model.params import DECLARED
from brain_service.model.prediction import sigmoid
from brain_service.model.standing import failures
from brain_service.model.state import LearnerState
from brain_service.model.values import maker
from brain_service.model.words import CAUSES, Because, early, reason

NAMES: Final = tuple(levels.NAMES[i] for i in SIX)
"""The six levels in the order of everything here."""


class Meaning(NamedTuple):
    """What the levels mean for this learner; six values in the order of `NAMES`."""

    bands: bytes
    level_habits: bytes
    habit_answers: int
    """What is usual for the learner, and the answers behind it, as the state has them."""
    judged: float
    """Evidence weight of graded answers."""
    logit: float
    rate: float
    """How often all learners struggled."""
    causes: bytes
    """What the forecast rests on, see `because`."""
    attention: int
    why: int
    """The place of its reason in `attention.REASONS`."""
    failures: int
    """In a row, or on the present item; 0 after a right answer."""
    since: float
    """When this attention began, epoch seconds; 0 where there is none."""

    def band(self, level: str) -> Band:
        """Return the band of one level."""
        return Band(self.bands[NAMES.index(level)])

    def comparison(self, estimates: Estimates) -> Comparison:
        """Return what is usual, its spread, and the deviations of levels from it."""
        return compare(self.level_habits, estimates.levels, self.judged)

    @property
    def struggle(self) -> float | None:
        """Probability that at least two of the next three answers are wrong; None before the first
        answer.
        """
        return sigmoid(self.logit) if self.habit_answers else None

    @property
    def early(self) -> tuple[str, int] | None:
        """Why it is too early for bands, and how many more answers it takes."""
        return too_early(self.habit_answers, self.judged) if self.bands == ALL_EARLY else None

    @property
    def too_early(self) -> str:
        """The same in one sentence; empty if there are bands."""
        why = self.early
        return early(*why) if why else ""

    @property
    def code(self) -> str:
        """The reason for attention, as a code. Without attention: that much is worse than usual, or
        empty.
        """
        if self.attention:
            return REASONS[self.why]
        return UNLIKE_USUAL if is_unlike_usual(self.bands) else ""

    @property
    def reason(self) -> str:
        """The same in one sentence."""
        return reason(self.code, self.failures, likely=self.logit > 0.0)

    def because(self) -> tuple[Because, ...]:
        """Return what the forecast rests on, strongest first, in a teacher's words."""
        if not self.habit_answers:
            return ()
        return tuple(Because(code, up, CAUSES[code][up]) for code, up in causes_of(self.causes))


_meaning = maker(Meaning)


def mean(state: LearnerState) -> Meaning:
    """Return what the levels mean for a learner."""
    (
        level_habits, _, answers, bands, _, _, logit, rate, causes, attention, why, since,
    ) = state.standing  # fmt: skip
    return _meaning((
        bands, level_habits, answers, state.weights[DECLARED], logit, rate, causes, attention, why,
        failures(state.progress.streak, state.task.attempts), since,
    ))  # fmt: skip
