"""What Prometheus is told of the fleet: the fleet's metrics under names of their own, consistent in
themselves.
"""

from __future__ import annotations

import re

import pytest

from metrics_service.aggregate import FleetCounters, FleetSnapshot
from metrics_service.exposition import Metrics, families
from metrics_service.latency import EMPTY, Histogram
from metrics_service.store import Tally
from service_runtime.metrics import Buckets

DURATIONS = [0.04, 0.3, 0.3, 7.5, 9_000.0]
FIGURES = Metrics(
    fleet=FleetSnapshot(
        edges=2,
        connections_active=42,
        users_connected=38,
        learners_subscribed=156,
        rooms_active=5,
        totals=FleetCounters(
            connections_opened=1523,
            connections_closed=1481,
            messages_sent=45623,
            messages_received=42891,
            errors=12,
            latency=Histogram.of(DURATIONS),
        ),
        messages_per_second=12.3,
        recent_latency=EMPTY,
        started_at_ms=1,
        uptime_s=2.0,
    ),
    records=Tally(recorded=100, dropped=7),
    records_waiting=3,
)


def test_each_figure_of_the_fleet_has_a_name() -> None:
    named = {
        family.name: family.values[()] for family in families(FIGURES) if family.kind != "histogram"
    }

    assert named == {
        "aivo_fleet_active_connections": 42,
        "aivo_fleet_connected_users": 38,
        "aivo_fleet_subscribed_learners": 156,
        "aivo_fleet_active_rooms": 5,
        "aivo_fleet_edges": 2,
        "aivo_fleet_connections": 1523,
        "aivo_fleet_disconnections": 1481,
        "aivo_fleet_messages_sent": 45623,
        "aivo_fleet_messages_received": 42891,
        "aivo_fleet_errors": 12,
        "aivo_metrics_records_stored": 100,
        "aivo_metrics_records_dropped": 7,
        "aivo_metrics_records_waiting": 3,
    }


def test_latency_keeps_its_buckets_and_sum() -> None:
    told = {family.name: family.values[()] for family in families(FIGURES)}
    latency, seconds = told["aivo_fleet_latency_ms"], told["aivo_fleet_latency_seconds"]

    assert isinstance(latency, Buckets)
    assert isinstance(seconds, Buckets)
    assert (seconds.counts, seconds.sum) == (latency.counts, pytest.approx(latency.sum / 1000))
    assert sum(latency.counts) == len(DURATIONS)
    assert latency.sum == pytest.approx(sum(DURATIONS))
    for place, bound in enumerate(latency.bounds):
        assert sum(latency.counts[: place + 1]) == sum(duration <= bound for duration in DURATIONS)


def test_no_figure_of_the_fleet_takes_the_name_of_an_edges_own() -> None:
    for family in families(FIGURES):
        assert re.fullmatch("aivo_(fleet|metrics)_[a-z_]+", family.name)
        assert family.meaning
