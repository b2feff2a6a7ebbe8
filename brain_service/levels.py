"""Reads the levels out of the signals, with their explanation and uncertainty; it knows nothing of interactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from operator import itemgetter, mul
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
    return PRIORS[INDEX[name]] if name in INDEX else REFERENCE[name]


BASES: Final = tuple(
    level.base
    + sum(coefficient * _reference(name) for name, coefficient in level.coefficients.items() if name != "rtvar")
    for level in LEVELS
)
"""Per level, its value while nothing is known: base + Σ coefficient · prior. The formula has rtvar as a deviation already."""

_Pick = Callable[[Sequence[float]], tuple[float, ...]]


def _pick(names: Sequence[str]) -> _Pick:
    return itemgetter(*[INDEX[name] for name in names])


_DIRECT: Final = tuple(
    (base, tuple(level.coefficients.values()), _pick(tuple(level.coefficients)))
    for base, level in zip(BASES[:5], LEVELS[:5], strict=True)
)
_FATIGUE: Final = tuple(LEVELS[5].coefficients.values())
_MOTIVATION: Final = tuple(LEVELS[6].coefficients.values())
_RESTS_ON: Final = (
    *(pick for _, _, pick in _DIRECT),
    _pick(("declared", "demand", "slow", "err", "rtvar")),
    _pick(("expect", "engage", "persist", "err", "declared", "negsur", "impasse", "help", "demand", "slow", "rtvar")),
)
_RTVAR, _EXPECT, _ENGAGE, _PERSIST = (INDEX[name] for name in ("rtvar", "expect", "engage", "persist"))


def deviations(signals: Sequence[float], weights: Sequence[float]) -> list[float]:
    """How far each signal's value S + (1 − w)·prior lies from its prior."""
    return [s - w * prior for s, w, prior in zip(signals, weights, PRIORS, strict=True)]


def direct_level(position: int, off: Sequence[float]) -> float:
    """One of the first five levels (they rest on signals alone), given the deviations of the signals."""
    base, coefficients, pick = _DIRECT[position]
    return min(max(base + sum(map(mul, coefficients, pick(off))), 0.0), 1.0)


def read(signals: Sequence[float], weights: Sequence[float], tank: float, presence: float) -> Readout:
    """Read all levels; a level is its base plus its contributions, clipped to [0, 1]."""
    off = deviations(signals, weights)
    levels: list[float] = []
    contributions: list[tuple[float, ...]] = []
    for base, coefficients, pick in _DIRECT:
        parts = tuple(map(mul, coefficients, pick(off)))
        level = base + sum(parts)
        levels.append(level if 0.0 <= level <= 1.0 else 0.0 if level < 0.0 else 1.0)
        contributions.append(parts)
    parts = tuple(map(mul, _FATIGUE, (levels[0] - REFERENCE["load"], tank, off[_RTVAR])))
    fatigue = min(max(BASES[5] + sum(parts), 0.0), 1.0)
    contributions.append(parts)
    cost = 0.5 * levels[1] + 0.5 * fatigue - REFERENCE["cost"]
    parts = tuple(
        map(mul, _MOTIVATION, (off[_EXPECT], off[_ENGAGE], off[_PERSIST], min(1.0, presence / PRESENCE_FULL), cost))
    )
    levels += fatigue, min(max(BASES[6] + sum(parts), 0.0), 1.0)
    contributions.append(parts)
    return Readout(tuple(levels), tuple(contributions), tuple([min(pick(weights)) for pick in _RESTS_ON]))


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
