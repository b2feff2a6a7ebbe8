"""Shows the fleet's figures to Prometheus under the names of the original guide; it has no names of people."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from metrics_service.aggregate import Snapshot
from metrics_service.latency import BOUNDS_MS, Histogram
from metrics_service.store import Tally

READ_TIMEOUT_S = 5.0
"""How long a scrape waits for the event loop before it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that is shown."""

    fleet: Snapshot
    records: Tally
    records_waiting: int


class FleetCollector:
    """Renders the figures of the moment at each scrape."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        """Read the figures by `read`, which may be called in any thread."""
        self._read = read

    def describe(self) -> list[Metric]:
        """Keep the registry from reading figures already when it learns of this collector."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as a `prometheus_client` registry asks for them."""
        figures = self._read()
        fleet, totals = figures.fleet, figures.fleet.totals
        yield _gauge("aivo_websocket_active_connections", "Sockets open now, at all edges.", fleet.connections_active)
        yield _gauge("aivo_websocket_connected_users", "Distinct users with a socket now.", fleet.users_connected)
        yield _gauge("aivo_websocket_subscribed_learners", "Distinct learners watched now.", fleet.learners_subscribed)
        yield _gauge("aivo_websocket_active_rooms", "Distinct rooms with a member now.", fleet.rooms_active)
        yield _gauge("aivo_edges", "Edges that report now.", fleet.edges)
        yield _counter("aivo_websocket_connections", "Sockets ever opened.", totals.connections_opened)
        yield _counter("aivo_websocket_disconnections", "Sockets ever closed.", totals.connections_closed)
        yield _counter("aivo_websocket_messages_sent", "Frames ever sent to browsers.", totals.messages_sent)
        yield _counter(
            "aivo_websocket_messages_received", "Frames ever received from browsers.", totals.messages_received
        )
        yield _counter("aivo_websocket_errors", "Error frames and failed handshakes ever.", totals.errors)
        yield _histogram(
            "aivo_websocket_latency_ms",
            "Milliseconds from receiving a frame to writing its answer.",
            totals.latency,
        )
        yield _counter(
            "aivo_metrics_records_stored", "Message records that reached the disk.", figures.records.recorded
        )
        yield _counter(
            "aivo_metrics_records_dropped",
            "Message records dropped at edges and here because a queue was full or the disk failed.",
            figures.records.dropped,
        )
        yield _gauge("aivo_metrics_records_waiting", "Message records that wait for the disk.", figures.records_waiting)


class Exposition:
    """An HTTP server in a thread of its own; the figures are read on the event loop that owns them."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        """Show what `read` returns, called on the loop that `start` is awaited on."""
        self._read = read
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; raises OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()

        async def read() -> Figures:
            return self._read()

        def read_from_thread() -> Figures:
            return asyncio.run_coroutine_threadsafe(read(), loop).result(READ_TIMEOUT_S)

        registry = CollectorRegistry()
        registry.register(FleetCollector(read_from_thread))
        self._server, self._thread = start_http_server(port, host, registry)
        self.port = self._server.server_port
        return self.port

    async def stop(self) -> None:
        """Stop listening; a scrape under way still gets its answer."""
        if self._server is None or self._thread is None:
            return
        # Not on the loop: a scrape under way waits for the loop.
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)
        self._server = self._thread = None


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(name, meaning, value=value)


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    buckets, below = [], 0
    for bound, count in zip((*BOUNDS_MS, float("inf")), histogram.counts, strict=True):
        below += count
        buckets.append((f"{bound:.6g}" if bound < float("inf") else "+Inf", below))
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=histogram.sum_ms)
