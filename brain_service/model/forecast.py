"""Predicts struggle: that at least two of a learner's next three answers are wrong. Three answers
later each forecast is checked, and teaches all learners' intercept and slope, and the outlook of
its item, its kind of task and its subject.

A logistic regression on four plain features, and on what all learners share (`population`).
"""

from __future__ import annotations

from math import log
from struct import Struct
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.population import Population
from brain_service.model.prediction import Answer, Statistics, sigmoid
from brain_service.model.state import Standing
from brain_service.model.values import maker

AHEAD: Final = 3
"""Answers that a forecast covers."""
ENOUGH: Final = 2
"""Wrong ones among them that make a struggle."""
CAUSES: Final = ("accuracy", "mastery", "ability", "outlook")
"""What a forecast rests on."""
_PARTS: Final = Struct(f"<{len(CAUSES)}f")
"""What each of these adds to the logit, compared with a usual learner."""
_ONE: Final = Struct("<ff8s8s8s")
"""A pending forecast: its logit, its logit without the shared part, its item, its kind of task and
its subject.
"""
_SIZE: Final = _ONE.size
_LAST_TASK: Final = slice(-16, -8)
_NONE: Final = bytes(8)
_DUE: Final = tuple(bits.bit_count() >= ENOUGH for bits in range(1 << AHEAD))
"""By the last three outcomes as bits, 1 for a wrong one, whether that was a struggle."""
_ACCURACY, _MASTERY, _ABILITY, _FAILURES = params.STRUGGLE.values()
_LEVEL: Final = params.STRUGGLE_BIAS - params.STRUGGLE_CENTRE
"""The logit of a usual learner."""
_LEAST, _MOST = params.STRUGGLE_RANGE
_USUAL_ACCURACY, _USUAL_MASTERY = (log(p / (1.0 - p)) for p in params.STRUGGLE_MEANS.values())
_CENTRE, _SHRINK = params.STRUGGLE_CENTRE, params.G_SHRINK
_HALF_LIFE, _START = params.PERFORMANCE_HALF_LIFE, params.P_GLOBAL
_TOLD: Final = 3
_WORTH_TELLING: Final = 0.1
"""Logits below which a cause is not mentioned."""


class Forecast(NamedTuple):
    """A forecast after a graded answer, and the outcome of the one that fell due with it."""

    pending: bytes
    recent: int
    logit: float
    causes: bytes
    error: float
    lean: float
    struggled: float
    keys: tuple[bytes, ...]
    """Of the forecast that fell due; empty if none did."""


_forecast = maker(Forecast)


def foretell(
    standing: Standing,
    given: Answer,
    statistics: Statistics,
    population: Population,
    item: bytes,
    task: bytes,
    subject: bytes,
) -> Forecast:
    """Return the forecast after an answer; its item, kind of task and subject are keys."""
    answers, streak, _, _, _, total, accuracy, _, _ = given.progress
    accuracy += 0.5 ** (answers / _HALF_LIFE) * _START
    accuracy = _LEAST if accuracy < _LEAST else _MOST if accuracy > _MOST else accuracy
    by_accuracy = _ACCURACY * (log(accuracy / (1.0 - accuracy)) - _USUAL_ACCURACY)
    if streak < -1:
        failures = -streak - 1 if -streak - 1 < params.FAILURES_MOST else params.FAILURES_MOST
        by_accuracy += _FAILURES * failures / (1.0 + answers / params.FAILURES_HALVE)
    mastered = given.mastered
    mastered = _LEAST if mastered < _LEAST else _MOST if mastered > _MOST else mastered
    by_mastery = _MASTERY * (log(mastered / (1.0 - mastered)) - _USUAL_MASTERY)
    by_ability = _ABILITY * total / (answers + _SHRINK)
    lean = _LEVEL + by_accuracy + by_mastery + by_ability
    outlook = statistics.outlook
    logit = _CENTRE + population.intercept + population.slope * lean + outlook

    pending, recent = standing.pending, (standing.recent << 1 | (not given.correct)) & 7
    error = old_lean = struggled = 0.0
    due: tuple[bytes, ...] = ()
    old_logit, leaned, old_item, old_task, old_subject = _ONE.unpack_from(pending)
    if old_item != _NONE:
        struggled = 1.0 if _DUE[recent] else 0.0
        error, old_lean = struggled - sigmoid(old_logit), leaned
        due = (old_item, old_task, old_subject)
    return _forecast((
        pending[_SIZE:] + _ONE.pack(logit, lean, item, task, subject),
        recent,
        logit,
        _PARTS.pack(by_accuracy, by_mastery, by_ability, outlook),
        error,
        old_lean,
        struggled,
        due,
    ))  # fmt: skip


def last_task(pending: bytes) -> bytes:
    """Return the key of the kind of task that was answered last; zeros before the first answer."""
    return pending[_LAST_TASK]


def causes_of(causes: bytes) -> tuple[tuple[str, bool], ...]:
    """Return what a forecast rests on, strongest first, and which way each pulls."""
    told = [
        (abs(part), code, part > 0.0)
        for code, part in zip(CAUSES, _PARTS.unpack(causes), strict=True)
        if abs(part) > _WORTH_TELLING
    ]
    told.sort(reverse=True)
    return tuple((code, up) for _, code, up in told[:_TOLD])
