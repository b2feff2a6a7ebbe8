"""The learner model: what one interaction changes in a learner's state, and what can be read out of it.

A pure function of values with constant cost; it knows neither clock, storage nor transport. Formulas and their sources
are explained in `docs/model.md`, constants live in `params`.

Where the description of the model leaves a choice, this is what the reference calculation does:
presence fades with the same idle time as the signals; time evidence (slow, fast, idle, rtvar) counts for every timed
interaction, views included; a subject's time norm counts from its first observation on, for answers and views alike;
a skill named twice in one interaction counts and is learned twice; evidence of outcome counts only where `correct` is
told; an answer after a failure counts as persistence also where its time is unknown.
"""

from __future__ import annotations

from math import exp, isfinite, log, log1p, sqrt
from typing import Final, NamedTuple

from brain_service import params
from brain_service.alerts import Crossing, crossings
from brain_service.interaction import BadInteraction, Interaction, interaction_from_context
from brain_service.levels import INDEX, PRIORS, read, read_direct
from brain_service.outcome import Outcome, Performance, advise, mastery_of_all, performance, reading
from brain_service.params import FADING, SIGNALS, VERSION
from brain_service.prediction import Answer, SkillMastery, Statistics, answer, item_key, keep, mastery
from brain_service.state import BLANK, LearnerState

__all__ = [
    "VERSION",
    "Applied",
    "BadInteraction",
    "Crossing",
    "Increments",
    "Interaction",
    "LearnerState",
    "Outcome",
    "Performance",
    "SkillMastery",
    "Statistics",
    "apply",
    "crossings",
    "interaction_from_context",
    "mastery",
    "mastery_of_all",
    "reading",
]


class Increments(NamedTuple):
    """What one interaction adds to the bank; a part that it adds nothing to is None."""

    item: str | None
    base: float
    """Easiness that the item started from, where it was unknown; otherwise what it was before this answer."""
    delta: float
    """Easiness to add."""
    subject: str | None
    log_time: float
    """Observed log-seconds in that subject."""


class Applied(NamedTuple):
    """All that one interaction brings about."""

    state: LearnerState
    outcome: Outcome
    increments: Increments


_KEEP: Final = tuple(keep(signal.half_life) for signal in SIGNALS)
_GAIN: Final = tuple(1.0 - kept for kept in _KEEP)
_RECENT, _SPREAD = keep(params.PERFORMANCE_HALF_LIFE), keep(params.SPREAD_HALF_LIFE)
_LASTING: Final = (1.0,) * (len(SIGNALS) - FADING)
_FRESH: Final = (1.0,) * len(SIGNALS)
_NO_EVIDENCE: Final[list[float | None]] = [None] * len(SIGNALS)
_DECLARED, _DEMAND, _TIME_SLOW, _ERR, _NEGSUR, _IMPASSE, _HELP, _TIME_FAST, _IDLE, _HASTE = (
    INDEX[name] for name in ("declared", "demand", "slow", "err", "negsur", "impasse", "help", "fast", "idle", "haste")
)
_FLOW, _EXPECT, _SUR1, _DEM1, _SUR, _RTVAR, _ENGAGE, _PERSIST = (
    INDEX[name] for name in ("flow", "expect", "sur1", "dem1", "sur", "rtvar", "engage", "persist")
)
_IMPASSE_SCALE: Final = log(6.0)


def apply(state: LearnerState | None, statistics: Statistics, interaction: Interaction, now: float) -> Applied:
    """Return the state after one interaction, what to say about it, and what the bank learns from it.

    `state` is None before the learner's first interaction. `now` is when it happened, epoch seconds; a time before the
    last one counts as the last one. The same input always gives the same output. Raises `BadInteraction` if `now` is
    not finite.
    """
    if not isfinite(now):
        raise BadInteraction("The time of the interaction must be a finite number of seconds.")
    before = BLANK if state is None else state
    time_taken = interaction.time_taken
    fades = _FRESH
    if before.revision == 0:
        time, session_start, active_s, presence, tank = now, now, 0.0, 1.0, 0.0
    else:
        time = now if now > before.time else before.time
        idle_s = max(0.0, time - before.time - (time_taken or 0.0))
        session_start, active_s, presence, tank = _rest(before, time, idle_s)
        fade = 0.5 ** (idle_s / params.SIGNAL_HALF_LIFE_S)
        fades = (fade,) * FADING + _LASTING

    evidence = _NO_EVIDENCE.copy()
    subject = log_time = z = None
    time_mean, time_var, time_count = before.time_mean, before.time_var, before.time_count
    if time_taken is not None:
        subject = interaction.subject
        log_time = log(time_taken if time_taken > params.MIN_TIME_S else params.MIN_TIME_S)
        z, time_mean, time_var = _pace(before, statistics, log_time, known_subject=subject is not None)
        time_count += 1
        evidence[_TIME_SLOW] = z / 2.0
        evidence[_TIME_FAST] = -z / 3.0 if z < 0.0 else 0.0
        evidence[_IDLE] = 1.0 if z > params.LONG_Z or time_taken > params.LONG_S else 0.0
        evidence[_RTVAR] = abs(z) / 1.5

    key = item_key(interaction.item)
    item: int | None = key
    attempts, hints = (before.attempts, before.hints) if key == before.item else (0, 0)
    given: Answer | None = None
    if interaction.correct is not None:
        attempts = max(attempts + 1, interaction.attempts or 0)
        hints = max(hints, interaction.hints or 0)
        given = answer(before, statistics, interaction, key, time)
        _judge(evidence, before, interaction, given, attempts, hints, z)
    elif interaction.kind == "hint_request":
        hints = max(hints + 1, interaction.hints or 0)
        evidence[_HELP] = 1.0
    else:
        item, attempts, hints = before.item, before.attempts, before.hints

    # Hot: one pass over all signals. `zip` is not strict because these tuples have the same length by construction.
    moved, weighed, off = [], [], []
    for s, w, fade, x, kept, gain, prior in zip(  # noqa: B905
        before.signals, before.weights, fades, evidence, _KEEP, _GAIN, PRIORS
    ):
        if x is None:
            s *= fade
            w *= fade
        else:
            kept *= fade
            s = kept * s + gain * x
            w = kept * w + gain
        moved.append(s)
        weighed.append(w)
        off.append(s - w * prior)

    active = 0.0 if time_taken is None else min(time_taken, params.MAX_ACTIVE_S)
    direct = read_direct(off)
    moved[_ENGAGE] = _KEEP[_ENGAGE] * moved[_ENGAGE] + _GAIN[_ENGAGE] * direct.engagement
    weighed[_ENGAGE] = _KEEP[_ENGAGE] * weighed[_ENGAGE] + _GAIN[_ENGAGE]
    off[_ENGAGE] = moved[_ENGAGE] - weighed[_ENGAGE] * PRIORS[_ENGAGE]
    tank += (1.0 - tank) * (1.0 - exp(-direct.load * active / params.TANK_FILL_S))
    readout = read(direct, off, weighed, tank, presence)

    after = LearnerState(
        before.revision + 1,
        time,
        session_start,
        active_s + active,
        presence,
        tank,
        tuple(moved),
        tuple(weighed),
        *(_unanswered(before) if given is None else _answered(before, given, time_taken)),
        time_mean,
        time_var,
        time_count,
        item,
        attempts,
        hints,
        before.skills if given is None else given.skills,
        before.items if given is None else given.items,
        before.advice,
    )
    recommendations, advice = advise(after, readout)
    if advice != before.advice:
        after = LearnerState(*after[:-1], advice)
    done = performance(after)
    if given is None:
        outcome = Outcome(after.revision, time, readout, done, (), None, recommendations)
        return Applied(after, outcome, Increments(None, 0.0, 0.0, subject, log_time or 0.0))
    outcome = Outcome(after.revision, time, readout, done, given.mastery, given.predicted, recommendations)
    return Applied(after, outcome, Increments(interaction.item, given.easiness, given.step, subject, log_time or 0.0))


def _rest(before: LearnerState, time: float, idle_s: float) -> tuple[float, float, float, float]:
    """Session start, active seconds, presence and tank after idling."""
    tank = before.tank
    if idle_s > params.TANK_GRACE_S:
        tank *= 0.5 ** (idle_s / params.TANK_HALF_LIFE_S)
    presence = before.presence * 0.5 ** (idle_s / params.PRESENCE_HALF_LIFE_S)
    if idle_s > params.SESSION_GAP_S:
        return time, 0.0, presence + 1.0, tank
    return before.session_start, before.active_s, presence, tank


def _pace(
    before: LearnerState, statistics: Statistics, log_time: float, *, known_subject: bool
) -> tuple[float, float, float]:
    """How unusual this time is for this learner (z), and the mean and variance of their log times with it."""
    normed = known_subject and statistics.observations > 0
    residual = log_time - statistics.log_time if normed else log_time
    mean, var = before.time_mean, before.time_var
    if before.time_count == 0:
        mean = residual / 2.0 if normed else residual
    off = residual - mean
    z = min(max(off / sqrt(var), -params.MAX_Z), params.MAX_Z)
    gain = 1.0 / min(before.time_count + 2, params.TIME_WINDOW)
    if before.time_count >= 2:
        var = max(params.TIME_VAR_FLOOR, var + gain * (off * off - var))
    return z, mean + gain * off, var


def _judge(
    evidence: list[float | None],
    before: LearnerState,
    interaction: Interaction,
    given: Answer,
    attempts: int,
    hints: int,
    z: float | None,
) -> None:
    """Add what a graded answer says to the evidence."""
    p = given.predicted
    difficulty, time_taken = interaction.difficulty, interaction.time_taken
    wrong, failures = (False, 0) if interaction.correct else (True, max(-given.streak, attempts - 1))
    evidence[_DECLARED] = 1.0 - given.expected if difficulty is None else (difficulty - 1.0) / 4.0
    evidence[_DEMAND] = evidence[_DEM1] = 1.0 - p
    evidence[_ERR] = 1.0 - given.correct
    evidence[_NEGSUR] = p if wrong else 0.0
    evidence[_IMPASSE] = min(1.0, log1p(failures) / _IMPASSE_SCALE)
    evidence[_HELP] = min(1.0, hints / 3.0)
    evidence[_FLOW] = max(0.0, 1.0 - abs(p - 0.75) / 0.5)
    evidence[_EXPECT] = p
    evidence[_SUR] = evidence[_SUR1] = given.correct - p
    hasty = 0.0
    if time_taken is not None and z is not None:
        hasty = 1.0 if wrong and (time_taken < params.HASTY_S or z < params.HASTY_Z) else 0.0
        evidence[_HASTE] = hasty
    if before.streak < 0:
        evidence[_PERSIST] = 1.0 - hasty


_Answers = tuple[int, int, float, float, float, float, float, float, float | None]


def _answered(before: LearnerState, given: Answer, time_taken: float | None) -> _Answers:
    """The performance part of the state after an answer, in the order of its fields."""
    surprise = given.correct - given.predicted
    response_time = before.response_time
    if time_taken is not None:
        response_time = time_taken if response_time is None else _RECENT * response_time + (1.0 - _RECENT) * time_taken
    return (
        before.answers + 1,
        given.streak,
        given.fast,
        given.mid,
        given.slow,
        given.total,
        _RECENT * before.accuracy + (1.0 - _RECENT) * given.correct,
        _SPREAD * before.spread + (1.0 - _SPREAD) * surprise * surprise,
        response_time,
    )


def _unanswered(before: LearnerState) -> _Answers:
    return (
        before.answers,
        before.streak,
        before.fast,
        before.mid,
        before.slow,
        before.total,
        before.accuracy,
        before.spread,
        before.response_time,
    )
