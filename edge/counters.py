"""Counts what an edge does, cheaply, and tells what changed since the last report. It knows no metrics system."""

from __future__ import annotations

import math
from collections import Counter

BUCKETS = 64
"""Bucket i of the latency histogram holds durations up to 0.05 · 2^(i/4) ms, the last one everything longer."""


class Latency:
    """A histogram of durations."""

    __slots__ = ("counts", "max_ms", "min_ms", "sum_ms")

    def __init__(self) -> None:
        """Start empty."""
        self.counts = [0] * BUCKETS
        self.sum_ms = 0.0
        self.min_ms = math.inf
        self.max_ms = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        ms = seconds * 1000.0
        index = 0 if ms <= 0.05 else min(BUCKETS - 1, math.ceil(4.0 * math.log2(ms * 20.0)))
        self.counts[index] += 1
        self.sum_ms += ms
        if ms < self.min_ms:
            self.min_ms = ms
        if ms > self.max_ms:
            self.max_ms = ms

    def absorb(self, other: Latency) -> None:
        """Add what another histogram counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_ms += other.sum_ms
        self.min_ms = min(self.min_ms, other.min_ms)
        self.max_ms = max(self.max_ms, other.max_ms)


class Presence:
    """Who or what is here, counted by how many sockets brought it."""

    __slots__ = ("_came", "_counts", "_went")

    def __init__(self) -> None:
        """Start with nobody."""
        self._counts: Counter[str] = Counter()
        self._came: set[str] = set()
        self._went: set[str] = set()

    def add(self, name: str) -> None:
        """One more socket brings `name`."""
        self._counts[name] += 1
        if self._counts[name] == 1:
            if name in self._went:
                self._went.discard(name)
            else:
                self._came.add(name)

    def remove(self, name: str) -> None:
        """One socket less brings `name`."""
        self._counts[name] -= 1
        if self._counts[name] <= 0:
            del self._counts[name]
            if name in self._came:
                self._came.discard(name)
            else:
                self._went.add(name)

    def __len__(self) -> int:
        return len(self._counts)

    def take_changes(self) -> tuple[list[str], list[str]]:
        """Return who came and who went since the last time."""
        changes = sorted(self._came), sorted(self._went)
        self._came, self._went = set(), set()
        return changes

    def restart_changes(self) -> None:
        """Make the next changes tell everyone who is here, for a listener that knows nothing."""
        self._came, self._went = set(self._counts), set()


class Counters:
    """The figures of one edge; hot paths add to the plain attributes."""

    __slots__ = (
        "connections_active",
        "connections_closed",
        "connections_opened",
        "errors",
        "latency",
        "learners",
        "messages_received",
        "messages_sent",
        "rooms",
        "users",
    )

    def __init__(self) -> None:
        """Start at zero."""
        self.connections_opened = 0
        self.connections_closed = 0
        self.connections_active = 0
        self.messages_sent = 0
        self.messages_received = 0
        self.errors = 0
        self.latency = Latency()
        self.users = Presence()
        self.learners = Presence()
        self.rooms = Presence()
