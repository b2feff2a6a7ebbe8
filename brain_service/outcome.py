"""What the model says of a learner, after an interaction or at rest; it changes nothing."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

from brain_service import params
from brain_service.levels import INDEX, NAMES, PRIORS, SIX, Readout, clip, deviations, read, read_direct
from brain_service.params import VERSION
from brain_service.prediction import SkillMastery, mastery
from brain_service.recommend import REVIEW_AFTER_S, Recommendation, Situation, recommend
from brain_service.state import LearnerState

_EXPECT, _HASTE, _IDLE, _RTVAR = (INDEX[name] for name in ("expect", "haste", "idle", "rtvar"))
_REVIEW_SCAN: Final = 8


class Performance(NamedTuple):
    """How the learner has been doing."""

    accuracy: float
    """Share of right answers, 0…1: an average with half-life 8 answers whose missing weight .5^(n/8) counts as .658."""
    response_time: float | None
    """Seconds per timed answer: an average with half-life 8 that starts at the first value; None before it."""
    consistency: float
    """1 − ½(ρ + τ), 0…1; 1 is even results at an even pace.

    ρ is the root of the mean squared surprise c − P (half-life 16 answers, prior .22), τ a third of the mean |z| of log
    time, which is half the signal rtvar; both are clipped to [0, 1].
    """
    improvement_rate: float
    """Fast minus slow average of residuals (half-lives 2 and 32 answers), −1…1; above 0 is better than before."""


class Outcome(NamedTuple):
    """What the model says of a learner as of one interaction."""

    revision: int
    time: float
    """Time of that interaction, epoch seconds."""
    readout: Readout
    """The levels with drivers and evidence; see `levels.drivers`, `levels.uncertainty`, `levels.confidence`."""
    performance: Performance
    mastery: tuple[SkillMastery, ...]
    """Of the skills touched; at rest, of all."""
    predicted_correct: float | None
    """Probability of a right answer before it was seen; None when there was no graded answer."""
    recommendations: tuple[Recommendation, ...]
    """One to three, most urgent first."""
    model_version: str = VERSION

    def level(self, name: str) -> float:
        """One level by its name, in [0, 1]."""
        return self.readout.levels[NAMES.index(name)]

    def six(self) -> dict[str, float]:
        """The six levels that are shown, by name."""
        return {NAMES[i]: self.readout.levels[i] for i in SIX}


def reading(state: LearnerState) -> Outcome:
    """What the model says of a learner at rest, as of the last interaction; idle time since then does not change it.

    Equal to the last outcome, except that mastery covers every remembered skill and nothing was predicted.
    """
    off = deviations(state.signals, state.weights)
    readout = read(read_direct(off), off, state.weights, state.tank, state.presence)
    recommendations, _ = advise(state, readout)
    return Outcome(
        state.revision, state.time, readout, performance(state), mastery_of_all(state), None, recommendations
    )


def mastery_of_all(state: LearnerState) -> tuple[SkillMastery, ...]:
    """Mastery of every remembered skill, the one practised longest ago first."""
    return tuple(found for skill in state.skills if (found := mastery(state, skill)) is not None)


def performance(state: LearnerState) -> Performance:
    """The four performance numbers of a state."""
    n = state.answers
    accuracy = state.accuracy + 0.5 ** (n / params.PERFORMANCE_HALF_LIFE) * params.P_GLOBAL
    surprise = sqrt(state.spread + 0.5 ** (n / params.SPREAD_HALF_LIFE) * params.SPREAD_PRIOR)
    pace = (state.signals[_RTVAR] + (1.0 - state.weights[_RTVAR]) * PRIORS[_RTVAR]) / 2.0
    return Performance(
        clip(accuracy),
        state.response_time,
        1.0 - 0.5 * (clip(surprise) + clip(pace)),
        min(max(state.fast - state.slow, -1.0), 1.0),
    )


def advise(state: LearnerState, readout: Readout) -> tuple[tuple[Recommendation, ...], int]:
    """The recommendations for a state whose levels were read, and which are on now, as bits for its `advice`."""
    signals, weights, levels = state.signals, state.weights, readout.levels
    situation = Situation(
        state.tank,
        state.active_s,
        levels[1],
        levels[0],
        max(-state.streak, state.attempts - 1) if state.streak < 0 else 0,
        signals[_EXPECT] + (1.0 - weights[_EXPECT]) * PRIORS[_EXPECT],
        signals[_HASTE] + (1.0 - weights[_HASTE]) * PRIORS[_HASTE],
        signals[_IDLE] + (1.0 - weights[_IDLE]) * PRIORS[_IDLE],
        _due(state),
    )
    return recommend(situation, state.advice)


def _due(state: LearnerState) -> tuple[str, float, float] | None:
    """The weakest skill not practised for a week, its mastery, and the days since.

    Only the eight skills practised longest ago are looked at, which keeps the cost constant.
    """
    last_day = state.time - REVIEW_AFTER_S
    due: list[SkillMastery] = []
    for position, (skill, memory) in enumerate(state.skills.items()):
        if memory.practised_at > last_day or position == _REVIEW_SCAN:
            break
        found = mastery(state, skill)
        if found is not None:
            due.append(found)
    if not due:
        return None
    weakest = min(due, key=lambda found: found.probability)
    return weakest.skill, weakest.probability, (state.time - state.skills[weakest.skill].practised_at) / 86400.0
