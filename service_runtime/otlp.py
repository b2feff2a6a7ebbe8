"""Sends finished spans to a collector, OTLP over gRPC, from a thread of its own. The only module
that imports OpenTelemetry.

Endpoint, headers, TLS, queue and batches are the SDK's own OTEL_* variables. The queue is bounded:
while the collector is down the oldest spans are dropped.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service_runtime.spans import Kind, Span
from service_runtime.trace_context import TraceContext

FLUSH_S: Final = 3.0
"""How long spans that wait at the end may take to be sent."""

_SCOPE: Final = InstrumentationScope("aivo")
_KINDS: Final = tuple(SpanKind)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_DIRECT: Final[Any] = (("grpc.enable_http_proxy", 0),)
"""Not through the proxy that the environment may name: a collector is one of our own."""
_OK: Final = Status()


class Exporter:
    """Owns the queue of spans and the thread that sends them."""

    def __init__(self, name: str) -> None:
        """Begin; `name` is the service's unless the environment has another."""
        # One line when spans could not be sent is enough, without its attempts.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        # The environment (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) takes precedence.
        told = Resource.create({})
        nameless = str(told.attributes["service.name"]).startswith("unknown_service")
        ours = {"service.name": name} if nameless else {}
        self._resource = Resource({"service.namespace": "aivo", **told.attributes, **ours})
        self._exporter = OTLPSpanExporter(channel_options=_DIRECT)
        self._processor = BatchSpanProcessor(self._exporter)

    def export(self, span: Span) -> None:
        """Put a span into the queue."""
        parent = span.parent
        self._processor.on_end(
            ReadableSpan(
                span.name,
                _context(span.context),
                None
                if parent is None
                else _context(parent, is_remote=span.kind in (Kind.SERVER, Kind.CONSUMER)),
                self._resource,
                {**span.attributes, "error.type": span.error} if span.error else span.attributes,
                links=[Link(_context(link)) for link in span.links],
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR) if span.error else _OK,
                start_time=span.start_ns,
                end_time=max(span.start_ns, span.end_ns),
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Send what waits, within `FLUSH_S`, and end the thread."""
        # The processor would wait for the exporter's retries, which only the exporter itself can
        # end.
        impatience = threading.Timer(FLUSH_S, self._exporter.shutdown)
        impatience.start()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        impatience.cancel()


def _context(context: TraceContext, *, is_remote: bool = False) -> SpanContext:
    flags = _SAMPLED if context.sampled else _UNSAMPLED
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote, flags)
