"""Crossings that a watcher must not miss between two assessments: levels far from usual for the
learner, changed urgency, changed attention.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from brain_service.model.assessment import Assessment
from brain_service.model.attention import Attention
from brain_service.model.habits import Band
from brain_service.model.levels import NAMES
from brain_service.model.meaning import NAMES as SIX_NAMES
from brain_service.model.recommend import Urgency

RISING: Final = ("cognitive_load", "frustration_level", "fatigue_level")
"""Levels that alert while they are much higher than usual."""
FALLING: Final = ("engagement_level", "confidence_level", "motivation_level")
"""Levels that alert while they are much lower than usual."""
WATCHED: Final = (*RISING, *FALLING)
RECOMMENDATION: Final = "recommendation"
ATTENTION: Final = "attention"
CROSSINGS: Final = (*WATCHED, RECOMMENDATION, ATTENTION)
"""Everything that can cross."""
_RISING: Final = tuple(SIX_NAMES.index(name) for name in RISING)
_FALLING: Final = tuple(SIX_NAMES.index(name) for name in FALLING)
_NAMED: Final = tuple((place, name, NAMES.index(name)) for place, name in enumerate(WATCHED))
_NOTHING: Final = bytes([Band.TOO_EARLY] * len(SIX_NAMES))

Signs = tuple[bool | Urgency | int, ...]
"""Whether each watched level is above its edge, the urgency of the first recommendation, the
attention.
"""

QUIET: Final[Signs] = (*(name in FALLING for name in WATCHED), Urgency.NONE, int(Attention.NONE))
"""The signs before the first assessment: every level counts as not alerting."""


class Crossing(NamedTuple):
    """One change that must not be missed: a level over its edge, the urgency of the first
    recommendation, or the attention.
    """

    name: str
    """The level, "recommendation", or "attention"."""
    rising: bool
    """Whether the level went above its edge, or urgency or attention up."""
    value: float
    """The level, or the number of the urgency or the attention, after it."""


def signs(assessment: Assessment) -> Signs:
    """Return the signs of an assessment to compare with the next one's."""
    meaning, recommended = assessment.meaning, assessment.recommendations
    urgency = recommended[0].advice.urgency if recommended else Urgency.NONE
    bands, attention = (_NOTHING, 0) if meaning is None else (meaning.bands, meaning.attention)
    a, b, c = _RISING
    d, e, f = _FALLING
    return (
        bands[a] == 5, bands[b] == 5, bands[c] == 5,
        bands[d] != 1, bands[e] != 1, bands[f] != 1,
        urgency, attention,
    )  # fmt: skip


def crossings(before: Signs, now: Signs, assessment: Assessment) -> tuple[Crossing, ...]:
    """Return what crossed between the signs of one assessment and `now`, those of a later one."""
    if now == before:
        return ()
    found = []
    levels = assessment.estimates.levels
    for place, name, level in _NAMED:
        if now[place] != before[place]:
            found.append(Crossing(name, bool(now[place]), levels[level]))
    for place, name in ((-2, RECOMMENDATION), (-1, ATTENTION)):
        if now[place] != before[place]:
            found.append(Crossing(name, now[place] > before[place], float(now[place])))
    return tuple(found)
