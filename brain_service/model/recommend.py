"""Chooses what a person could do now from a learner's readings; the thresholds are proposals, not
findings.

It knows no learner's history: what was recommended before comes in as bits, so that advice does not
flicker. Advice starts when its value passes the threshold and stops only when the value lies 0.05
(for minutes: 5 %) on the other side.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from brain_service.model.values import maker

BAND: Final = 0.05
MOST: Final = 3
TIRED: Final = 0.5
ACTIVE_S: Final = 45 * 60.0
FRUSTRATED: Final = 0.7
FAILURES: Final = 3
LOADED: Final = 0.8
SURE: Final = 0.9
UNLOADED: Final = 0.55
HASTY: Final = 0.1
"""Share of recent timed answers that were hasty and wrong; a single one brings a learner just above
it.
"""
IDLE: Final = 0.5
REVIEW_AFTER_S: Final = 7 * 86400.0
REVIEW_BELOW: Final = 0.8
ZONE: Final = (0.60, 0.85)


class Urgency(IntEnum):
    """How soon somebody should act."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Advice(NamedTuple):
    """What can be recommended.

    `number` is its place in `ADVICE`, in stored bytes and in the bits of hysteresis: never use one
    again for another.
    """

    number: int
    code: str
    urgency: Urgency
    sentence: str
    reasons: tuple[str, ...]
    shift: int = 0
    """Whether it asks for harder (1) or easier (−1) items."""


ADVICE: Final = (
    Advice(0, "take_break", Urgency.HIGH, "Time for a short break.", ("tank", "active_s")),
    Advice(
        1,
        "scaffold",
        Urgency.HIGH,
        "Break the task into small, guided steps.",
        ("frustration_level", "failures"),
    ),
    Advice(
        2,
        "worked_example",
        Urgency.MEDIUM,
        "Show a worked example first.",
        ("failures", "cognitive_load"),
    ),
    Advice(3, "harder", Urgency.MEDIUM, "Offer something harder.", ("expect", "cognitive_load"), 1),
    Advice(
        4,
        "slow_down",
        Urgency.MEDIUM,
        "Encourage reading the question again before answering.",
        ("haste",),
    ),
    Advice(
        5,
        "re_engage",
        Urgency.MEDIUM,
        "Check in: the learner seems to have drifted off.",
        ("idle",),
    ),
    Advice(
        6,
        "spaced_review",
        Urgency.LOW,
        "Review {skill}: not practised for over a week.",
        ("mastery", "days"),
    ),
    Advice(
        7, "target_zone", Urgency.NONE, "Keep going: the difficulty is about right.", ("expect",)
    ),
    Advice(8, "target_zone", Urgency.LOW, "Choose slightly easier tasks.", ("expect",), -1),
    Advice(9, "target_zone", Urgency.LOW, "Choose slightly harder tasks.", ("expect",), 1),
)
"""In the order of precedence, which is also that of urgency; the last three, of which one is given,
share a code.
"""
_BREAK, _SCAFFOLD, _EXAMPLE, _HARDER, _SLOW, _ENGAGE, _REVIEW, _ZONE, _EASIER_ZONE, _HARDER_ZONE = (
    range(len(ADVICE))
)


class Recommendation(NamedTuple):
    """One thing a person could do now, with the values that speak for it."""

    advice: Advice
    values: tuple[float, ...]
    """The values of the drivers behind it, in the order of `reasons`."""
    skill: str = ""
    """The skill it is about, where it is about one."""

    @property
    def code(self) -> str:
        """Stable and machine-readable."""
        return self.advice.code

    @property
    def urgency(self) -> Urgency:
        """How soon somebody should act."""
        return self.advice.urgency

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return self.advice.sentence.replace("{skill}", self.skill)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The drivers behind it, by name."""
        return self.advice.reasons


_give = maker(Recommendation)


class Situation(NamedTuple):
    """The values that recommendations rest on."""

    tank: float
    active_s: float
    frustration: float
    load: float
    failures: int
    """Failures in a row, or on the present item, whichever is more; 0 after a right answer."""
    expect: float
    """Recent average of the probability of a right answer."""
    haste: float
    idle: float
    review: tuple[str, float, float] | None = None
    """A skill not practised for a week: its name, mastery and days since; None when there is none.
    """


def recommend(now: Situation, before: int) -> tuple[tuple[Recommendation, ...], int]:
    """Return at most three recommendations, most urgent first, and the bits to pass as `before`
    next time.

    Asking again with the returned bits and the same situation gives the same answer.
    """
    tank, active_s, frustration, load, failures, expect, haste, idle, review = now
    band = _bands(before)
    found = []
    if tank > TIRED - band[_BREAK] or active_s > ACTIVE_S * (1.0 - band[_BREAK]):
        found.append(_give((ADVICE[_BREAK], (tank, active_s), "")))
    if failures >= FAILURES:
        if frustration > FRUSTRATED - band[_SCAFFOLD]:
            found.append(_give((ADVICE[_SCAFFOLD], (frustration, float(failures)), "")))
        if load > LOADED - band[_EXAMPLE]:
            found.append(_give((ADVICE[_EXAMPLE], (float(failures), load), "")))
    if expect > SURE - band[_HARDER] and load < UNLOADED + band[_HARDER]:
        found.append(_give((ADVICE[_HARDER], (expect, load), "")))
    if haste > HASTY - band[_SLOW]:
        found.append(_give((ADVICE[_SLOW], (haste,), "")))
    if idle > IDLE - band[_ENGAGE]:
        found.append(_give((ADVICE[_ENGAGE], (idle,), "")))
    if review is not None and review[1] < REVIEW_BELOW + band[_REVIEW]:
        found.append(_give((ADVICE[_REVIEW], review[1:], review[0])))
    if not found:
        if expect < ZONE[0] + band[_EASIER_ZONE]:
            zone = _EASIER_ZONE
        elif expect > ZONE[1] - band[_HARDER_ZONE]:
            zone = _HARDER_ZONE
        else:
            zone = _ZONE
        return (_give((ADVICE[zone], (expect,), "")),), 1 << zone
    bits = 0
    for advice, _, _ in found:
        bits |= 1 << advice.number
    return tuple(found[:MOST]), bits


@lru_cache(maxsize=1 << len(ADVICE))
def _bands(before: int) -> tuple[float, ...]:
    """Per advice, how far its threshold gives way because it is on already."""
    return tuple(BAND if before >> number & 1 else 0.0 for number in range(len(ADVICE)))
