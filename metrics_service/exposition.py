"""Exports the fleet's metrics to Prometheus; none names a person.

An edge shows its own under the names of the original guide (`aivo_websocket_…`). What all edges
reported together is called `aivo_fleet_…`, so that a query that sums over edges counts nothing
twice. The fleet's metrics differ from such a sum in two ways: people, learners and rooms are
counted once wherever they are, and totals outlive every restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metrics_service.aggregate import FleetSnapshot
from metrics_service.latency import BOUNDS_MS
from metrics_service.store import Tally
from service_runtime.metrics import Buckets, Family, counter, gauge, in_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Everything that is shown."""

    fleet: FleetSnapshot
    records: Tally
    records_waiting: int


def families(metrics: Metrics) -> Iterator[Family]:
    """Yield the current metrics."""
    fleet, totals = metrics.fleet, metrics.fleet.totals
    yield gauge("aivo_fleet_edges", "Edges that report now.", fleet.edges)
    yield gauge(
        "aivo_fleet_active_connections", "Sockets open now, at all edges.", fleet.connections_active
    )
    yield gauge(
        "aivo_fleet_connected_users", "Distinct users with a socket now.", fleet.users_connected
    )
    yield gauge(
        "aivo_fleet_subscribed_learners",
        "Distinct learners watched now.",
        fleet.learners_subscribed,
    )
    yield gauge("aivo_fleet_active_rooms", "Distinct rooms with a member now.", fleet.rooms_active)
    yield counter("aivo_fleet_connections", "Sockets ever opened.", totals.connections_opened)
    yield counter("aivo_fleet_disconnections", "Sockets ever closed.", totals.connections_closed)
    yield counter("aivo_fleet_messages_sent", "Frames ever sent to browsers.", totals.messages_sent)
    yield counter(
        "aivo_fleet_messages_received",
        "Frames ever received from browsers.",
        totals.messages_received,
    )
    yield counter("aivo_fleet_errors", "Error frames ever sent.", totals.errors)
    latency_ms = Family(
        kind="histogram",
        name="aivo_fleet_latency_ms",
        meaning=(
            "Milliseconds from receiving an interaction to writing its answer, at all edges, ever."
        ),
        labels=(),
        values={(): Buckets(BOUNDS_MS, totals.latency.counts, totals.latency.sum_ms, {})},
    )
    yield latency_ms
    yield in_seconds(latency_ms)
    yield counter(
        "aivo_metrics_records_stored",
        "Message records that reached the disk.",
        metrics.records.recorded,
    )
    yield counter(
        "aivo_metrics_records_dropped",
        "Message records dropped at edges and here because a queue was full or the disk failed.",
        metrics.records.dropped,
    )
    yield gauge(
        "aivo_metrics_records_waiting",
        "Message records that wait for the disk.",
        metrics.records_waiting,
    )
