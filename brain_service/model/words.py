"""A teacher's words for what the model counts."""

from __future__ import annotations

from typing import Final, NamedTuple

from brain_service.model.attention import UNLIKE_USUAL
from brain_service.model.habits import AFTER_BREAK, NEW_LEARNER


class Because(NamedTuple):
    """One reason for a statement."""

    code: str
    up: bool
    """Whether it makes the number that it explains higher."""
    words: str


DRIVERS: Final = {
    "declared": ("easier tasks than usual", "harder tasks than usual"),
    "demand": ("better prepared for these tasks than usual", "less prepared for these tasks"),
    "slow": ("quicker than usual", "slower than usual"),
    "err": ("fewer mistakes than usual", "more mistakes than usual"),
    "negsur": ("fewer mistakes in familiar tasks", "mistakes in tasks that should work"),
    "impasse": ("gets stuck less than usual", "stuck for longer than usual"),
    "help": ("fewer hints than usual", "more hints than usual"),
    "fast": ("rushes less than usual", "rushes more than usual"),
    "idle": ("fewer long pauses than usual", "more long pauses than usual"),
    "flow": ("tasks that fit less than usual", "tasks that fit better than usual"),
    "expect": ("success is less likely than usual", "success is likelier than usual"),
    "sur": ("does worse than expected", "does better than expected"),
    "sur1": ("the last answer was worse than expected", "the last answer was better than expected"),
    "dem1": ("the last task was easy", "the last task was hard"),
    "rtvar": ("a steadier pace than usual", "a more uneven pace than usual"),
    "engage": ("less involved than usual lately", "more involved than usual lately"),
    "persist": ("gives up more after mistakes", "tries again after mistakes"),
    "load": ("less demanding work than usual", "more demanding work than usual"),
    "tank": ("less work without a break than usual", "more work without a break than usual"),
    "presence": ("here less often than usual", "here more often than usual"),
    "cost": ("less frustrated and tired than usual", "more frustrated and tired than usual"),
}
"""Per driver of a level, what it is called below and above what is usual for the learner."""

CAUSES: Final = {
    "accuracy": ("most of the last answers were right", "many of the last answers were wrong"),
    "mastery": ("this skill is going well", "this skill is not mastered yet"),
    "ability": ("has done better than others", "has done worse than others"),
    "outlook": ("others do well after such tasks", "others struggle after such tasks, too"),
}
"""Per cause of a forecast, what it is called where it makes struggling less or more likely."""

ADVICE: Final = {
    "tank": (True, "hard work for a long time without a break"),
    "active_s": (True, "over 45 minutes of work"),
    "frustration_level": (True, "frustration"),
    "failures": (True, "several wrong answers in a row"),
    "struggle": (True, "the next answers are likely to be wrong"),
    "cognitive_load": (True, "the work is harder than usual"),
    "haste": (True, "quick, wrong answers"),
    "idle": (True, "long pauses"),
    "mastery": (False, "the skill was not mastered"),
    "days": (True, "not practised for over a week"),
}
"""Reasons for advice, and whether the value is high."""
EXPECT: Final = {
    -1: (False, "success is unlikely at this difficulty"),
    0: (True, "success is likely, but not certain"),
    1: (True, "success is almost certain at this difficulty"),
}
"""The same for the chance of success, by the shift that is advised."""
UNLOADED: Final = (False, "the work is no harder than usual")

EARLY: Final = {
    NEW_LEARNER: "Too early to tell: {needs} needed to know what is usual for this learner.",
    AFTER_BREAK: "Too early to tell: {needs} needed after the break.",
}
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def early(code: str, needs: int) -> str:
    """Say in one sentence why there are no bands yet."""
    more = "one more answer is" if needs == 1 else f"{_number(needs)} more answers are"
    return EARLY[code].replace("{needs}", more)


def reason(code: str, failures: int, *, likely: bool) -> str:
    """Say in one sentence why somebody should look after a learner, or why nobody needs to though
    much is worse than usual; empty without a code. `likely`: struggling is.
    """
    if code == "stuck":
        return f"{_number(max(failures, 2)).capitalize()} wrong answers in a row."
    if code == UNLIKE_USUAL:
        return _UNLIKE_USUAL[likely]
    return _REASONS.get(code, "")


_REASONS: Final = {
    "giving_up": "Answers quickly and wrongly, as if giving up.",
    "frustrated": "More frustrated than usual, and likely to get the next answers wrong.",
    "overloaded": "The work is harder than usual, and the next answers are likely to be wrong.",
    "likely_to_struggle": "Likely to get the next answers wrong.",
}
_UNLIKE_USUAL: Final = {
    False: "Not as well as usual, but likely to manage the next tasks.",
    True: "Not as well as usual: watch how the next answers go.",
}
