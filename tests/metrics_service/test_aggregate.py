"""Any number of edges becomes one set of metrics, in whatever order they report and however often
they start again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_service.aggregate import (
    EDGE_MEMORY_MS,
    LARGEST_COUNT,
    Aggregate,
    BadReportError,
    Change,
    FleetCounters,
    FleetSnapshot,
    Report,
    Retained,
    SupersededError,
)
from metrics_service.latency import EMPTY, Histogram


class Clock:
    """A clock that goes when told."""

    def __init__(self, seconds: float = 1_000.0) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.seconds * 1000)


def fleet(clock: Clock | None = None, retained: Retained | None = None) -> Aggregate:
    clock = clock or Clock()
    return Aggregate(monotonic=clock.monotonic, wall_ms=clock.wall_ms, retained=retained)


def came(*ids: str) -> Change:
    return Change(came=frozenset(ids))


def went(*ids: str) -> Change:
    return Change(went=frozenset(ids))


def presence(snapshot: FleetSnapshot) -> tuple[int, int, int, int]:
    return (
        snapshot.connections_active,
        snapshot.users_connected,
        snapshot.learners_subscribed,
        snapshot.rooms_active,
    )


def test_a_fleet_without_edges_is_all_zeros() -> None:
    snapshot = fleet().snapshot()

    assert presence(snapshot) == (0, 0, 0, 0)
    assert snapshot.totals == FleetCounters()
    assert (snapshot.messages_per_second, snapshot.edges) == (0.0, 0)


def test_users_learners_and_rooms_at_several_edges_count_once() -> None:
    aggregate = fleet()
    first, second = aggregate.open("a"), aggregate.open("b")
    report = Report(connections_active=3, users=came("u", "v"), learners=came("l"), rooms=came("r"))
    aggregate.report(first, report)
    aggregate.report(second, replace(report, users=came("u", "w")))

    assert presence(aggregate.snapshot()) == (6, 3, 1, 1)


def test_what_is_still_at_another_edge_stays_when_it_leaves_one() -> None:
    aggregate = fleet()
    first, second = aggregate.open("a"), aggregate.open("b")
    for stream in (first, second):
        aggregate.report(stream, Report(users=came("u"), rooms=came("r")))
    aggregate.report(first, Report(users=went("u"), rooms=went("r")))

    assert presence(aggregate.snapshot()) == (0, 1, 0, 1)
    aggregate.report(second, Report(users=went("u")))
    assert presence(aggregate.snapshot()) == (0, 0, 0, 1)


def test_departures_of_strangers_and_repeated_arrivals_change_nothing() -> None:
    aggregate = fleet()
    stream = aggregate.open("a")
    aggregate.report(stream, Report(users=came("u")))
    aggregate.report(stream, Report(users=Change(came=frozenset({"u"}), went=frozenset({"x"}))))
    aggregate.report(stream, Report(users=went("u")))

    assert aggregate.snapshot().users_connected == 0


def test_a_dead_edges_gauges_go_and_its_counters_stay() -> None:
    aggregate = fleet()
    first, second = aggregate.open("a"), aggregate.open("b")
    for stream in (first, second):
        aggregate.report(
            stream,
            Report(
                connections_active=2,
                users=came("u"),
                counters=FleetCounters(connections_opened=5, messages_sent=7),
            ),
        )
    aggregate.close(first)
    aggregate.close(first)

    snapshot = aggregate.snapshot()
    assert presence(snapshot) == (2, 1, 0, 0)
    assert snapshot.totals == FleetCounters(connections_opened=10, messages_sent=14)
    assert snapshot.edges == 1


def test_a_newer_stream_takes_over_and_the_late_end_of_the_older_takes_nothing_away() -> None:
    aggregate = fleet()
    older = aggregate.open("a")
    aggregate.report(older, Report(connections_active=4, users=came("u", "v")))
    newer = aggregate.open("a")
    aggregate.report(newer, Report(connections_active=3, users=came("u")))
    aggregate.close(older)

    assert presence(aggregate.snapshot()) == (3, 1, 0, 0)
    with pytest.raises(SupersededError):
        aggregate.report(older, Report(counters=FleetCounters(errors=1)))
    assert aggregate.snapshot().totals.errors == 0


def test_an_edge_that_starts_over_under_its_old_id_counts_from_zero_again() -> None:
    aggregate = fleet()
    aggregate.report(
        aggregate.open("a"), Report(counters=FleetCounters(messages_sent=10, messages_received=10))
    )
    aggregate.report(
        aggregate.open("a"), Report(counters=FleetCounters(messages_sent=12, messages_received=3))
    )

    assert aggregate.snapshot().totals == FleetCounters(messages_sent=22, messages_received=13)


def test_an_edge_unheard_of_for_long_is_forgotten_but_what_it_counted_is_not() -> None:
    clock = Clock()
    aggregate = fleet(clock)
    gone, there = aggregate.open("gone"), aggregate.open("there")
    for stream in (gone, there):
        aggregate.report(stream, Report(counters=FleetCounters(errors=1)))
    aggregate.close(gone)
    clock.seconds += EDGE_MEMORY_MS / 1000 + 1

    retained = aggregate.retain()

    assert set(retained.edges) == {"there"}
    assert retained.totals.errors == 2


BAD = {
    "a user both came and went": Report(users=Change(came=frozenset("u"), went=frozenset("u"))),
    "an empty id": Report(rooms=came("")),
    "a long id": Report(learners=went("x" * 129)),
    "too many buckets": Report(counters=FleetCounters(latency=Histogram(counts=(0,) * 65))),
    "a negative duration": Report(counters=FleetCounters(latency=Histogram(min_ms=-1.0))),
    "least above greatest": Report(
        counters=FleetCounters(latency=Histogram(min_ms=2.0, max_ms=1.0))
    ),
    "a duration that is no number": Report(
        counters=FleetCounters(latency=Histogram(max_ms=float("nan")))
    ),
    "an endless sum": Report(counters=FleetCounters(latency=Histogram(sum_ms=float("inf")))),
    "a count that would overflow the sums": Report(
        counters=FleetCounters(messages_sent=LARGEST_COUNT + 1)
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_report_changes_nothing(bad: Report) -> None:
    aggregate = fleet()
    stream = aggregate.open("a")
    aggregate.report(
        stream, Report(connections_active=1, users=came("u"), counters=FleetCounters(errors=1))
    )
    before = aggregate.snapshot(), aggregate.retain()

    with pytest.raises(BadReportError):
        aggregate.report(stream, replace(bad, connections_active=9))

    assert (aggregate.snapshot(), aggregate.retain()) == before


@pytest.mark.parametrize("edge_id", ["", "x" * 129, "with space", "ä", "line\n"])
def test_an_unusable_edge_id_is_refused(edge_id: str) -> None:
    with pytest.raises(BadReportError):
        fleet().open(edge_id)


def test_the_last_minute_has_what_came_in_it_and_lifetime_has_all() -> None:
    clock = Clock()
    aggregate = fleet(clock)
    clock.seconds += 600
    stream = aggregate.open("a")
    aggregate.report(stream, Report())
    aggregate.report(
        stream, Report(counters=FleetCounters(messages_sent=59, latency=Histogram.of([100.0])))
    )
    clock.seconds += 30
    aggregate.report(
        stream,
        Report(counters=FleetCounters(messages_received=59, latency=Histogram.of([1.0] * 3))),
    )

    snapshot = aggregate.snapshot()
    assert snapshot.messages_per_second == pytest.approx(2.0)
    assert snapshot.recent_latency.percentile(1.0) == 100.0
    clock.seconds += 30
    snapshot = aggregate.snapshot()
    assert snapshot.messages_per_second == pytest.approx(1.0)
    assert snapshot.recent_latency.max_ms == 1.0
    assert (snapshot.totals.latency.count, snapshot.totals.latency.max_ms) == (4, 100.0)


def test_what_a_first_report_carries_from_the_past_is_not_taken_for_the_last_minute() -> None:
    clock = Clock()
    aggregate = fleet(clock)
    clock.seconds += 5
    aggregate.report(
        aggregate.open("a"),
        Report(counters=FleetCounters(messages_sent=10**6, latency=Histogram.of([900.0]))),
    )

    snapshot = aggregate.snapshot()
    assert (snapshot.messages_per_second, snapshot.recent_latency) == (0.0, EMPTY)
    assert snapshot.totals.messages_sent == 10**6


def test_a_young_service_divides_by_its_age() -> None:
    clock = Clock()
    aggregate = fleet(clock)
    stream = aggregate.open("a")
    aggregate.report(stream, Report())
    clock.seconds += 5
    aggregate.report(stream, Report(counters=FleetCounters(messages_sent=50)))

    assert aggregate.snapshot().messages_per_second == pytest.approx(10.0)


@dataclass
class Edge:
    """An edge as the contract describes it: it tells everything first, then what changed."""

    name: str
    counters: FleetCounters = FleetCounters()
    told: FleetCounters = FleetCounters()
    users: set[str] = field(default_factory=set)
    told_users: set[str] = field(default_factory=set)

    def happen(self, sent: int, durations: list[float], users: set[str]) -> None:
        new = FleetCounters(
            connections_opened=len(users - self.users),
            messages_sent=sent,
            latency=Histogram.of(durations),
        )
        self.counters = self.counters.plus(new)
        self.users = set(users)

    def report(self, *, first: bool) -> Report:
        if first:
            self.told, self.told_users = FleetCounters(), set()
        report = Report(
            connections_active=len(self.users),
            counters=self.counters.since(self.told),
            users=Change(
                came=frozenset(self.users - self.told_users),
                went=frozenset(self.told_users - self.users),
            ),
        )
        self.told, self.told_users = self.counters, set(self.users)
        return report


happenings = st.tuples(
    st.integers(0, 50),
    st.lists(st.sampled_from([0.25, 1.0, 4.0, 64.0, 4096.0]), max_size=4),
    st.sets(st.sampled_from("uvwx"), max_size=3),
)
histories = st.dictionaries(
    st.sampled_from("abcd"), st.lists(happenings, min_size=1, max_size=5), min_size=1
)


def reports_of(
    histories: dict[str, list[tuple[int, list[float], set[str]]]],
) -> dict[str, list[Report]]:
    reports = {}
    for name, history in histories.items():
        edge = Edge(name)
        reports[name] = []
        for index, happening in enumerate(history):
            edge.happen(*happening)
            reports[name].append(edge.report(first=index == 0))
    return reports


def merged(reports: dict[str, list[Report]], turns: list[str]) -> FleetSnapshot:
    aggregate = fleet()
    streams = {name: aggregate.open(name) for name in sorted(reports)}
    queues = {name: list(queue) for name, queue in reports.items()}
    for name in turns:
        aggregate.report(streams[name], queues[name].pop(0))
    return aggregate.snapshot()


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_different_edges_reports_does_not_matter(histories: dict, random) -> None:  # type: ignore[no-untyped-def, type-arg]
    reports = reports_of(histories)
    turns = [name for name, queue in reports.items() for _ in queue]
    shuffled = random.sample(turns, len(turns))

    assert merged(reports, turns) == merged(reports, shuffled)


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"), happenings, st.sampled_from(["tell", "lose", "reopen", "restart"])
    ),
    max_size=25,
)


@given(steps)
def test_streams_that_break_and_a_service_that_restarts_neither_lose_nor_double(
    steps: list,
) -> None:  # type: ignore[type-arg]
    """`lose`: a report is sent and never arrives, then the stream is gone; `restart`: with totals
    saved at any time.
    """
    edges = {name: Edge(name) for name in "abc"}
    aggregate, saved, streams = fleet(), Retained(), {}
    for name, happening, fault in steps:
        edge = edges[name]
        edge.happen(*happening)
        if fault == "restart":
            aggregate, streams = fleet(retained=saved), {}
            continue
        if fault == "lose":
            edge.report(first=False)
            if stream := streams.pop(name, None):
                aggregate.close(stream)
            continue
        is_first = fault == "reopen" or name not in streams
        if is_first:
            streams[name] = aggregate.open(name)
        aggregate.report(streams[name], edge.report(first=is_first))
        if len(happening[1]) % 2:
            saved = aggregate.retain()
    for name, edge in edges.items():
        aggregate.report(aggregate.open(name), edge.report(first=True))

    snapshot = aggregate.snapshot()
    expected = FleetCounters()
    for edge in edges.values():
        expected = expected.plus(edge.counters)
    assert replace(snapshot.totals, latency=EMPTY) == replace(expected, latency=EMPTY)
    assert snapshot.totals.latency.counts == expected.latency.counts
    assert snapshot.totals.latency.sum_ms == pytest.approx(expected.latency.sum_ms)
    assert snapshot.totals.latency.min_ms == expected.latency.min_ms
    assert snapshot.totals.latency.max_ms == expected.latency.max_ms
    assert snapshot.users_connected == len(set().union(*(edge.users for edge in edges.values())))
    assert snapshot.connections_active == sum(len(edge.users) for edge in edges.values())
