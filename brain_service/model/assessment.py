"""What the model says about a learner, after an interaction or at rest; changes nothing."""

from __future__ import annotations

from itertools import islice
from math import copysign, sqrt
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.levels import NAMES, SIX, Estimates, clip, read, read_direct
from brain_service.model.meaning import Meaning, mean
from brain_service.model.params import EXPECT, HASTE, IDLE, PRIORS, RTVAR, VERSION
from brain_service.model.prediction import SkillMastery, masteries
from brain_service.model.recommend import REVIEW_AFTER_S, Recommendation, Situation, recommend
from brain_service.model.state import LearnerState, unpack_skill
from brain_service.model.values import maker

_REVIEW_SCAN: Final = 8


class Performance(NamedTuple):
    """How the learner has been doing."""

    accuracy: float
    """Share of right answers, 0…1: an average with half-life 8 answers whose missing weight
    .5^(n/8) counts as .658.
    """
    response_time: float | None
    """Seconds per timed answer: an average with half-life 8 that starts at the first value; None
    before it.
    """
    consistency: float
    """1 − ½(ρ + τ), 0…1; 1 is even results at an even pace.

    ρ is the root of the mean squared surprise c − P (half-life 16 answers, prior .22), τ a third of
    the mean |z| of log time, which is half the signal rtvar; both are clipped to [0, 1].
    """
    improvement_rate: float
    """Fast minus slow average of residuals (half-lives 2 and 32 answers), −1…1; above 0 is better
    than before.
    """


class Assessment(NamedTuple):
    """What the model says about a learner as of one interaction."""

    revision: int
    time: float
    """Time of that interaction, epoch seconds."""
    estimates: Estimates
    """The levels with drivers and evidence; see `levels.drivers`, `levels.uncertainty`,
    `levels.confidence`.
    """
    performance: Performance
    mastery: tuple[SkillMastery, ...]
    """Of the skills touched; at rest, of all."""
    predicted_correct: float | None
    """Probability of a right answer before it was seen; None when there was no graded answer."""
    recommendations: tuple[Recommendation, ...]
    """One to three, most urgent first."""
    meaning: Meaning | None = None
    """What the levels mean for this learner; None where vb-ssm/0.1 made the assessment."""
    model_version: str = VERSION

    def level(self, name: str) -> float:
        """One level by its name, in [0, 1]."""
        return self.estimates.levels[NAMES.index(name)]

    def six(self) -> dict[str, float]:
        """The six levels that are shown, by name."""
        return {NAMES[i]: self.estimates.levels[i] for i in SIX}


_performance, _assessment, _situation = maker(Performance), maker(Assessment), maker(Situation)


def assess(state: LearnerState) -> Assessment:
    """What the model says about a learner as of the last interaction; idle time since then does not
    change it.

    Equal to the last assessment, except that mastery covers every remembered skill and nothing was
    predicted.
    """
    signals, weights = state.signals, state.weights
    session = state.session
    estimates = read(
        read_direct(signals, weights), signals, weights, session.tank, session.presence
    )
    return tell(state, estimates, mastery_of_all(state), None)[0]


def mastery_of_all(state: LearnerState) -> tuple[SkillMastery, ...]:
    """Mastery of every remembered skill, the one practised longest ago first."""
    return tuple(masteries(state, state.skills))


def tell(
    state: LearnerState,
    estimates: Estimates,
    mastery: tuple[SkillMastery, ...],
    predicted: float | None,
) -> tuple[Assessment, int]:
    """Return the assessment of a state whose levels were read, and the recommendations that are on,
    as bits for its `advice`.
    """
    signals, weights, session = state.signals, state.weights, state.session
    answers, _, fast, _, slow, _, accuracy, spread, response_time = state.progress
    accuracy += 0.5 ** (answers / params.PERFORMANCE_HALF_LIFE) * params.P_GLOBAL
    surprise = sqrt(spread + 0.5 ** (answers / params.SPREAD_HALF_LIFE) * params.SPREAD_PRIOR)
    pace = (signals[RTVAR] + (1.0 - weights[RTVAR]) * PRIORS[RTVAR]) / 2.0
    consistency = 1.0 - 0.5 * (clip(surprise) + clip(pace))
    improvement = fast - slow
    improvement = improvement if -1.0 <= improvement <= 1.0 else copysign(1.0, improvement)
    performance = _performance((clip(accuracy), response_time, consistency, improvement))

    meaning = mean(state)
    situation = _situation((
        session.tank,
        session.active_s,
        estimates.levels[0],
        meaning.failures,
        signals[EXPECT] + (1.0 - weights[EXPECT]) * PRIORS[EXPECT],
        performance.accuracy,
        signals[HASTE] + (1.0 - weights[HASTE]) * PRIORS[HASTE],
        signals[IDLE] + (1.0 - weights[IDLE]) * PRIORS[IDLE],
        meaning.logit,
        meaning.attention,
        meaning.bands,
        _due(state),
    ))  # fmt: skip
    recommendations, advice = recommend(situation, state.advice)
    return _assessment((
        state.revision, session.time, estimates, performance, mastery, predicted, recommendations,
        meaning, VERSION,
    )), advice  # fmt: skip


def _due(state: LearnerState) -> tuple[str, float, float] | None:
    """The weakest skill not practised for a week, its mastery, and the days since.

    Only the eight skills practised longest ago are looked at, which keeps the cost constant.
    """
    last_day = state.session.time - REVIEW_AFTER_S
    due: dict[str, float] = {}
    for skill, packed in islice(state.skills.items(), _REVIEW_SCAN):
        practised_at = unpack_skill(packed)[3]
        if practised_at > last_day:
            break
        due[skill] = practised_at
    if not due:
        return None
    weakest = min(masteries(state, due), key=lambda found: found.probability, default=None)
    return weakest and (
        weakest.skill,
        weakest.probability,
        (state.session.time - due[weakest.skill]) / 86400.0,
    )
