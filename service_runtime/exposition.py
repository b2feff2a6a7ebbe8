"""Serves a process's metrics to Prometheus on a port of its own.

A scrape reads the counters on the event loop that owns them and writes them out in a thread. No
metric names a person: anybody who reaches the port may read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import ThreadingWSGIServer

from service_runtime.addresses import OFF, is_loopback, parse_address
from service_runtime.metrics import Buckets, Family
from service_runtime.settings import SettingsError
from service_runtime.version import VERSION

logger = logging.getLogger(__name__)

PATH = "/metrics"
READ_TIMEOUT_S = 5.0
"""How long a scrape waits for the event loop before it fails."""
_CLIENT_TIMEOUT_S = 10.0
_POLL_S = 0.1
"""How soon the listener's thread notices that it should stop."""

Read = Callable[[], Iterable[Family]]


class Exposition:
    """An HTTP listener in a thread of its own."""

    def __init__(self, read: Read) -> None:
        """Show what `read` returns, called on the loop that `start` is awaited on."""
        self._read = read
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; raises OSError when the address cannot be bound."""
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        registry.register(_Collector(self._read, asyncio.get_running_loop()))
        kind = _Server6 if ":" in host else _Server
        self._server = make_server(
            host, port, _only_metrics(make_wsgi_app(registry)), kind, _Handler
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="exposition"
        )
        self._thread.daemon = True
        self._thread.start()
        self.port = self._server.server_port
        return self.port

    async def stop(self) -> None:
        """Stop listening; a scrape under way may get no answer."""
        if self._server is None or self._thread is None:
            return
        # Not on the loop: a scrape under way waits for the loop.
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)
        self._server = self._thread = None


@asynccontextmanager
async def exposed(listen: str, read: Read, *, variable: str) -> AsyncIterator[None]:
    """Show metrics at `listen` (host:port, or `off`) while the block runs.

    Raises SettingsError that names the `variable` the address came from when it cannot be had.
    """
    if listen == OFF:
        yield
        return
    exposition = Exposition(read)
    try:
        port = await exposition.start(*parse_address(listen))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{variable}: cannot listen on {listen}: {reason}") from error
    logger.log(
        logging.DEBUG if is_loopback(listen) else logging.WARNING,
        "anybody who reaches this address can read the metrics",
        extra={"address": listen, "exposition_port": port},
    )
    try:
        yield
    finally:
        await exposition.stop()


class _Collector:
    """Asks the loop for the metrics of the moment, at each scrape."""

    def __init__(self, read: Read, loop: asyncio.AbstractEventLoop) -> None:
        self._read = read
        self._loop = loop

    def describe(self) -> list[Metric]:
        """Keep the registry from reading metrics when this collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        asked = time.perf_counter()

        async def read() -> tuple[list[Family], float]:
            waited_s = time.perf_counter() - asked
            return list(self._read()), waited_s

        families, waited_s = asyncio.run_coroutine_threadsafe(read(), self._loop).result(
            READ_TIMEOUT_S
        )
        build = GaugeMetricFamily("aivo_build_info", "Always 1.", labels=("version",))
        build.add_metric((VERSION,), 1)
        yield build
        yield GaugeMetricFamily(
            "aivo_event_loop_wait_seconds",
            "Seconds that this scrape waited until the event loop had time for it, as everything"
            " does.",
            value=waited_s,
        )
        yield from map(_metric, families)


def _metric(family: Family) -> Metric:
    metric: Any
    if family.kind == "histogram":
        metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
        for labels, value in family.values.items():
            assert isinstance(value, Buckets)  # noqa: S101 - what `metrics.histogram` makes
            metric.add_metric(labels, list(_cumulative(value)), value.sum)
        return metric  # type: ignore[no-any-return]
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(family.name, family.meaning, labels=family.labels)
    for labels, value in family.values.items():
        metric.add_metric(labels, value)
    return metric  # type: ignore[no-any-return]


def _cumulative(buckets: Buckets) -> Iterator[tuple[str, float, Exemplar | None]]:
    below = 0
    for index, count in enumerate(buckets.counts):
        below += count
        bound = _bound(buckets.bounds[index]) if index < len(buckets.bounds) else "+Inf"
        seen = buckets.exemplars.get(index)
        yield (
            bound,
            below,
            Exemplar({"trace_id": seen.trace_id}, seen.value, seen.at_s) if seen else None,
        )


def _bound(value: float) -> str:
    # OpenMetrics wants a point or an exponent in each bound.
    text = f"{value:.6g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _only_metrics(app: Callable[..., Any]) -> Callable[..., Any]:
    """Serve only the one path."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [f"The metrics are at {PATH}.\n".encode()]
        return app(environ, start_response)

    return answer


class _Server(ThreadingWSGIServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Log a scrape that broke off, without its details on standard error."""
        logger.debug("a scrape broke off", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Keep scrapes out of the log."""
