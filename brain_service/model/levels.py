"""Reads the levels out of the signals, with their explanation and uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import sqrt
from operator import add, itemgetter
from typing import Final, NamedTuple

from brain_service.model.params import (
    DECLARED,
    DEM1,
    DEMAND,
    ENGAGE,
    ERR,
    EXPECT,
    FAST,
    FLOW,
    HELP,
    IDLE,
    IMPASSE,
    LEVELS,
    NEGSUR,
    PERSIST,
    PRESENCE_FULL,
    PRIOR_SD,
    PRIORS,
    REFERENCE,
    RTVAR,
    SIGNALS,
    SLOW,
    SUR,
    SUR1,
)
from brain_service.model.values import maker

INDEX: Final = {signal.name: i for i, signal in enumerate(SIGNALS)}
NAMES: Final = tuple(level.name for level in LEVELS)
"""The levels in the order of every tuple of levels here."""
DRIVER_NAMES: Final = tuple(tuple(level.coefficients) for level in LEVELS)
"""Per level, the names of its drivers, in the order of `Estimates.contributions`."""
CLIPPED: Final = "clipped"
"""Name of the extra driver of a level at an end of its range; see `drivers`."""
SIX: Final = tuple(i for i, name in enumerate(NAMES) if name != "item_confidence")
"""Positions of the six levels that are shown; item_confidence is an extra."""


class Driver(NamedTuple):
    """What one driver adds to a level, compared with an unknown learner."""

    name: str
    contribution: float


class Estimates(NamedTuple):
    """All seven levels with what stands behind each, in the order of `NAMES`."""

    levels: tuple[float, ...]
    contributions: tuple[tuple[float, ...], ...]
    evidence: tuple[float, ...]
    """Per level the smallest evidence weight (0 to 1) among the signals it rests on, directly or
    through others.
    """


def _reference(name: str) -> float:
    if name == "rtvar":
        return 0.0
    return PRIORS[INDEX[name]] if name in INDEX else REFERENCE[name]


BASES: Final = tuple(
    level.base
    + reduce(
        add, (coefficient * _reference(name) for name, coefficient in level.coefficients.items())
    )
    for level in LEVELS
)
"""Per level, its value while nothing is known: base + Σ coefficient · prior (rtvar enters as a
deviation already).

Added from left to right, here and below: `sum` rounds differently from Python 3.12 on, and brains
must agree.
"""

_LOAD, _FRUSTRATION, _CONFIDENCE, _ITEM_CONFIDENCE, _ENGAGEMENT, _FATIGUE, _MOTIVATION = (
    tuple(level.coefficients.values()) for level in LEVELS
)
(
    _LOAD_BASE,
    _FRUSTRATION_BASE,
    _CONFIDENCE_BASE,
    _ITEM_BASE,
    _ENGAGEMENT_BASE,
    _FATIGUE_BASE,
    _MOTIVATION_BASE,
) = BASES
_USUAL_LOAD, _USUAL_COST = REFERENCE["load"], REFERENCE["cost"]


class Direct(NamedTuple):
    """The five levels that rest on signals alone, and their contributions, in the order of
    `NAMES`.
    """

    load: float
    frustration: float
    confidence: float
    item_confidence: float
    engagement: float
    contributions: tuple[tuple[float, ...], ...]


_direct, _estimates = maker(Direct), maker(Estimates)

# What follows could be loops over SIGNALS and LEVELS, which a test compares it with; it is written
# out because it runs for every interaction. Weights that always move together are taken once:
# `judged` is that of declared, demand, err, negsur and impasse; fast and idle share one, as do flow
# and expect, and sur1 and dem1.


def read_direct(signals: Sequence[float], weights: Sequence[float]) -> Direct:
    """Read the levels that rest on signals alone."""
    judged = weights[DECLARED]
    # How far the value of each, S + (1 − w)·prior, lies from its prior; the priors of slow, help,
    # sur1 and sur are 0.
    declared = signals[DECLARED] - judged * PRIORS[DECLARED]
    demand = signals[DEMAND] - judged * PRIORS[DEMAND]
    err = signals[ERR] - judged * PRIORS[ERR]
    negsur = signals[NEGSUR] - judged * PRIORS[NEGSUR]
    impasse = signals[IMPASSE] - judged * PRIORS[IMPASSE]
    w_fast = weights[FAST]
    fast = signals[FAST] - w_fast * PRIORS[FAST]
    idle = signals[IDLE] - w_fast * PRIORS[IDLE]
    flow = signals[FLOW] - weights[FLOW] * PRIORS[FLOW]
    dem1 = signals[DEM1] - weights[SUR1] * PRIORS[DEM1]
    slow, help_, sur, sur1 = signals[SLOW], signals[HELP], signals[SUR], signals[SUR1]

    a, b, c, d = _LOAD
    load_parts = p, q, r, s = a * declared, b * demand, c * slow, d * err
    load = clip(_LOAD_BASE + (p + q + r + s))
    a, b, c, d, e = _FRUSTRATION
    frustration_parts = p, q, r, s, t = a * err, b * declared, c * negsur, d * impasse, e * help_
    frustration = clip(_FRUSTRATION_BASE + (p + q + r + s + t))
    a, b, c, d = _CONFIDENCE
    confidence_parts = p, q, r, s = a * sur, b * demand, c * err, d * slow
    confidence = clip(_CONFIDENCE_BASE + (p + q + r + s))
    a, b, c, d = _ITEM_CONFIDENCE
    item_parts = p, q, r, s = a * sur, b * sur1, c * dem1, d * slow
    item_confidence = clip(_ITEM_BASE + (p + q + r + s))
    a, b, c, d, e, f = _ENGAGEMENT
    engagement_parts = p, q, r, s, t, u = a * idle, b * fast, c * help_, d * err, e * slow, f * flow
    engagement = clip(_ENGAGEMENT_BASE + (p + q + r + s + t + u))
    parts = load_parts, frustration_parts, confidence_parts, item_parts, engagement_parts
    return _direct((load, frustration, confidence, item_confidence, engagement, parts))


def read(
    direct: Direct, signals: Sequence[float], weights: Sequence[float], tank: float, presence: float
) -> Estimates:
    """Add the levels that build on others: fatigue, and motivation, which needs the engagement just
    pushed.
    """
    load, frustration, confidence, item_confidence, engagement, contributions = direct

    w_rtvar = weights[RTVAR]
    a, b, c = _FATIGUE
    fatigue_parts = p, q, r = (
        a * (load - _USUAL_LOAD),
        b * tank,
        c * (signals[RTVAR] - w_rtvar * PRIORS[RTVAR]),
    )
    fatigue = clip(_FATIGUE_BASE + (p + q + r))
    a, b, c, d, e = _MOTIVATION
    motivation_parts = p, q, r, s, t = (
        a * (signals[EXPECT] - weights[FLOW] * PRIORS[EXPECT]),
        b * (signals[ENGAGE] - weights[ENGAGE] * PRIORS[ENGAGE]),
        c * (signals[PERSIST] - weights[PERSIST] * PRIORS[PERSIST]),
        d * (presence / PRESENCE_FULL if presence < PRESENCE_FULL else 1.0),
        e * (0.5 * frustration + 0.5 * fatigue - _USUAL_COST),
    )
    motivation = clip(_MOTIVATION_BASE + (p + q + r + s + t))

    # The smallest weight among the signals that each level rests on, directly or through other
    # levels.
    judged, w_slow, w_help, w_sur = weights[DECLARED], weights[SLOW], weights[HELP], weights[SUR]
    w_load = judged if judged < w_slow else w_slow
    w_frustration = judged if judged < w_help else w_help
    w_fatigue = w_load if w_load < w_rtvar else w_rtvar
    evidence = (
        w_load,
        w_frustration,
        w_load if w_load < w_sur else w_sur,
        min(w_sur, weights[SUR1], w_slow),
        min(w_load, w_help, weights[FAST], weights[FLOW]),
        w_fatigue,
        min(w_frustration, w_fatigue, weights[FLOW], weights[ENGAGE], weights[PERSIST]),
    )
    levels = load, frustration, confidence, item_confidence, engagement, fatigue, motivation
    return _estimates((levels, (*contributions, fatigue_parts, motivation_parts), evidence))


def clip(value: float) -> float:
    """Bound a level to [0, 1]."""
    return value if 0.0 <= value <= 1.0 else 0.0 if value < 0.0 else 1.0


def drivers(estimates: Estimates, position: int) -> tuple[Driver, ...]:
    """The drivers of one level: its base plus their contributions is the level.

    Where the sum lies outside [0, 1], the last driver is `clipped`, the remainder that brings it
    back.
    """
    parts = estimates.contributions[position]
    named = tuple(map(Driver, DRIVER_NAMES[position], parts))
    total = BASES[position] + sum(parts)
    if 0.0 <= total <= 1.0:
        return named
    return (*named, Driver(CLIPPED, estimates.levels[position] - total))


def uncertainty(estimates: Estimates) -> tuple[float, ...]:
    """Per level, the standard error √(RMSE² + ((1 − w)·.25)²), w being the level's evidence."""
    return tuple([
        # The same, (1 − w)² multiplied out.
        sqrt(square + (w - 2.0) * w * _VARIANCE)
        for square, w in zip(_SQUARES, estimates.evidence)  # noqa: B905 - hot, and equal by construction
    ])  # fmt: skip


def confidence(estimates: Estimates) -> float:
    """How much evidence stands behind the six levels: the mean of their evidence weights, 0
    to 1.
    """
    return float(sum(_six(estimates.evidence)) / len(SIX))


_VARIANCE: Final = PRIOR_SD**2
_SQUARES: Final = tuple(level.rmse**2 + _VARIANCE for level in LEVELS)
_six: Final = itemgetter(*SIX)
