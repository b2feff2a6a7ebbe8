"""What is usual for a learner: a slow baseline of every level and signal, and how levels compare
with it.

A level is compared with its usual value at the same amount of evidence. With little evidence, after
a break, both are near the value of a blank learner.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, sqrt
from operator import itemgetter
from struct import Struct
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.levels import SIX, read, read_direct
from brain_service.model.params import DECLARED, PRIORS
from brain_service.model.population import Shared
from brain_service.model.state import HABITS, Standing


class Band(IntEnum):
    """How a level stands to what is usual; the numbers are the contract's."""

    MUCH_LOWER = 1
    LOWER = 2
    AS_USUAL = 3
    HIGHER = 4
    MUCH_HIGHER = 5
    TOO_EARLY = 6


NEW_LEARNER: Final = "new_learner"
AFTER_BREAK: Final = "after_break"


class Comparison(NamedTuple):
    """The six levels beside what is usual, in the order of `levels.SIX`."""

    usual: tuple[float, ...]
    spread: tuple[float, ...]
    deviation: tuple[float, ...]
    """In spreads."""


_COUNT: Final = len(SIX)
_LEVELS: Final = Struct(f"<{2 * _COUNT}f")
"""Means and spreads of the levels."""
_BLANK_SIGNALS: Final = (0.0,) * len(PRIORS)
_six: Final = itemgetter(*SIX)
BLANK_LEVELS: Final[tuple[float, ...]] = _six(
    read(
        read_direct(_BLANK_SIGNALS, _BLANK_SIGNALS), _BLANK_SIGNALS, _BLANK_SIGNALS, 0.0, 1.0
    ).levels
)
"""The six levels without any evidence."""
ALL_EARLY: Final = bytes([Band.TOO_EARLY] * _COUNT)
_FLOOR: Final = params.SPREAD_FLOOR
_LEAST_GAIN: Final = 1.0 - 0.5 ** (1.0 / params.HABIT_HALF_LIFE)
_EVERY: Final = 8
"""Beyond the first ones, only every n-th answer is learned from: neighbours are much alike."""
_FIRST: Final = 16
_LEAST_WEIGHT: Final = 0.2
_LEAST_SHARE: Final = 0.4
_HALF: Final = 0.5
NOTHING: Final = _LEVELS.pack(*params.USUAL_START[0], *map(sqrt, params.USUAL_START[1]))
"""What is usual for a learner before the first answer."""
_START_REST: Final = (*PRIORS, 0.0, 1.0)
_EDGES: Final = (-params.OUTER_EDGE, -params.INNER_EDGE, params.INNER_EDGE, params.OUTER_EDGE)
_GRIP: Final = params.EDGE_GRIP
_LOW: Final = (inf, *(edge - _GRIP for edge in (-inf, *_EDGES)), inf)
_HIGH: Final = (inf, *(edge + _GRIP for edge in (*_EDGES, inf)), inf)
"""Per band, below and above which deviation a level leaves it; too early is always left."""


def usual_rest(standing: Standing) -> tuple[float, ...]:
    """Return the means of the signals, and those of the tank and of presence."""
    return HABITS.unpack(standing.habits) if standing.habit_answers else _START_REST


def variances(packed: bytes) -> tuple[float, ...]:
    """Return a learner's means and variances, for others to learn from."""
    known = _LEVELS.unpack(packed)
    return (*known[:_COUNT], *[spread * spread for spread in known[_COUNT:]])


def learn(
    standing: Standing,
    usual: Shared,
    levels: tuple[float, ...],
    signals: list[float],
    weights: list[float],
    tank: float,
    presence: float,
) -> tuple[bytes, bytes, int]:
    """Return a learner's habits after a graded answer, of levels and of the rest, and how many
    answers stand behind them.

    The first answer starts them at `usual`, what is usual for all, which counts as eight answers.
    """
    answers = standing.habit_answers
    if answers > _FIRST and answers % _EVERY:
        return standing.level_habits, standing.habits, answers + 1
    gain = 1.0 / (params.HABIT_PRIOR + answers + 1.0)
    if answers > _FIRST:
        gain = _EVERY * (gain if gain > _LEAST_GAIN else _LEAST_GAIN)
    if answers:
        known = _LEVELS.unpack(standing.level_habits)
    else:
        known = (*usual[:_COUNT], *map(sqrt, usual[_COUNT:-1]))
    means, spreads = [], []
    missing = 1.0 - weights[DECLARED]
    for level, fades, blank, mean, spread in zip(
        _six(levels), params.FADES, BLANK_LEVELS, known, known[_COUNT:], strict=False
    ):
        share = 1.0 - fades * missing
        off = blank + (level - blank) / (share if share > _LEAST_SHARE else _LEAST_SHARE) - mean
        means.append(mean + gain * off)
        spreads.append(sqrt(spread * spread + gain * (off * off - spread * spread)))
    known = usual_rest(standing)
    rest = [
        old + gain * (s / w - old) if w > _LEAST_WEIGHT else old
        for s, w, old in zip(signals, weights, known, strict=False)
    ]
    rest.append(known[-2] + gain * (tank - known[-2]))
    rest.append(known[-1] + gain * (presence - known[-1]))
    return _LEVELS.pack(*means, *spreads), HABITS.pack(*rest), answers + 1


_LOAD, _FRUSTRATION, _CONFIDENCE, _ENGAGEMENT, _FATIGUE, _MOTIVATION = BLANK_LEVELS
_CONFIDENCE_FADES, _MOTIVATION_FADES = params.FADES[2], params.FADES[5]


def compare(packed: bytes, levels: tuple[float, ...], judged: float) -> Comparison:
    """Return what is usual at this evidence, its spread, and the levels' deviations from it.

    `packed` is a learner's `level_habits`; `judged` is the evidence weight of graded answers.
    """
    known = _LEVELS.unpack(packed)
    usual, spreads, deviations = [], [], []
    for level, fades, blank, mean, spread in zip(
        _six(levels), params.FADES, BLANK_LEVELS, known, known[_COUNT:], strict=False
    ):
        share = 1.0 - fades * (1.0 - judged)
        usual.append(blank + share * (mean - blank))
        spreads.append(max(_FLOOR, spread * max(share, _HALF)))
        deviations.append((level - usual[-1]) / spreads[-1])
    return Comparison(tuple(usual), tuple(spreads), tuple(deviations))


def bands(before: bytes, packed: bytes, levels: tuple[float, ...], judged: float) -> bytes:
    """Return the bands of the six levels: those before, unless a level has left its own clearly.

    The comparison of `compare`, written out because it runs for every interaction; a test holds
    that they agree.
    """
    m0, m1, m2, m3, m4, m5, d0, d1, d2, d3, d4, d5 = _LEVELS.unpack(packed)
    l0, l1, l2, _, l3, l4, l5 = levels
    missing = 1.0 - judged
    shared = judged if judged > _HALF else _HALF
    s2, s5 = 1.0 - _CONFIDENCE_FADES * missing, 1.0 - _MOTIVATION_FADES * missing
    d0, d1, d2, d3, d4, d5 = (
        d0 * shared, d1 * shared, d2 * s2, d3 * shared, d4 * shared,
        d5 * (s5 if s5 > _HALF else _HALF),
    )  # fmt: skip
    d0 = (l0 - _LOAD - judged * (m0 - _LOAD)) / (d0 if d0 > _FLOOR else _FLOOR)
    d1 = (l1 - _FRUSTRATION - judged * (m1 - _FRUSTRATION)) / (d1 if d1 > _FLOOR else _FLOOR)
    d2 = (l2 - _CONFIDENCE - s2 * (m2 - _CONFIDENCE)) / (d2 if d2 > _FLOOR else _FLOOR)
    d3 = (l3 - _ENGAGEMENT - judged * (m3 - _ENGAGEMENT)) / (d3 if d3 > _FLOOR else _FLOOR)
    d4 = (l4 - _FATIGUE - judged * (m4 - _FATIGUE)) / (d4 if d4 > _FLOOR else _FLOOR)
    d5 = (l5 - _MOTIVATION - s5 * (m5 - _MOTIVATION)) / (d5 if d5 > _FLOOR else _FLOOR)
    b0, b1, b2, b3, b4, b5 = before
    if (
        _LOW[b0] <= d0 <= _HIGH[b0] and _LOW[b1] <= d1 <= _HIGH[b1]
        and _LOW[b2] <= d2 <= _HIGH[b2] and _LOW[b3] <= d3 <= _HIGH[b3]
        and _LOW[b4] <= d4 <= _HIGH[b4] and _LOW[b5] <= d5 <= _HIGH[b5]
    ):  # fmt: skip
        return before
    return bytes(map(_moved, before, (d0, d1, d2, d3, d4, d5)))


def too_early(habit_answers: int, judged: float) -> tuple[str, int] | None:
    """Return why there are no bands yet and how many more answers it takes; None if there are."""
    if habit_answers < params.HABIT_NEEDS:
        return NEW_LEARNER, params.HABIT_NEEDS - habit_answers
    if judged < params.HABIT_EVIDENCE:
        return AFTER_BREAK, 2 if judged < params.HABIT_EVIDENCE / 2.0 else 1
    return None


def _moved(band: int, deviation: float) -> int:
    if band == Band.TOO_EARLY:
        band = 3  # as usual, until the deviation says otherwise
    while deviation > _HIGH[band]:
        band += 1
    while deviation < _LOW[band]:
        band -= 1
    return band
