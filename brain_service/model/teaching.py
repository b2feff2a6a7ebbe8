"""What one learner may teach the bank that all share. Pure: no log, no clock.

The model computes what an interaction would teach (`update.Increments`); these rules say how much
of that counts. They are separate because they guard against manipulation; a replay of research data
needs no guard.
"""

from __future__ import annotations

from enum import StrEnum
from math import log
from typing import Final, NamedTuple

from brain_service.model.params import BUDGET, MAX_ACTIVE_S, MIN_TIME_S
from brain_service.model.population import Lesson
from brain_service.model.prediction import Statistics

SHORTEST: Final = log(MIN_TIME_S)
LONGEST: Final = log(MAX_ACTIVE_S)
"""Bounds of log-seconds; values beyond count as these."""
MATURE: Final = 20
"""Observations after which a norm is trusted enough to call others unusual."""
REACH: Final = 1.5
"""How far from a mature norm an observation counts, in log-seconds; about two spreads."""


def plain_time(log_time: float, statistics: Statistics) -> float:
    """Return how an observed time counts towards its subject's norm: bounded, and near the norm
    once that is mature. So one person's odd times cannot move a norm far.
    """
    low, high = SHORTEST, LONGEST
    if statistics.observations >= MATURE:
        low = max(low, statistics.log_time - REACH)
        high = min(high, statistics.log_time + REACH)
    return low if log_time < low else high if log_time > high else log_time


def without_calls(lesson: Lesson) -> Lesson:
    """Return a lesson without its effect on attention: both cuts stay where they are."""
    look, now = BUDGET
    return lesson._replace(looked=look, called=now)


class Teachers(StrEnum):
    """Who may teach the bank."""

    ANYBODY = "anybody"
    """Every learner, trusting their devices."""
    TRUSTED = "trusted"
    """Only services that judged the answer themselves (`Submission.verified`)."""
    DECLARED = "declared"
    """Every learner, but only items and subjects that an operator declared."""


class Allowance(NamedTuple):
    """How much one learner may teach on one day."""

    items: int = 200
    """First answers that teach their item."""
    times: int = 20
    """Times that teach a subject's norm."""
    lessons: int = 200
    """Answers that teach the shared forecasts and usual values."""
    calls: int = 20
    """Answers that teach the cuts of attention. The cuts keep a share of all answers above them: in
    a class of 30, one learner who pretends to struggle 200 times a day would take all of it.
    """


ITEMS, TIMES, LESSONS, CALLS = range(len(Allowance._fields))
