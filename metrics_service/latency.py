"""Counts durations in the contract's fixed buckets and reads percentiles back."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

BUCKET_COUNT = 64
"""Buckets of the contract's LatencyHistogram; the last one has no upper bound."""

BOUNDS_MS: tuple[float, ...] = tuple(0.05 * 2 ** (index / 4) for index in range(BUCKET_COUNT - 1))
"""Upper bound of each bucket but the last, milliseconds, inclusive."""

_NO_COUNTS = (0,) * BUCKET_COUNT


def bucket_of(duration_ms: float) -> int:
    """Return the index of the bucket that holds a duration."""
    return bisect.bisect_left(BOUNDS_MS, duration_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How long things took: `counts` per bucket, and the exact sum, least and greatest (0 when
    there were none).
    """

    counts: tuple[int, ...] = _NO_COUNTS
    sum_ms: float = 0.0
    min_ms: float = 0.0
    max_ms: float = 0.0

    @classmethod
    def of(cls, durations_ms: Sequence[float]) -> Histogram:
        """Count some durations."""
        counts = [0] * BUCKET_COUNT
        for duration in durations_ms:
            counts[bucket_of(duration)] += 1
        return cls(
            counts=tuple(counts),
            sum_ms=math.fsum(durations_ms),
            min_ms=min(durations_ms, default=0.0),
            max_ms=max(durations_ms, default=0.0),
        )

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    @property
    def average_ms(self) -> float:
        """The mean, 0 when there were none."""
        return self.sum_ms / self.count if self.count else 0.0

    def plus(self, other: Histogram) -> Histogram:
        """Return both together."""
        if not any(other.counts):
            return self
        if not any(self.counts):
            return other
        return Histogram(
            counts=tuple(map(int.__add__, self.counts, other.counts)),
            sum_ms=self.sum_ms + other.sum_ms,
            min_ms=min(self.min_ms, other.min_ms),
            max_ms=max(self.max_ms, other.max_ms),
        )

    def since(self, earlier: Histogram) -> Histogram:
        """Return what came after `earlier`, a former state of this one.

        The least and greatest of that part are not known; those of the whole stand in for them,
        which is exact again once the part is added to anything that has `earlier`.
        """
        counts = tuple(map(int.__sub__, self.counts, earlier.counts))
        if not any(counts):
            return EMPTY
        sum_ms = max(0.0, self.sum_ms - earlier.sum_ms)
        return Histogram(counts=counts, sum_ms=sum_ms, min_ms=self.min_ms, max_ms=self.max_ms)

    def percentile(self, fraction: float) -> float:
        """Return the duration that `fraction` (0–1) of all stay within, milliseconds; 0 when there
        were none.

        Within a bucket durations count as evenly spread, as Prometheus' histogram_quantile does it,
        so that this and a dashboard agree; the true least and greatest bound the estimate.
        """
        rank = fraction * self.count
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                lower = BOUNDS_MS[index - 1] if index else 0.0
                upper = BOUNDS_MS[index] if index < len(BOUNDS_MS) else max(self.max_ms, lower)
                estimate = lower + (upper - lower) * (rank - below) / count
                return min(max(estimate, self.min_ms), self.max_ms)
            below += count
        return 0.0


EMPTY = Histogram()
"""No durations at all."""
