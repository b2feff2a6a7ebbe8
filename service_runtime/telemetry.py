"""Decides which work is traced and records its finished spans.

Work that is not sampled makes no span. Spans are recorded when they are over, with their times and
ids; the ids are already in the `traceparent` that travelled with the work, so the hot path needs no
context variables. Attributes never hold tokens, addresses of people, ids of learners, or anything
that somebody wrote.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from service_runtime import trace_context
from service_runtime.settings import SettingsError
from service_runtime.spans import Attributes, Kind, Span
from service_runtime.trace_context import TraceContext

MAX_LINKS: Final = 128
"""Links of one span; OpenTelemetry's default for OTEL_SPAN_LINK_COUNT_LIMIT."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_LOW_64_BITS: Final = slice(16, 32)
_EVERY: Final = 1 << 64

now_ns = time.time_ns
"""The clock of spans: Unix nanoseconds."""


class Sampler(NamedTuple):
    """Decides once per trace whether it is recorded."""

    bound: int
    """Traces whose id's low 64 bits are less are recorded, as OpenTelemetry's TraceIdRatioBased has
    it.
    """
    parent_based: bool
    """Whether a caller's own decision is kept."""

    def decide(self, trace_id: str, parent: TraceContext | None) -> bool:
        """Return whether to record a trace that `parent` may have begun."""
        if parent is not None and self.parent_based:
            return parent.sampled
        return self.bound > 0 and int(trace_id[_LOW_64_BITS], 16) < self.bound


class Tracer:
    """Begins traces and takes finished spans."""

    def __init__(self, sampler: Sampler, export: Callable[[Span], None]) -> None:
        """`export` must neither block nor fail."""
        self._sampler = sampler
        self._export = export

    def begin(self, parent: TraceContext | None = None) -> TraceContext:
        """Return the context of new work, in the caller's trace or a new one, and whether it is
        sampled.
        """
        context = trace_context.new_root() if parent is None else trace_context.child(parent)
        sampled = self._sampler.decide(context.trace_id, parent)
        return context if sampled is context.sampled else context._replace(sampled=sampled)

    def record(
        self,
        name: str,
        context: TraceContext,
        parent: TraceContext | None,
        start_ns: int,
        *,
        kind: Kind = Kind.INTERNAL,
        end_ns: int | None = None,
        attributes: Attributes | None = None,
        links: Sequence[TraceContext] = (),
        error: str = "",
    ) -> None:
        """Record work that is over, until now unless `end_ns` says otherwise. Only for sampled
        contexts.
        """
        end_ns = now_ns() if end_ns is None else end_ns
        self._export(
            Span(
                name,
                context,
                parent,
                kind,
                start_ns,
                end_ns,
                attributes or {},
                tuple(links[:MAX_LINKS]),
                error,
            )
        )


@asynccontextmanager
async def exporting(name: str, environ: Mapping[str, str]) -> AsyncIterator[Tracer | None]:
    """Yield a tracer that exports as the standard OTEL_* variables say, or None when no endpoint is
    set.

    `name` is the service's unless OTEL_SERVICE_NAME says otherwise. At the end spans that still
    wait are sent, for a few seconds at most. Raises SettingsError for what we cannot do.
    """
    if not _wanted(environ):
        yield None
        return
    sampler = read_sampler(environ)
    # Only here, so that processes without tracing neither load nor run any of it.
    from service_runtime.otlp import Exporter

    exporter = Exporter(name)
    try:
        yield Tracer(sampler, exporter.export)
    finally:
        await asyncio.shield(asyncio.to_thread(exporter.close))


def _wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(
        map(environ.get, _ENDPOINTS)
    ):
        return False
    chosen = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if chosen == "none":
        return False
    if chosen != "otlp":
        raise SettingsError(f"OTEL_TRACES_EXPORTER={chosen}: only otlp and none are possible")
    for variable in _PROTOCOLS:
        if environ.get(variable, "grpc") not in ("", "grpc"):
            raise SettingsError(f"{variable}={environ[variable]}: only grpc is possible")
    return True


def read_sampler(environ: Mapping[str, str]) -> Sampler:
    """Return the sampler that OTEL_TRACES_SAMPLER and _ARG choose. Raises SettingsError.

    Source: OpenTelemetry specification, "SDK Environment Variables"; the default is
    parentbased_always_on.
    """
    name = environ.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
    kind = name.removeprefix("parentbased_")
    ratios = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
    if kind not in ratios:
        known = ", ".join([*ratios, *(f"parentbased_{one}" for one in ratios)])
        raise SettingsError(f"OTEL_TRACES_SAMPLER={name}: it must be one of {known}")
    ratio = ratios[kind]
    if ratio is None:
        ratio = _ratio(environ.get("OTEL_TRACES_SAMPLER_ARG") or "1")
    return Sampler(round(ratio * _EVERY), name != kind)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise SettingsError(f"OTEL_TRACES_SAMPLER_ARG={text}: it must be a number from 0 to 1")
    return ratio


# Calls that happen now and then carry their trace in the context of the task, and from process to
# process in metadata.

_current: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)


def current() -> TraceContext | None:
    """Return the sampled trace that rare calls made here belong to."""
    return _current.get()


@contextmanager
def within(context: TraceContext) -> Iterator[None]:
    """Let calls made meanwhile, and tasks begun meanwhile, belong to `context`."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


Metadata = tuple[tuple[str, str], ...]


def outgoing(metadata: Metadata) -> Metadata:
    """Return `metadata` with the present trace, if there is one."""
    context = _current.get()
    return (
        metadata if context is None else (*metadata, ("traceparent", trace_context.render(context)))
    )


def rpc_name(method: str) -> str:
    """Return what to call a span of "package.Service/Method": the whole name, which is among its
    attributes, is longer than Jaeger's tree is wide.
    """
    service, _, name = method.rpartition("/")
    return f"{service.rpartition('.')[2].removesuffix('Service').lower()}.{name}"


def rpc_attributes(method: str, address: str = "") -> dict[str, str | int]:
    """Describe a gRPC call by the semantic conventions; `method` is "package.Service/Method"."""
    attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": method}
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
    return attributes
