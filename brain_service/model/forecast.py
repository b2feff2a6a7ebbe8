"""Foretells struggle: that at least two of a learner's next three answers are wrong. Anybody can
check it three answers later, and so does this: each forecast that came due teaches all learners'
intercept and slope, and what tends to come after its item and its kind of task.

A logistic regression on three plain features, and on what all learners share (`crowd`).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.crowd import Crowd
from brain_service.model.prediction import Answer, Statistics, sigmoid
from brain_service.model.state import Standing
from brain_service.model.values import maker

AHEAD: Final = 3
"""Answers that a forecast looks ahead."""
ENOUGH: Final = 2
"""Wrong ones among them that make a struggle."""
CAUSES: Final = ("accuracy", "mastery", "ability", "outlook")
"""What a forecast rests on."""
_PARTS: Final = Struct(f"<{len(CAUSES)}f")
"""What each of these adds to the logit, compared with a usual learner."""
_ONE: Final = Struct("<ff8s8s")
"""A forecast that is not due: its logit, where it leans without others, its item and its task."""
_SIZE: Final = _ONE.size
_NONE: Final = bytes(8)
_DUE: Final = tuple(bits.bit_count() >= ENOUGH for bits in range(1 << AHEAD))
"""By the last three outcomes as bits, 1 for a wrong one, whether that was a struggle."""
_ACCURACY, _MASTERY, _ABILITY, _LATELY = params.STRUGGLE.values()
_USUAL_ACCURACY, _USUAL_MASTERY = params.STRUGGLE_MEANS.values()
_LEVEL: Final = (
    params.STRUGGLE_BIAS
    - params.STRUGGLE_CENTRE
    + _ACCURACY * _USUAL_ACCURACY
    + _MASTERY * _USUAL_MASTERY
)
"""Where the forecast of a usual learner leans."""
_TOLD: Final = 3
_WORTH_TELLING: Final = 0.1
"""Logits below which a cause is not worth a word."""


class Forecast(NamedTuple):
    """A forecast after a graded answer, and what came of the one that fell due with it."""

    pending: bytes
    recent: int
    logit: float
    causes: bytes
    error: float
    lean: float
    struggled: float
    keys: tuple[bytes, ...]
    """Of the forecast that fell due; empty where none did."""


_forecast = maker(Forecast)


def foretell(
    standing: Standing,
    given: Answer,
    statistics: Statistics,
    crowd: Crowd,
    item: bytes,
    task: bytes,
) -> Forecast:
    """Return the forecast after an answer."""
    answers, _, _, _, slow, total, accuracy, _, _ = given.progress
    accuracy += 0.5 ** (answers / params.PERFORMANCE_HALF_LIFE) * params.P_GLOBAL
    by_accuracy = _ACCURACY * (accuracy - _USUAL_ACCURACY)
    by_mastery = _MASTERY * (given.mastered - _USUAL_MASTERY)
    by_ability = _ABILITY * total / (answers + params.G_SHRINK) + _LATELY * slow
    lean = _LEVEL + by_accuracy + by_mastery + by_ability
    outlook = statistics.outlook
    logit = params.STRUGGLE_CENTRE + crowd.intercept + crowd.slope * lean + outlook

    pending, recent = standing.pending, (standing.recent << 1 | (not given.correct)) & 7
    error = old_lean = struggled = 0.0
    keys: tuple[bytes, ...] = ()
    old_logit, leaned, old_item, old_task = _ONE.unpack_from(pending)
    if old_item != _NONE:
        struggled = 1.0 if _DUE[recent] else 0.0
        error, old_lean, keys = struggled - sigmoid(old_logit), leaned, (old_item, old_task)
    return _forecast((
        pending[_SIZE:] + _ONE.pack(logit, lean, item, task),
        recent,
        logit,
        _PARTS.pack(by_accuracy, by_mastery, by_ability, outlook),
        error,
        old_lean,
        struggled,
        keys,
    ))  # fmt: skip


def causes_of(causes: bytes) -> tuple[tuple[str, bool], ...]:
    """Return what a forecast rests on, strongest first, and which way each pulls."""
    told = [
        (abs(part), code, part > 0.0)
        for code, part in zip(CAUSES, _PARTS.unpack(causes), strict=True)
        if abs(part) > _WORTH_TELLING
    ]
    told.sort(reverse=True)
    return tuple((code, up) for _, code, up in told[:_TOLD])
