"""What the brain records of sampled interactions, and under which names; asked only while traces
are exported.

Spans carry counts, revisions and codes. They never carry which learner it was or anything that
somebody wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from service_runtime import telemetry, trace_context
from service_runtime.spans import Kind
from service_runtime.telemetry import Tracer, now_ns
from service_runtime.trace_context import TraceContext

if TYPE_CHECKING:
    from brain_service.engine.submission import Applied, Failed, Submission
    from brain_service.watch.follow import Update

_MAX_APPLIED: Final = 4096
"""Applied interactions remembered until their commit; more than a group has."""


class _Applied(NamedTuple):
    """When a sampled interaction was computed."""

    context: TraceContext
    start_ns: int
    end_ns: int


class Served(NamedTuple):
    """A sampled interaction that waits for its outcome."""

    traces: BrainTraces
    context: TraceContext
    parent: TraceContext
    start_ns: int
    batch: int

    def answered(self, result: Applied | Failed) -> None:
        """Record what became of it."""
        self.traces.served(self, result)


class NoTraces:
    """Stands in while no traces are exported, and records nothing."""

    def now_ns(self) -> int:
        """Return when something begins, Unix nanoseconds; 0 where nobody will ask."""
        return 0

    def serve(self, submission: Submission, batch: int = 1) -> Served | None:
        """Leave the interaction as it came."""
        return None

    def timed(self, apply: Callable[[Submission], None]) -> Callable[[Submission], None]:
        """Return `apply`."""
        return apply

    def committed(self, traceparents: Iterable[str], start_ns: int) -> None:
        """Record nothing."""

    def sent(self, updates: Sequence[Update], start_ns: int) -> None:
        """Record nothing."""


NO_TRACES: Final = NoTraces()


class BrainTraces(NoTraces):
    """The brain's own spans. All methods belong to one event loop."""

    def __init__(self, tracer: Tracer, service: str) -> None:
        """Record with `tracer`; `service` is the full name of the contract's service."""
        self._tracer = tracer
        self._interact = telemetry.rpc_attributes(f"{service}/Interact")
        self._watch = telemetry.rpc_attributes(f"{service}/WatchState")
        self._computed: dict[str, _Applied] = {}

    def now_ns(self) -> int:
        """Return the time now."""
        return now_ns()

    def serve(self, submission: Submission, batch: int = 1) -> Served | None:
        """Put a sampled interaction under a span of the brain's own, and return what is recorded
        with its outcome.
        """
        parent = trace_context.sampled(submission.traceparent)
        if parent is None:
            return None
        context = trace_context.child(parent)
        submission.traceparent = trace_context.render(context)
        return Served(self, context, parent, now_ns(), batch)

    def served(self, served: Served, result: Applied | Failed) -> None:
        """Record an interaction from its arrival to its outcome."""
        code = getattr(result, "code", None)
        error = "" if code is None else str(code.value)
        attributes = self._interact | {"messaging.batch.message_count": served.batch}
        if not error:
            attributes["aivo.duplicate"] = bool(getattr(result, "duplicate", False))
        self._tracer.record(
            "interact",
            served.context,
            served.parent,
            served.start_ns,
            kind=Kind.SERVER,
            attributes=attributes,
            error=error,
        )

    def timed(self, apply: Callable[[Submission], None]) -> Callable[[Submission], None]:
        """Return `apply` that remembers when it computed sampled interactions."""

        def timed(submission: Submission) -> None:
            context = trace_context.sampled(submission.traceparent)
            if context is None:
                apply(submission)
                return
            start_ns = now_ns()
            apply(submission)
            if len(self._computed) >= _MAX_APPLIED:
                self._computed.clear()  # groups that were never written
            self._computed[submission.traceparent] = _Applied(context, start_ns, now_ns())

        return timed

    def committed(self, traceparents: Iterable[str], start_ns: int) -> None:
        """Record the commit of a group, and what was computed for it.

        The commit is one piece of work: it belongs to the trace of the first sampled interaction
        and is linked to the others, whose own spans link to it.
        """
        if not self._computed:
            return
        found = [self._computed.pop(one, None) for one in traceparents]
        computed = [one for one in found if one is not None]
        if not computed:
            return
        first = computed[0].context
        commit = trace_context.child(first)
        for context, began_ns, ended_ns in computed:
            links = () if context is first else (commit,)
            self._tracer.record(
                "apply",
                trace_context.child(context),
                context,
                began_ns,
                end_ns=ended_ns,
                links=links,
            )
        self._tracer.record(
            "commit",
            commit,
            first,
            start_ns,
            attributes={"db.operation.batch.size": len(found)},
            links=[one.context for one in computed[1:]],
        )

    def sent(self, updates: Sequence[Update], start_ns: int) -> None:
        """Record that one message with `updates` went to an edge: a span for each one that a
        sampled trace caused.
        """
        for update in updates:
            parent = trace_context.first_sampled(update.traceparents)
            if parent is None:
                continue
            self._tracer.record(
                "state_update send",
                trace_context.child(parent),
                parent,
                start_ns,
                kind=Kind.PRODUCER,
                attributes=self._watch
                | {
                    "messaging.operation.type": "send",
                    "messaging.batch.message_count": len(updates),
                    "aivo.coalesced": update.coalesced,
                },
                links=[
                    one for one in map(trace_context.parse, update.traceparents) if one is not None
                ],
            )
