"""The edge's spans for sampled interactions, and their names; used only while traces are exported.

Spans carry counts, kinds and codes. They never carry users, learners or anything that somebody
wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Final, NamedTuple

from service_runtime import telemetry, trace_context
from service_runtime.spans import Kind
from service_runtime.telemetry import Tracer, now_ns
from service_runtime.trace_context import TraceContext

MAX_CAUSES: Final = 16
"""Interactions that one delivery names, the newest ones; as many as the brain tells."""


class NotReceived:
    """A frame without a trace."""

    __slots__ = ()
    sampled: ClassVar = False
    trace_id: ClassVar = ""

    def within(self) -> AbstractContextManager[None]:
        """Return a block like any other."""
        return nullcontext()

    def answered(self, error: str = "") -> None:
        """Record nothing."""


NOT_RECEIVED: Final = NotReceived()


class Received(NamedTuple):
    """A sampled frame waiting for its answer."""

    traces: EdgeTraces
    frame_type: str
    context: TraceContext
    parent: TraceContext | None
    start_ns: int

    @property
    def sampled(self) -> bool:
        """Whether it is traced."""
        return True

    @property
    def trace_id(self) -> str:
        """The id of its trace."""
        return self.context.trace_id

    def within(self) -> AbstractContextManager[None]:
        """Return a block whose calls belong to it."""
        return telemetry.within(self.context)

    def answered(self, error: str = "") -> None:
        """Record its answer: an error frame of this code, or success."""
        attributes = {
            "network.protocol.name": "websocket",
            "network.transport": "tcp",
            "messaging.operation.type": "receive",
            "aivo.frame.type": self.frame_type,
        }
        self.traces.tracer.record(
            "ws.receive",
            self.context,
            self.parent,
            self.start_ns,
            kind=Kind.SERVER,
            attributes=attributes,
            error=error,
        )


class Queued(NamedTuple):
    """A sampled item waiting to be sent upstream."""

    parent: TraceContext
    context: TraceContext
    """The context of the client span to come; already in the message."""
    since_ns: int


class NoCallTraces:
    """Stands in while no traces are exported, and records nothing."""

    def queue(self, context: TraceContext | None = None) -> Queued | None:
        """Return nothing: no item is sampled."""
        return None

    def answered(self, items: Sequence[tuple[Queued, str]], *, size: int, sent_ns: int) -> None:
        """Record nothing."""


NO_CALL_TRACES: Final = NoCallTraces()


class CallTraces(NoCallTraces):
    """Client spans of one kind of call that is sent in batches: one for each sampled item."""

    def __init__(
        self, tracer: Tracer, method: str, address: str, *, name: str = "", alone: bool = False
    ) -> None:
        """`name` is the span's, the method's unless given. `alone` says that items carry their own
        contexts.

        Otherwise the whole call has the first item's context in its metadata, and the other items
        link to that.
        """
        self._tracer = tracer
        self._name = name or telemetry.rpc_name(method)
        self._alone = alone
        self._attributes = telemetry.rpc_attributes(method, address)

    def queue(self, context: TraceContext | None = None) -> Queued | None:
        """Return the trace of a new item, its own or the present one; None when unsampled."""
        parent = context or telemetry.current()
        if parent is None or not parent.sampled:
            return None
        return Queued(parent, trace_context.child(parent), now_ns())

    def answered(self, items: Sequence[tuple[Queued, str]], *, size: int, sent_ns: int) -> None:
        """Record a call of `size` items, with the sampled ones and the error code of each."""
        end_ns = now_ns()
        first = items[0][0].context
        for queued, error in items:
            if self._alone:
                self._tracer.record(
                    "queued",
                    trace_context.child(queued.parent),
                    queued.parent,
                    queued.since_ns,
                    end_ns=sent_ns,
                )
            links = () if self._alone or queued.context is first else (first,)
            self._tracer.record(
                self._name,
                queued.context,
                queued.parent,
                sent_ns,
                end_ns=end_ns,
                kind=Kind.CLIENT,
                attributes=self._attributes | {"messaging.batch.message_count": size},
                links=links,
                error=error,
            )


def traces_of(
    tracer: Tracer | None, method: str, address: str, *, name: str = "", alone: bool = False
) -> NoCallTraces:
    """Return what records one kind of call; see `CallTraces`."""
    if tracer is None:
        return NO_CALL_TRACES
    return CallTraces(tracer, method, address, name=name, alone=alone)


class NoTraces:
    """Stands in while no traces are exported: continues callers' traces and records nothing."""

    def now_ns(self) -> int:
        """Return the start time in Unix nanoseconds; 0 where it is not needed."""
        return 0

    def receive(
        self, parent: TraceContext | None, frame_type: str
    ) -> tuple[TraceContext, Received | NotReceived]:
        """Return the context of an incoming frame."""
        context = trace_context.child(parent) if parent else trace_context.new_root()
        return context, NOT_RECEIVED

    def fanned_out(
        self, causes: Sequence[str], start_ns: int, *, sent: int, waiting: int = 0
    ) -> None:
        """Record nothing."""


NO_TRACES: Final = NoTraces()


class EdgeTraces(NoTraces):
    """The edge's own spans."""

    def __init__(self, tracer: Tracer) -> None:
        """Record with `tracer`."""
        self.tracer = tracer

    def now_ns(self) -> int:
        """Return the time now."""
        return now_ns()

    def receive(
        self, parent: TraceContext | None, frame_type: str
    ) -> tuple[TraceContext, Received | NotReceived]:
        """Return the context of an incoming frame and, if sampled, what records its answer."""
        context = self.tracer.begin(parent)
        if not context.sampled:
            return context, NOT_RECEIVED
        return context, Received(self, frame_type, context, parent, now_ns())

    def fanned_out(
        self, causes: Sequence[str], start_ns: int, *, sent: int, waiting: int = 0
    ) -> None:
        """Record that an update went to `sent` sockets, with the `traceparent`s of the interactions
        behind it.

        It belongs to the trace of the newest sampled one and is linked to all. `waiting` sockets
        get it later.
        """
        parent = trace_context.first_sampled(causes)
        if parent is None:
            return
        links = [
            context
            for context in map(trace_context.parse, causes[:MAX_CAUSES])
            if context is not None
        ]
        attributes: dict[str, str | int] = {
            "network.protocol.name": "websocket",
            "messaging.operation.type": "process",
            "aivo.sockets.sent": sent,
            "aivo.sockets.waiting": waiting,
            "aivo.causes": len(links),
        }
        self.tracer.record(
            "fan-out",
            trace_context.child(parent),
            parent,
            start_ns,
            kind=Kind.CONSUMER,
            attributes=attributes,
            links=links,
        )


class HttpSpans:
    """ASGI middleware: one span for each request to the API, in the caller's trace when it sent a
    `traceparent`.

    The span is named by its route, because paths contain ids and query strings may contain tokens.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], tracer: Tracer) -> None:
        """Record with `tracer`."""
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"traceparent", b"")
        parent = trace_context.parse(sent.decode("latin-1"))
        context = self._tracer.begin(parent)
        if not context.sampled:
            await self._app(scope, receive, send)
            return
        start_ns, status = now_ns(), 500

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with telemetry.within(context):
                await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "")
            attributes = {
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
                "url.scheme": scope["scheme"],
            }
            name = f"{scope['method']} {route}".rstrip()
            error = str(status) if status >= 500 else ""
            self._tracer.record(
                name,
                context,
                parent,
                start_ns,
                kind=Kind.SERVER,
                attributes=attributes,
                error=error,
            )
