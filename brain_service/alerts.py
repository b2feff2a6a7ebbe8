"""Says what a watcher must not miss between two outcomes: levels that crossed an alert threshold, changed urgency."""

from __future__ import annotations

from typing import Final, NamedTuple

from brain_service.levels import NAMES
from brain_service.outcome import Outcome
from brain_service.recommend import Urgency

RISING: Final = {"cognitive_load": 0.80, "frustration_level": 0.70, "fatigue_level": 0.70}
"""Levels that alert above a threshold. The thresholds are proposals, not findings."""
FALLING: Final = {"engagement_level": 0.40, "confidence_level": 0.35, "motivation_level": 0.35}
"""Levels that alert below a threshold."""
THRESHOLDS: Final = {**RISING, **FALLING}
RECOMMENDATION: Final = "recommendation"
_WATCHED: Final = tuple((NAMES.index(name), name, threshold) for name, threshold in THRESHOLDS.items())


class Crossing(NamedTuple):
    """One change that must not be missed: a level over its threshold, or the urgency of the first recommendation."""

    name: str
    """The level, or "recommendation"."""
    rising: bool
    """Whether the level went above its threshold, or the urgency up."""
    value: float
    """The level, or the urgency's number, after it."""


def crossings(before: Outcome | None, after: Outcome) -> tuple[Crossing, ...]:
    """What crossed from one outcome to a later one; before the first outcome every level counts as not alerting."""
    found = []
    new = after.readout.levels
    old = None if before is None else before.readout.levels
    for i, name, threshold in _WATCHED:
        was_above = name in FALLING if old is None else old[i] > threshold
        if (new[i] > threshold) != was_above:
            found.append(Crossing(name, not was_above, new[i]))
    urgency = _urgency(after)
    was_urgent = Urgency.NONE if before is None else _urgency(before)
    if urgency != was_urgent:
        found.append(Crossing(RECOMMENDATION, urgency > was_urgent, float(urgency)))
    return tuple(found)


def _urgency(outcome: Outcome) -> Urgency:
    return outcome.recommendations[0].urgency if outcome.recommendations else Urgency.NONE
