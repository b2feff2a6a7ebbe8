"""What Prometheus scrapes has the guide's names and the fleet's figures, and is consistent in itself."""

from __future__ import annotations

import asyncio
import re
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from metrics_service.aggregate import Counters, Snapshot
from metrics_service.exposition import Exposition, Figures, FleetCollector
from metrics_service.latency import EMPTY, Histogram
from metrics_service.store import Tally

DURATIONS = [0.04, 0.3, 0.3, 7.5, 9_000.0]
FIGURES = Figures(
    fleet=Snapshot(
        edges=2,
        connections_active=42,
        users_connected=38,
        learners_subscribed=156,
        rooms_active=5,
        totals=Counters(
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


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        body: str = response.read().decode()
        return body


async def test_a_scrape_has_the_guides_names_and_the_figures_of_the_moment() -> None:
    figures = [FIGURES]
    exposition = Exposition(lambda: figures[0])
    port = await exposition.start("127.0.0.1", 0)
    text = await asyncio.to_thread(scrape, port)
    await exposition.stop()

    samples = {sample.name: sample.value for family in parse(text) for sample in family.samples if not sample.labels}
    assert samples == {
        "aivo_websocket_active_connections": 42,
        "aivo_websocket_connected_users": 38,
        "aivo_websocket_subscribed_learners": 156,
        "aivo_websocket_active_rooms": 5,
        "aivo_edges": 2,
        "aivo_websocket_connections_total": 1523,
        "aivo_websocket_disconnections_total": 1481,
        "aivo_websocket_messages_sent_total": 45623,
        "aivo_websocket_messages_received_total": 42891,
        "aivo_websocket_errors_total": 12,
        "aivo_websocket_latency_ms_sum": pytest.approx(sum(DURATIONS)),
        "aivo_websocket_latency_ms_count": 5,
        "aivo_metrics_records_stored_total": 100,
        "aivo_metrics_records_dropped_total": 7,
        "aivo_metrics_records_waiting": 3,
    }


async def test_latency_is_a_cumulative_histogram_with_le_labels() -> None:
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: FIGURES))
    (latency,) = [family for family in registry.collect() if family.name == "aivo_websocket_latency_ms"]
    buckets = [(float(s.labels["le"]), s.value) for s in latency.samples if s.name.endswith("_bucket")]

    assert latency.type == "histogram"
    assert len(buckets) == 64
    assert buckets == sorted(buckets)
    for bound, value in buckets:
        assert value == sum(duration <= bound for duration in DURATIONS)


def test_the_whole_is_valid_open_metrics() -> None:
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: FIGURES))
    families = list(parse_open_metrics(open_metrics(registry).decode()))

    assert len(families) == 14
    assert all(re.fullmatch("aivo_[a-z_]+", family.name) and family.documentation for family in families)


async def test_the_port_is_free_again_after_the_stop() -> None:
    first = Exposition(lambda: FIGURES)
    port = await first.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await Exposition(lambda: FIGURES).start("127.0.0.1", port)
    await first.stop()
    await first.stop()
    second = Exposition(lambda: FIGURES)
    assert await second.start("127.0.0.1", port) == port
    await second.stop()
