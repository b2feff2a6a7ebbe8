"""A collector of spans for tests: receives OTLP over real gRPC and keeps every span, with its
service.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

WAIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span that was received."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    """(trace id, span id) of each."""
    error: bool

    @property
    def id(self) -> tuple[str, str]:
        """What a link to it has."""
        return self.trace_id, self.span_id


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self._news = threading.Condition(threading.RLock())
        self.spans: list[Seen] = []
        self.raw = b""
        """Everything received, as it came."""
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a process must find in its environment to send here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "",
            "OTEL_SERVICE_NAME": "",
        }

    def Export(self, request: Any, context: Any) -> Any:
        """Take a batch."""
        with self._news:
            self.raw += request.SerializeToString()
            for of_resource in request.resource_spans:
                service = _attributes(of_resource.resource.attributes)["service.name"]
                for of_scope in of_resource.scope_spans:
                    self.spans += [_seen(service, span) for span in of_scope.spans]
            self._news.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace_id: str) -> list[Seen]:
        """Return the spans of one trace received so far, by the time of their beginning."""
        with self._news:
            return sorted(
                (span for span in self.spans if span.trace_id == trace_id),
                key=lambda span: span.start_ns,
            )

    def until(self, trace_id: str, complete: Callable[[list[Seen]], bool]) -> list[Seen]:
        """Return a trace's spans once they are complete; blocks, and fails after WAIT_S with what
        there is.
        """
        deadline = time.monotonic() + WAIT_S
        with self._news:
            while not complete(found := self.trace(trace_id)):
                if not self._news.wait(deadline - time.monotonic()):
                    names = [(span.service, span.name) for span in found]
                    raise AssertionError(f"trace {trace_id} has only {names}")
            return found


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _seen(service: str, span: trace_pb2.Span) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
