"""Merges the reports of any number of edges into the fleet's metrics. Pure: no transport, no
database.

It keeps two kinds of numbers of each edge. *Counters* only grow: what an edge has counted since it
started is remembered by its id, so that an edge that reports everything again (its stream broke, or
this service restarted) adds only what is new. *Gauges* (who and what is there now) belong to an
edge's stream and go with it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from metrics_service.latency import BUCKET_COUNT, EMPTY, Histogram
from metrics_service.window import LastMinute
from service_runtime import validation

EDGE_MEMORY_MS = 7 * 24 * 3600 * 1000
"""How long the counters of a silent edge are remembered; one that returns later counts as new."""

LARGEST_COUNT = 2**48
"""Highest count in one report, so that sums cannot overflow the fields they are sent in."""


class BadReportError(Exception):
    """A report contradicts itself or its stream; it has changed nothing."""


class SupersededError(Exception):
    """A newer stream of the same edge has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCounters:
    """Counters."""

    connections_opened: int = 0
    connections_closed: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    errors: int = 0
    latency: Histogram = EMPTY

    @property
    def messages(self) -> int:
        """Messages of both directions."""
        return self.messages_sent + self.messages_received

    def plus(self, other: FleetCounters) -> FleetCounters:
        """Return both together."""
        return FleetCounters(
            connections_opened=self.connections_opened + other.connections_opened,
            connections_closed=self.connections_closed + other.connections_closed,
            messages_sent=self.messages_sent + other.messages_sent,
            messages_received=self.messages_received + other.messages_received,
            errors=self.errors + other.errors,
            latency=self.latency.plus(other.latency),
        )

    def since(self, earlier: FleetCounters) -> FleetCounters:
        """Return what came after `earlier`, a former state of this one.

        If a counter went down, counting has restarted (another process under the same id) and
        everything is new.
        """
        if self._any_below(earlier):
            return self
        return FleetCounters(
            connections_opened=self.connections_opened - earlier.connections_opened,
            connections_closed=self.connections_closed - earlier.connections_closed,
            messages_sent=self.messages_sent - earlier.messages_sent,
            messages_received=self.messages_received - earlier.messages_received,
            errors=self.errors - earlier.errors,
            latency=self.latency.since(earlier.latency),
        )

    def _any_below(self, earlier: FleetCounters) -> bool:
        return (
            self.connections_opened < earlier.connections_opened
            or self.connections_closed < earlier.connections_closed
            or self.messages_sent < earlier.messages_sent
            or self.messages_received < earlier.messages_received
            or self.errors < earlier.errors
            or any(map(int.__lt__, self.latency.counts, earlier.latency.counts))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Ids that came and ids that went; none is in both."""

    came: frozenset[str] = frozenset()
    went: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What changed at one edge since its last report on the stream; the first one carries
    everything.
    """

    connections_active: int = 0
    counters: FleetCounters = FleetCounters()
    users: Change = Change()
    learners: Change = Change()
    rooms: Change = Change()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One edge's counters, and its last report, Unix milliseconds."""

    counters: FleetCounters
    seen_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What survives a restart: the fleet's counters, and each edge's share in them."""

    totals: FleetCounters = FleetCounters()
    edges: Mapping[str, Remembered] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSnapshot:
    """The fleet's metrics at one moment."""

    edges: int
    connections_active: int
    users_connected: int
    learners_subscribed: int
    rooms_active: int
    totals: FleetCounters
    messages_per_second: float
    recent_latency: Histogram
    """Over the last minute."""
    started_at_ms: int
    uptime_s: float


@dataclass(slots=True, eq=False)
class Stream:
    """One stream of reports, from `Aggregate.open` to `Aggregate.close`."""

    edge_id: str
    is_first_report: bool = True
    connections_active: int = 0
    users: set[str] = field(default_factory=set)
    learners: set[str] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)


class Aggregate:
    """The fleet's metrics. Not thread-safe: one event loop owns it."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        wall_ms: Callable[[], int],
        retained: Retained | None = None,
    ) -> None:
        """Start from what an earlier process has `retained`. `monotonic` gives seconds, `wall_ms`
        Unix milliseconds.
        """
        retained = retained or Retained()
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._started = monotonic()
        self._started_at_ms = wall_ms()
        self._totals = retained.totals
        self._edges = dict(retained.edges)
        self._streams: dict[str, Stream] = {}
        self._last_minute = LastMinute(monotonic)
        self._users: Counter[str] = Counter()
        self._learners: Counter[str] = Counter()
        self._rooms: Counter[str] = Counter()

    def open(self, edge_id: str) -> Stream:
        """Begin a stream of an edge's reports, in place of its older one if that is still there.

        Raises BadReportError for an unusable id.
        """
        check_edge_id(edge_id)
        if older := self._streams.get(edge_id):
            self.close(older)
        stream = self._streams[edge_id] = Stream(edge_id)
        return stream

    def close(self, stream: Stream) -> None:
        """End a stream: its edge's gauges go, its counters stay. Harmless twice."""
        if self._streams.get(stream.edge_id) is not stream:
            return
        del self._streams[stream.edge_id]
        for present, ids in self._presence(stream):
            _remove(present, ids)

    def is_open(self, stream: Stream) -> bool:
        """Return whether a stream has neither been closed nor replaced."""
        return self._streams.get(stream.edge_id) is stream

    def report(self, stream: Stream, report: Report) -> None:
        """Take one report.

        Raises SupersededError when a newer stream of the edge has been opened, BadReportError when
        the report contradicts itself; neither changes anything.
        """
        if not self.is_open(stream):
            raise SupersededError(f"edge {stream.edge_id} has opened a newer stream of reports")
        _check(report)
        self._count(stream, report.counters)
        stream.connections_active = report.connections_active
        changes = (report.users, report.learners, report.rooms)
        for (present, ids), change in zip(self._presence(stream), changes, strict=True):
            came, went = change.came - ids, change.went & ids
            present.update(came)
            _remove(present, went)
            ids |= came
            ids -= went

    def snapshot(self) -> FleetSnapshot:
        """Return the metrics now."""
        messages, latency, span_s = self._last_minute.read()
        uptime_s = self._monotonic() - self._started
        return FleetSnapshot(
            edges=len(self._streams),
            connections_active=sum(stream.connections_active for stream in self._streams.values()),
            users_connected=len(self._users),
            learners_subscribed=len(self._learners),
            rooms_active=len(self._rooms),
            totals=self._totals,
            messages_per_second=messages / min(span_s, max(1.0, uptime_s)),
            recent_latency=latency,
            started_at_ms=self._started_at_ms,
            uptime_s=uptime_s,
        )

    def retain(self) -> Retained:
        """Return what the next process needs, without edges silent for EDGE_MEMORY_MS."""
        oldest = self._wall_ms() - EDGE_MEMORY_MS
        self._edges = {
            edge_id: edge
            for edge_id, edge in self._edges.items()
            if edge.seen_at_ms >= oldest or edge_id in self._streams
        }
        return Retained(totals=self._totals, edges=dict(self._edges))

    def _count(self, stream: Stream, reported: FleetCounters) -> None:
        known = self._edges.get(stream.edge_id)
        before = known.counters if known else FleetCounters()
        if stream.is_first_report:
            now, new = reported, reported.since(before)
            stream.is_first_report = False
        else:
            now, new = before.plus(reported), reported
            self._last_minute.add(new.messages, new.latency)
        self._edges[stream.edge_id] = Remembered(counters=now, seen_at_ms=self._wall_ms())
        self._totals = self._totals.plus(new)

    def _presence(self, stream: Stream) -> tuple[tuple[Counter[str], set[str]], ...]:
        return (
            (self._users, stream.users),
            (self._learners, stream.learners),
            (self._rooms, stream.rooms),
        )


def check_edge_id(edge_id: str) -> None:
    """Raise BadReportError for an id that no edge may have."""
    if not validation.is_id(edge_id):
        raise BadReportError(f"edge_id must be {validation.ID_RULE}")


def _remove(present: Counter[str], ids: Iterable[str]) -> None:
    present.subtract(ids)
    for gone in [one for one in ids if present[one] <= 0]:
        del present[gone]


def _check(report: Report) -> None:
    for name, change in (
        ("users", report.users),
        ("learners", report.learners),
        ("rooms", report.rooms),
    ):
        if both := change.came & change.went:
            raise BadReportError(
                f"{len(both)} {name} both came and went in one report; send the net change"
            )
        if any(not 1 <= len(one) <= 128 for one in itertools.chain(change.came, change.went)):
            raise BadReportError(f"ids of {name} must have 1-128 characters")
    counters = report.counters
    latency = counters.latency
    counts = (
        report.connections_active,
        counters.connections_opened,
        counters.connections_closed,
        counters.messages,
        counters.errors,
        *latency.counts,
    )
    if not all(0 <= count <= LARGEST_COUNT for count in counts):
        raise BadReportError(f"counts must be 0-{LARGEST_COUNT}")
    if len(latency.counts) != BUCKET_COUNT:
        raise BadReportError(f"a latency histogram has at most {BUCKET_COUNT} buckets")
    if not 0 <= latency.min_ms <= latency.max_ms < float("inf") or not 0 <= latency.sum_ms < float(
        "inf"
    ):
        raise BadReportError("latencies must be finite and not negative, and min_ms at most max_ms")
