"""Decides who needs help now and who is worth a look.

A score adds failures in a row, signs of giving up and distress to the forecast's logit. Attention
is on above a cut that follows the population (`population.learn`), so that it is on after about one
answer in twelve, whether a school finds its work easy or hard.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final

from brain_service.model import params
from brain_service.model.habits import Band
from brain_service.model.population import Population


class Attention(IntEnum):
    """How soon a person should look after a learner."""

    NONE = 0
    LOOK = 1
    NOW = 2


REASONS: Final = ("", "stuck", "giving_up", "frustrated", "overloaded", "likely_to_struggle")
"""Reasons; their indices are stored, so never remove one."""
_STUCK, _GIVING_UP, _FRUSTRATED, _OVERLOADED, _LIKELY = range(1, len(REASONS))
STUCK_FROM: Final = 3
"""Failures in a row that are a reason by themselves."""
_LOAD, _FRUSTRATION, _CONFIDENCE, _ENGAGEMENT, _FATIGUE, _MOTIVATION = range(6)
"""Indices of the levels among the six."""
_MUCH_HIGHER: Final = int(Band.MUCH_HIGHER)
_ABOVE: Final = (Band.HIGHER, Band.MUCH_HIGHER)
_BELOW: Final = (Band.LOWER, Band.MUCH_LOWER)
UNWISHED: Final[Mapping[int, tuple[Band, Band]]] = {
    _LOAD: _ABOVE, _FRUSTRATION: _ABOVE, _FATIGUE: _ABOVE,
    _CONFIDENCE: _BELOW, _ENGAGEMENT: _BELOW, _MOTIVATION: _BELOW,
}  # fmt: skip
"""Per level, by index, the unwished bands."""
UNLIKE_USUAL: Final = "unlike_usual"
"""Much is on the unwished side, but nobody is called: such a day alone predicts too little
(`docs/model.md`, what was tried).
"""
ARROWS: Final = 5
"""This many on that side make a day unlike usual; much higher or lower counts twice."""


def score(logit: float, failures: int, haste: float, bands: bytes) -> float:
    """Return the score for attention, in logits of struggling.

    `logit` is the forecast's; `failures` in a row, or on the present item, whichever is more, 0
    after a right answer; `haste` the share of recent timed answers that were hasty and wrong.
    """
    if failures:
        most = params.STUCK_MOST
        logit += params.STUCK_STEP * (failures if failures < most else most)
        if haste > params.GIVING_UP:
            logit += params.GIVING_UP_STEP
    if bands[_LOAD] == _MUCH_HIGHER:
        logit += params.DISTRESS_STEP
    if bands[_FRUSTRATION] == _MUCH_HIGHER:
        logit += params.DISTRESS_STEP
    return logit


def attend(before: int, answers: int, streak: int, reached: float, population: Population) -> int:
    """Return the attention after a graded answer, `reached` being the score.

    It turns on only with a wrong answer, and off below the cut or after two right answers in a row.
    """
    if answers < params.ATTENTION_NEEDS or streak > 1:
        return 0
    _, _, _, look, now, _ = population
    if (streak < 0 and reached > now) or (before == 2 and reached > now - params.CUT_GRIP):
        return 2
    if (streak < 0 and reached > look) or (before and reached > look - params.CUT_GRIP):
        return 1
    return 0


def reason_of(failures: int, haste: float, bands: bytes) -> int:
    """Return the index in `REASONS` of the main reason."""
    if failures >= STUCK_FROM:
        return _STUCK
    if haste > params.GIVING_UP:
        return _GIVING_UP
    if bands[_FRUSTRATION] in _ABOVE:
        return _FRUSTRATED
    return _OVERLOADED if bands[_LOAD] in _ABOVE else _LIKELY


@lru_cache(maxsize=65_536)
def is_unlike_usual(bands: bytes) -> bool:
    """Return whether so much is on the unwished side that it should be mentioned."""
    return sum(abs(bands[at] - 3) for at, those in UNWISHED.items() if bands[at] in those) >= ARROWS
