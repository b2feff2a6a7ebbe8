"""When a message is tried again, and what an answer means. Pure."""

from __future__ import annotations

from typing import Final

FAULTS: Final = ("timeout", "unreachable", "redirect", "refused", "gone", "broken")
"""What can be wrong with an attempt, in words for metrics; `gone` is for good."""
_DOUBLINGS: Final = 32
_GONE: Final = 410


def wait_s(failures: int, *, first_s: float, longest_s: float, chance: float) -> float:
    """Return how long to wait after `failures` in a row (at least 1).

    Doubles from the first to the longest wait; `chance`, 0…1, takes up to a half of it, so that
    many who failed together do not come back together.
    """
    longest = min(first_s * 2.0 ** min(failures - 1, _DOUBLINGS), longest_s)
    return longest * (1.0 - chance / 2.0)


def fault_of(status: int) -> str:
    """Return which of `FAULTS` an answer of this status is; empty: none.

    An answer that sends elsewhere is a fault: what is told of learners goes where an operator said.
    """
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return "redirect"
    if status == _GONE:
        return "gone"
    return "refused" if status < 500 else "broken"


def asked_to_wait_s(retry_after: str, *, longest_s: float) -> float:
    """Return the seconds that a header `Retry-After` asks for, as far as we follow it; 0 where it
    says a date or nothing.
    """
    return min(float(retry_after), longest_s) if retry_after.isdecimal() else 0.0
