"""Reads the levels out of the signals, with their explanation and uncertainty; it knows nothing of interactions."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, NamedTuple

from brain_service.params import LEVELS, PRESENCE_FULL, PRIOR_SD, REFERENCE, SIGNALS

INDEX: Final = {signal.name: i for i, signal in enumerate(SIGNALS)}
PRIORS: Final = tuple(signal.prior for signal in SIGNALS)
NAMES: Final = tuple(level.name for level in LEVELS)
"""The levels in the order of every tuple of levels here."""
GRADES: Final = tuple(level.grade for level in LEVELS)
DRIVER_NAMES: Final = tuple(tuple(level.coefficients) for level in LEVELS)
"""Per level, the names of its drivers, in the order of `Readout.contributions`."""
SIX: Final = tuple(i for i, name in enumerate(NAMES) if name != "item_confidence")
"""Positions of the six levels that are shown; item_confidence is an extra."""


class Driver(NamedTuple):
    """What one driver adds to a level, compared with a learner of whom nothing is known."""

    name: str
    contribution: float


class Readout(NamedTuple):
    """All seven levels with what stands behind each, in the order of `NAMES`."""

    levels: tuple[float, ...]
    contributions: tuple[tuple[float, ...], ...]
    evidence: tuple[float, ...]
    """Per level the smallest evidence weight (0 to 1) among the signals it rests on, directly or through others."""


def _reference(name: str) -> float:
    if name == "rtvar":
        return 0.0
    return PRIORS[INDEX[name]] if name in INDEX else REFERENCE[name]


BASES: Final = tuple(
    level.base + sum(coefficient * _reference(name) for name, coefficient in level.coefficients.items())
    for level in LEVELS
)
"""Per level, its value while nothing is known: base + Σ coefficient · prior (rtvar enters as a deviation already)."""

_LOAD, _FRUSTRATION, _CONFIDENCE, _ITEM_CONFIDENCE, _ENGAGEMENT, _FATIGUE, _MOTIVATION = (
    tuple(level.coefficients.values()) for level in LEVELS
)
_LOAD_BASE, _FRUSTRATION_BASE, _CONFIDENCE_BASE, _ITEM_BASE, _ENGAGEMENT_BASE, _FATIGUE_BASE, _MOTIVATION_BASE = BASES
_USUAL_LOAD, _USUAL_COST = REFERENCE["load"], REFERENCE["cost"]


class Direct(NamedTuple):
    """The five levels that rest on signals alone, and their contributions, in the order of `NAMES`."""

    load: float
    frustration: float
    confidence: float
    item_confidence: float
    engagement: float
    contributions: tuple[tuple[float, ...], ...]


def deviations(signals: Sequence[float], weights: Sequence[float]) -> list[float]:
    """How far each signal's value S + (1 − w)·prior lies from its prior."""
    return [s - w * prior for s, w, prior in zip(signals, weights, PRIORS)]  # noqa: B905 - hot, and equal by type


def read_direct(off: Sequence[float]) -> Direct:
    """Read the levels that rest on signals alone, given the deviations of all signals from their priors."""
    # Unrolled, because this runs for every interaction; names and order are those of LEVELS, which a test compares.
    declared, demand, slow, err, negsur, impasse, help_, fast, idle, _, flow, _, sur1, dem1, sur, _, _, _ = off
    a, b, c, d = _LOAD
    load = (a * declared, b * demand, c * slow, d * err)
    a, b, c, d, e = _FRUSTRATION
    frustration = (a * err, b * declared, c * negsur, d * impasse, e * help_)
    a, b, c, d = _CONFIDENCE
    confidence = (a * sur, b * demand, c * err, d * slow)
    a, b, c, d = _ITEM_CONFIDENCE
    item_confidence = (a * sur, b * sur1, c * dem1, d * slow)
    a, b, c, d, e, f = _ENGAGEMENT
    engagement = (a * idle, b * fast, c * help_, d * err, e * slow, f * flow)
    return Direct(
        clip(_LOAD_BASE + sum(load)),
        clip(_FRUSTRATION_BASE + sum(frustration)),
        clip(_CONFIDENCE_BASE + sum(confidence)),
        clip(_ITEM_BASE + sum(item_confidence)),
        clip(_ENGAGEMENT_BASE + sum(engagement)),
        (load, frustration, confidence, item_confidence, engagement),
    )


def read(direct: Direct, off: Sequence[float], weights: Sequence[float], tank: float, presence: float) -> Readout:
    """Add the levels that build on others: fatigue, and motivation, which needs the engagement just pushed in `off`."""
    load, frustration, confidence, item_confidence, engagement, contributions = direct
    _, _, _, _, _, _, _, _, _, _, _, expect, _, _, _, rtvar, engage, persist = off
    a, b, c = _FATIGUE
    tired = (a * (load - _USUAL_LOAD), b * tank, c * rtvar)
    fatigue = clip(_FATIGUE_BASE + sum(tired))
    a, b, c, d, e = _MOTIVATION
    present = presence / PRESENCE_FULL if presence < PRESENCE_FULL else 1.0
    cost = 0.5 * frustration + 0.5 * fatigue - _USUAL_COST
    driven = (a * expect, b * engage, c * persist, d * present, e * cost)
    levels = (load, frustration, confidence, item_confidence, engagement, fatigue, clip(_MOTIVATION_BASE + sum(driven)))
    return Readout(levels, (*contributions, tired, driven), evidence(weights))


def evidence(weights: Sequence[float]) -> tuple[float, ...]:
    """Per level, the smallest evidence weight among the signals that it rests on, directly or through other levels."""
    # declared, demand, err, negsur, impasse always share one weight (pushed together, equal half-lives), as do fast and
    # idle, flow and expect, sur1 and dem1; a test compares this with the definition.
    declared, _, slow, _, _, _, help_, fast, _, _, flow, _, sur1, _, sur, rtvar, engage, persist = weights
    load = min(declared, slow)
    frustration = min(declared, help_)
    fatigue = min(load, rtvar)
    return (
        load,
        frustration,
        min(load, sur),
        min(sur, sur1, slow),
        min(load, help_, fast, flow),
        fatigue,
        min(frustration, fatigue, flow, engage, persist),
    )


def clip(value: float) -> float:
    """Bound a level to [0, 1]."""
    return value if 0.0 <= value <= 1.0 else 0.0 if value < 0.0 else 1.0


def drivers(readout: Readout, position: int) -> tuple[Driver, ...]:
    """The drivers of one level: its base plus their contributions is the level.

    Where the sum lies outside [0, 1], the last driver is `clipped`, the remainder that brings it back.
    """
    parts = readout.contributions[position]
    named = tuple(map(Driver, DRIVER_NAMES[position], parts))
    total = BASES[position] + sum(parts)
    if 0.0 <= total <= 1.0:
        return named
    return (*named, Driver("clipped", readout.levels[position] - total))


def uncertainty(readout: Readout) -> tuple[float, ...]:
    """Per level, the standard error √(RMSE² + ((1 − w)·.25)²), w being the level's evidence."""
    return tuple(
        sqrt(level.rmse**2 + ((1.0 - w) * PRIOR_SD) ** 2) for level, w in zip(LEVELS, readout.evidence, strict=True)
    )


def confidence(readout: Readout) -> float:
    """How much evidence stands behind the six levels: the mean of their evidence weights, 0 to 1."""
    return sum(readout.evidence[i] for i in SIX) / len(SIX)
