"""Counts what an edge does, cheaply, and tells what changed since the last report."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict

from edge.frames.codes import RETRYABLE
from service_runtime.metrics import Exemplar

BUCKETS = 64
"""Bucket i of the latency histogram holds durations up to 0.05 · 2^(i/4) ms, the last one
everything longer.
"""


class Latency:
    """A histogram of durations."""

    __slots__ = ("counts", "exemplars", "max_ms", "min_ms", "sum_ms")

    def __init__(self) -> None:
        """Start empty."""
        self.counts = [0] * BUCKETS
        self.sum_ms = 0.0
        self.min_ms = math.inf
        self.max_ms = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By bucket, the newest duration that has a trace."""

    def observe(self, seconds: float, trace_id: str = "") -> None:
        """Count one duration; give the `trace_id` of what took it only when that trace is
        sampled.
        """
        ms = seconds * 1000.0
        index = 0 if ms <= 0.05 else min(BUCKETS - 1, math.ceil(4.0 * math.log2(ms * 20.0)))
        self.counts[index] += 1
        self.sum_ms += ms
        if ms < self.min_ms:
            self.min_ms = ms
        if ms > self.max_ms:
            self.max_ms = ms
        if trace_id:
            self.exemplars[index] = Exemplar(trace_id, ms, time.time())

    def absorb(self, other: Latency) -> None:
        """Add what another histogram counted."""
        self.counts = [
            mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.sum_ms += other.sum_ms
        self.min_ms = min(self.min_ms, other.min_ms)
        self.max_ms = max(self.max_ms, other.max_ms)
        self.exemplars |= other.exemplars


class Presence:
    """Names that are present at this edge, counted by socket."""

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
        """Return the names that appeared and disappeared since the last call."""
        changes = sorted(self._came), sorted(self._went)
        self._came, self._went = set(), set()
        return changes

    def restart_changes(self) -> None:
        """Let the next changes name everyone present, for a new listener."""
        self._came, self._went = set(self._counts), set()


class EdgeCounters:
    """The metrics of one edge; hot paths add to the plain attributes."""

    __slots__ = (
        "_earlier_latency",
        "closes",
        "connections_active",
        "connections_closed",
        "connections_opened",
        "errors",
        "errors_by_code",
        "latency",
        "learners",
        "messages_received",
        "messages_sent",
        "received",
        "resumes",
        "revisions_skipped",
        "room_events_sent",
        "rooms",
        "sent",
        "slow_readers",
        "slow_readings",
        "sockets_opened",
        "updates_sent",
        "users",
    )

    def __init__(self) -> None:
        """Start at zero."""
        self.sockets_opened = 0
        """WebSocket handshakes completed, also of those that then did not authenticate."""
        self.connections_opened = 0
        self.connections_closed = 0
        self.connections_active = 0
        self.closes: defaultdict[int, int] = defaultdict(int)
        """Sockets that ended, by close code; 1006 when none was sent."""
        self.messages_sent = 0
        self.messages_received = 0
        self.received: defaultdict[type, int] = defaultdict(int)
        """Frames understood, by their class."""
        self.sent: defaultdict[type, int] = defaultdict(int)
        """Frames sent to one socket, by their class, except answers to interactions, which
        `latency` counts.
        """
        self.updates_sent = 0
        """State updates, once per socket that one went to."""
        self.revisions_skipped = 0
        """Revisions that subscribers of the latest state skipped, because a later one was there."""
        self.room_events_sent: Counter[str] = Counter()
        """By kind of event, once per socket."""
        self.resumes = {True: 0, False: 0}
        """Resuming subscriptions, by whether they could be continued."""
        self.slow_readers = 0
        """Sockets that read too slowly now."""
        self.slow_readings = 0
        """How often a socket began to."""
        self.errors = 0
        self.errors_by_code = dict.fromkeys(RETRYABLE, 0)
        self.latency = Latency()
        """Of the answers since `take_latency`."""
        self._earlier_latency = Latency()
        self.users = Presence()
        self.learners = Presence()
        self.rooms = Presence()

    def count_error(self, code: str) -> None:
        """Count one error frame."""
        self.errors += 1
        self.errors_by_code[code] += 1

    def take_latency(self) -> Latency:
        """Return the answers since the last time."""
        recent, self.latency = self.latency, Latency()
        self._earlier_latency.absorb(recent)
        return recent

    def whole_latency(self) -> Latency:
        """Return all answers ever."""
        whole = Latency()
        whole.absorb(self._earlier_latency)
        whole.absorb(self.latency)
        return whole
