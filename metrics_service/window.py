"""Sums what happened in the last minute, in a ring of one-second slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metrics_service.latency import EMPTY, Histogram

SECONDS = 60
"""How far back it looks."""


@dataclass(slots=True)
class _Slot:
    second: int = -SECONDS - 1
    messages: int = 0
    latency: Histogram = EMPTY


class LastMinute:
    """Messages and latencies of the last 60 seconds, the running one included; memory does not grow
    with traffic.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Use `monotonic` (seconds) as the clock."""
        self._monotonic = monotonic
        self._slots = [_Slot() for _ in range(SECONDS)]

    def add(self, messages: int, latency: Histogram) -> None:
        """Count as having happened now."""
        second = int(self._monotonic())
        slot = self._slots[second % SECONDS]
        if slot.second != second:
            slot.second, slot.messages, slot.latency = second, 0, EMPTY
        slot.messages += messages
        slot.latency = slot.latency.plus(latency)

    def read(self) -> tuple[int, Histogram, float]:
        """Return the messages and latencies, and the seconds that they span (59 to 60: the running
        one is not over).
        """
        now = self._monotonic()
        oldest = int(now) - SECONDS
        messages, latency = 0, EMPTY
        for slot in self._slots:
            if slot.second > oldest:
                messages += slot.messages
                latency = latency.plus(slot.latency)
        return messages, latency, now - oldest - 1
