"""How far another service's clock is from ours; logs when that is too much."""

from __future__ import annotations

import logging
from collections import deque

logger = logging.getLogger(__name__)

TOLERABLE_S = 5.0
"""More than a slow answer can look like."""


class Skew:
    """One service's clock, as its answers show it."""

    def __init__(self, service: str, *, samples: int = 1) -> None:
        """`service` is its name in the log. A slow answer looks like a clock that is behind, so the
        quickest of the last `samples` counts.
        """
        self.seconds = 0.0
        """Seconds by which that clock is ahead of ours; below zero it is behind."""
        self._service = service
        self._last: deque[float] = deque(maxlen=samples)

    @property
    def is_large(self) -> bool:
        """Whether an operator should look."""
        return abs(self.seconds) > TOLERABLE_S

    def note(self, ahead_s: float) -> None:
        """Take a measurement; log when the skew becomes large, and when that is over."""
        was_large = self.is_large
        self._last.append(ahead_s)
        self.seconds = max(self._last)
        if self.is_large and not was_large:
            logger.warning(
                "clocks differ: synchronise them (NTP); tokens go by what they are still good for,"
                " but times that people read are wrong",
                extra={"service": self._service, "ahead_s": round(ahead_s, 1)},
            )
        elif was_large and not self.is_large:
            logger.info("clocks agree again", extra={"service": self._service})
