"""Tells from the last commits whether the event loop may wait for the next one."""

from __future__ import annotations

from typing import Final

_QUICK_S: Final = 0.001
"""A commit that takes longer keeps the loop from others longer than handing it over costs (0.1
ms), and longer than anybody would notice.
"""
_WEIGHT: Final = 1 / 8


class Pace:
    """How long commits take; slow until the first ones show otherwise."""

    def __init__(self) -> None:
        """Begin as if the last commits had been slow."""
        self._mean_s = 2 * _QUICK_S

    @property
    def is_quick(self) -> bool:
        """Whether the last commits took less than a millisecond on average."""
        return self._mean_s < _QUICK_S

    def took(self, seconds: float) -> None:
        """Count a commit; one that stalls for 100 ms makes the next 20 slow."""
        self._mean_s += (seconds - self._mean_s) * _WEIGHT

    def was_refused(self) -> None:
        """Count a commit that could not be made, for instance because another process writes."""
        self._mean_s = max(self._mean_s, 4 * _QUICK_S)
