"""When to retry a message, and what a response means. Pure."""

from __future__ import annotations

from typing import Final

FAULTS: Final = ("timeout", "unreachable", "redirect", "refused", "gone", "broken")
"""Kinds of failed attempts, for metrics; `gone` is permanent."""
_DOUBLINGS: Final = 32
_GONE: Final = 410


def wait_s(failures: int, *, first_s: float, longest_s: float, chance: float) -> float:
    """Return how long to wait after `failures` in a row (at least 1).

    Doubles from the first to the longest wait; `chance`, 0…1, subtracts up to half of it, so that
    failures at the same time are not retried at the same time.
    """
    longest = min(first_s * 2.0 ** min(failures - 1, _DOUBLINGS), longest_s)
    return longest * (1.0 - chance / 2.0)


def fault_of(status: int) -> str:
    """Return the fault for a response status; empty: none.

    A redirect is a fault: messages go only where the operator said.
    """
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return "redirect"
    if status == _GONE:
        return "gone"
    return "refused" if status < 500 else "broken"


def asked_to_wait_s(retry_after: str, *, longest_s: float) -> float:
    """Return the seconds of a `Retry-After` header, within our limits; 0 for a date or none."""
    return min(float(retry_after), longest_s) if retry_after.isdecimal() else 0.0
