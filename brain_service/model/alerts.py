"""Says what a watcher must not miss between two assessments: levels that crossed an alert
threshold, changed urgency.
"""

from __future__ import annotations

from operator import gt, itemgetter
from typing import Final, NamedTuple

from brain_service.model.assessment import Assessment
from brain_service.model.levels import NAMES
from brain_service.model.recommend import Urgency

RISING: Final = {"cognitive_load": 0.80, "frustration_level": 0.70, "fatigue_level": 0.70}
"""Levels that alert above a threshold. The thresholds are proposals, not findings."""
FALLING: Final = {"engagement_level": 0.40, "confidence_level": 0.35, "motivation_level": 0.35}
"""Levels that alert below a threshold."""
THRESHOLDS: Final = {**RISING, **FALLING}
RECOMMENDATION: Final = "recommendation"
_LIMITS: Final = tuple(THRESHOLDS.values())
_watched: Final = itemgetter(*map(NAMES.index, THRESHOLDS))
_NAMED: Final = tuple((place, name, NAMES.index(name)) for place, name in enumerate(THRESHOLDS))

Signs = tuple[bool | Urgency, ...]
"""Whether each watched level lies above its threshold, then the urgency of the first
recommendation.
"""

QUIET: Final[Signs] = (*(name in FALLING for name in THRESHOLDS), Urgency.NONE)
"""The signs before the first assessment: every level counts as not alerting."""


class Crossing(NamedTuple):
    """One change that must not be missed: a level over its threshold, or the urgency of the first
    recommendation.
    """

    name: str
    """The level, or "recommendation"."""
    rising: bool
    """Whether the level went above its threshold, or the urgency up."""
    value: float
    """The level, or the urgency's number, after it."""


def signs(assessment: Assessment) -> Signs:
    """Return what of an assessment is compared with the next one."""
    levels, recommended = assessment.estimates.levels, assessment.recommendations
    urgency = recommended[0].advice.urgency if recommended else Urgency.NONE
    return (*map(gt, _watched(levels), _LIMITS), urgency)


def crossings(before: Signs, now: Signs, assessment: Assessment) -> tuple[Crossing, ...]:
    """Return what crossed between the signs of one assessment and `now`, those of a later one."""
    if now == before:
        return ()
    found = []
    levels = assessment.estimates.levels
    for place, name, level in _NAMED:
        if now[place] != before[place]:
            found.append(Crossing(name, bool(now[place]), levels[level]))
    if now[-1] != before[-1]:
        found.append(Crossing(RECOMMENDATION, now[-1] > before[-1], float(now[-1])))
    return tuple(found)
