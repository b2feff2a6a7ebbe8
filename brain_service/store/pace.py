"""Decides from the last commits whether the event loop may wait for the next one."""

from __future__ import annotations

from typing import Final

_QUICK_S: Final = 0.001
"""A longer commit blocks the loop for more than handing it to a thread costs (0.1 ms)."""
_WEIGHT: Final = 1 / 8


class Pace:
    """How long commits take; assumed slow at first."""

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
        """Count a failed commit, for instance because another process writes."""
        self._mean_s = max(self._mean_s, 4 * _QUICK_S)
