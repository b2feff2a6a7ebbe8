"""Counts of times in buckets of equal relative width, so that a run of any length fits in a few
kilobytes.

The layout is that of HdrHistogram (Tene): every power of two is cut into the same number of equal
buckets.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_BITS: Final = 7
_HALF: Final = 1 << _BITS

RELATIVE_ERROR: Final = 1 / _HALF
"""How far a percentile may lie from the exact one, as a part of it; below 256 µs it is within 1 µs.
"""


class Histogram:
    """Times in seconds, kept as whole microseconds. Mean, least and greatest are exact."""

    __slots__ = ("_buckets", "_max", "_min", "_sum", "count")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._sum = 0.0
        self._min = math.inf
        self._max = 0.0
        self.count = 0

    def record(self, seconds: float) -> None:
        """Count one time; a negative one (a clock's grain) counts as 0."""
        if seconds < 0.0:
            seconds = 0.0
        value = int(seconds * 1e6)
        shift = max(0, value.bit_length() - _BITS - 1)
        self._buckets[(shift << _BITS) + (value >> shift)] += 1
        self._sum += seconds
        self.count += 1
        if seconds < self._min:
            self._min = seconds
        if seconds > self._max:
            self._max = seconds

    @property
    def mean(self) -> float:
        """Seconds; 0 when nothing was counted, as for all other figures."""
        return self._sum / self.count if self.count else 0.0

    @property
    def least(self) -> float:
        """Seconds."""
        return self._min if self.count else 0.0

    @property
    def greatest(self) -> float:
        """Seconds."""
        return self._max

    def percentile(self, percent: float) -> float:
        """Return the time in seconds that so many percent (0–100) of all do not exceed, by nearest
        rank.
        """
        rank = max(1, math.ceil(percent / 100 * self.count))
        for index in sorted(self._buckets):
            rank -= self._buckets[index]
            if rank <= 0:
                return min(max(_middle(index), self._min), self._max)
        return self._max


def _middle(index: int) -> float:
    shift = max(0, (index >> _BITS) - 1)
    low = (index - (shift << _BITS)) << shift
    return (low + (1 << shift) / 2) / 1e6
