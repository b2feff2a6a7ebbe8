"""How much one client may ask: pure arithmetic, the time comes in as an argument."""

from __future__ import annotations


class TokenBucket:
    """Allows `rate` takes a second on average and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        """Start full. A rate of 0 allows everything."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> float:
        """Take one and return 0, or return after how many seconds to try again."""
        rate = self._rate
        if not rate:
            return 0.0
        tokens = self._tokens + (now - self._updated) * rate
        self._updated = now
        if tokens > self._burst:
            tokens = self._burst
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / rate
