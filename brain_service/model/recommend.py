"""Recommends what a person could do now; the thresholds are proposals, not findings.

What was recommended before comes in as bits, so that advice does not flicker: it starts when its
value passes the threshold and stops only when the value lies 0.05 (for minutes: 5 %) on the other
side.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from brain_service.model import words
from brain_service.model.habits import Band
from brain_service.model.values import maker
from brain_service.model.words import Because

GRIP: Final = 0.05
MOST: Final = 3
TIRED: Final = 0.5
ACTIVE_S: Final = 45 * 60.0
FAILURES: Final = 3
SURE: Final = 0.9
HASTY: Final = 0.1
"""Share of recent timed answers that were hasty and wrong; a single one brings a learner just above
it.
"""
IDLE: Final = 0.5
REVIEW_AFTER_S: Final = 7 * 86400.0
REVIEW_BELOW: Final = 0.8
ZONE: Final = (0.60, 0.85)
"""Chances of success between which the difficulty is about right."""
WELL: Final = (0.55, 0.75)
"""Recent shares of right answers that it takes to say so, and to ask for harder tasks."""


class Urgency(IntEnum):
    """How soon somebody should act."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Advice(NamedTuple):
    """What can be recommended.

    `number` is its index in `ADVICE`, in stored bytes and in the bits of hysteresis: never reuse
    one.
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
    Advice(10, "check_in", Urgency.MEDIUM, "Look at the last answers together.", ("struggle",)),
    Advice(11, "check_in", Urgency.HIGH, "Help with the next task.", ("struggle",)),
    Advice(
        12,
        "scaffold",
        Urgency.MEDIUM,
        "Break the task into small, guided steps.",
        ("failures", "struggle"),
    ),
    Advice(
        13,
        "scaffold",
        Urgency.HIGH,
        "Break the task into small, guided steps.",
        ("failures", "struggle"),
    ),
    Advice(14, "take_break", Urgency.MEDIUM, "Time for a short break.", ("tank",)),
    Advice(15, "take_break", Urgency.MEDIUM, "Time for a short break.", ("active_s",)),
    Advice(
        16,
        "spaced_review",
        Urgency.NONE,
        "Review {skill}: not practised for over a week.",
        ("mastery", "days"),
    ),
    Advice(17, "keep_watch", Urgency.NONE, "Watch how the next answers go.", ("expect",)),
)
"""By number. 0, 1 and 6 are no longer given; what was stored still names them."""
_EXAMPLE, _HARDER, _SLOW, _ENGAGE = 2, 3, 4, 5
_ZONE, _EASIER, _HARDER_ZONE = 7, 8, 9
_CHECK, _SCAFFOLD = (10, 11), (12, 13)
_TIRED, _LONG, _REVIEW, _WATCH = 14, 15, 16, 17
_LOAD, _FRUSTRATION, _CONFIDENCE, _ENGAGEMENT, _FATIGUE, _MOTIVATION = range(6)

_LOW, _HIGH = frozenset((Band.MUCH_LOWER, Band.LOWER)), frozenset((Band.HIGHER, Band.MUCH_HIGHER))
_STRAINED: Final = {_LOAD: _HIGH, _FRUSTRATION: _HIGH, _CONFIDENCE: _LOW}
NOT_BESIDE: Final[Mapping[int, Mapping[int, frozenset[int]]]] = {
    _EXAMPLE: {_LOAD: frozenset((Band.MUCH_LOWER,)), _FRUSTRATION: frozenset((Band.MUCH_LOWER,))},
    _HARDER: {**_STRAINED, _FATIGUE: _HIGH},
    _HARDER_ZONE: {**_STRAINED, _FATIGUE: _HIGH},
    _ENGAGE: {_ENGAGEMENT: _HIGH},
    _SLOW: {_ENGAGEMENT: frozenset((Band.MUCH_HIGHER,))},
    _ZONE: {**_STRAINED, _FATIGUE: _HIGH, _ENGAGEMENT: _LOW, _MOTIVATION: _LOW},
    _EASIER: {_LOAD: _LOW, _FRUSTRATION: frozenset((Band.MUCH_LOWER,))},
    **{
        number: {
            _LOAD: frozenset((Band.MUCH_LOWER,)), _FRUSTRATION: frozenset((Band.MUCH_LOWER,))
        }
        for number in _SCAFFOLD
    },
    _TIRED: {_FATIGUE: _LOW},
    _LONG: {_FATIGUE: frozenset((Band.MUCH_LOWER,))},
}  # fmt: skip
"""Per advice, the bands of the six levels (by index) that contradict it."""
CALM: Final = frozenset((_HARDER, _ZONE, _HARDER_ZONE, _REVIEW, _WATCH))
"""Advice that is never given during attention."""


class Recommendation(NamedTuple):
    """One thing a person could do now, with the values behind it."""

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
    def because(self) -> tuple[Because, ...]:
        """The same in a teacher's words."""
        return tuple(_because(self.advice, code) for code in self.advice.reasons)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The drivers behind it, by name."""
        return self.advice.reasons


def _because(advice: Advice, code: str) -> Because:
    if code == "expect":
        return Because(code, *words.EXPECT[advice.shift])
    if code == "cognitive_load" and advice.shift > 0:
        return Because(code, *words.UNLOADED)
    return Because(code, *words.ADVICE[code])


_give = maker(Recommendation)


class Situation(NamedTuple):
    """The values that recommendations rest on."""

    tank: float
    active_s: float
    load: float
    failures: int
    """Failures in a row, or on the present item, whichever is more; 0 after a right answer."""
    expect: float
    """Recent average of the probability of a right answer."""
    accuracy: float
    """Recent share of right answers."""
    haste: float
    idle: float
    struggle: float
    """Logit of two of the next three answers being wrong."""
    attention: int
    """Whether somebody should look after the learner, see `attention`."""
    bands: bytes
    """Of the six levels."""
    review: tuple[str, float, float] | None
    """A skill not practised for a week: its name, mastery and days since; None when there is none.
    """


def recommend(now: Situation, before: int) -> tuple[tuple[Recommendation, ...], int]:
    """Return at most three recommendations, most urgent first, and the bits to pass as `before`
    next time.

    None contradicts the bands or the attention, see `NOT_BESIDE`. Asking again with the returned
    bits and the same situation gives the same answer.
    """
    (
        tank, active_s, load, failures, expect, accuracy, haste, idle, struggle, attention, bands,
        review,
    ) = now  # fmt: skip
    grip = _grips(before)
    found = []
    if attention:
        scaffold = _SCAFFOLD[attention - 1]
        if failures >= FAILURES and stands_beside(scaffold, bands):
            found.append(_give((ADVICE[scaffold], (float(failures), struggle), "")))
            if bands[_LOAD] in _HIGH:
                found.append(_give((ADVICE[_EXAMPLE], (float(failures), load), "")))
        else:
            found.append(_give((ADVICE[_CHECK[attention - 1]], (struggle,), "")))
    if tank > TIRED - grip[_TIRED] and stands_beside(_TIRED, bands):
        found.append(_give((ADVICE[_TIRED], (tank,), "")))
    elif active_s > ACTIVE_S * (1.0 - grip[_LONG]) and stands_beside(_LONG, bands):
        found.append(_give((ADVICE[_LONG], (active_s,), "")))
    if (
        expect > SURE - grip[_HARDER]
        and accuracy > WELL[1]
        and not attention
        and stands_beside(_HARDER, bands)
    ):
        found.append(_give((ADVICE[_HARDER], (expect, load), "")))
    if haste > HASTY - grip[_SLOW] and stands_beside(_SLOW, bands):
        found.append(_give((ADVICE[_SLOW], (haste,), "")))
    if idle > IDLE - grip[_ENGAGE] and stands_beside(_ENGAGE, bands):
        found.append(_give((ADVICE[_ENGAGE], (idle,), "")))
    if not found:
        found.append(_give((ADVICE[_zone(expect, accuracy, bands, grip)], (expect,), "")))
    if review is not None and not attention and review[1] < REVIEW_BELOW + grip[_REVIEW]:
        found = [*found[: MOST - 1], _give((ADVICE[_REVIEW], review[1:], review[0]))]
    bits = 0
    for advice, _, _ in found:
        bits |= 1 << advice.number
    return tuple(found[:MOST]), bits


@lru_cache(maxsize=65_536)
def stands_beside(number: int, bands: bytes) -> bool:
    """Return whether advice agrees with the bands of the six levels."""
    refused = NOT_BESIDE.get(number)
    if refused is not None:
        for level, those in refused.items():
            if bands[level] in those:
                return False
    return True


def contradicts(number: int, bands: bytes, attention: int) -> bool:
    """Return whether advice contradicts the bands or the attention."""
    return not stands_beside(number, bands) or (attention > 0 and number in CALM)


def _zone(expect: float, accuracy: float, bands: bytes, grip: tuple[float, ...]) -> int:
    """The fallback advice about difficulty: the first that fits."""
    if expect < ZONE[0] + grip[_EASIER]:
        zone = _EASIER
    elif accuracy < WELL[0] - grip[_ZONE]:
        zone = _WATCH
    elif expect > ZONE[1] - grip[_HARDER_ZONE] and accuracy > WELL[1]:
        zone = _HARDER_ZONE
    else:
        zone = _ZONE
    return zone if stands_beside(zone, bands) else _WATCH


@lru_cache(maxsize=4096)
def _grips(before: int) -> tuple[float, ...]:
    """Per advice, the hysteresis of its threshold if it is on already."""
    return tuple(GRIP if before >> number & 1 else 0.0 for number in range(len(ADVICE)))
