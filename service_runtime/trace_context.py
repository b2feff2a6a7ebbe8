"""W3C trace context as a small value, cheap enough for the hot path; it records nothing."""

from __future__ import annotations

import random
from typing import NamedTuple

_HEX = frozenset("0123456789abcdef")
_ODD = frozenset("13579bdf")
_generator = random.Random()  # noqa: S311 - trace ids must be unique, not secret


class TraceContext(NamedTuple):
    """Where a piece of work stands in a trace."""

    trace_id: str
    """32 lower-case hexadecimal digits."""
    span_id: str
    """16 lower-case hexadecimal digits."""
    sampled: bool
    """Whether spans of this trace are recorded."""


def parse(traceparent: str) -> TraceContext | None:
    """Return the context that a `traceparent` header carries, or None when it is absent or malformed.

    Source: W3C Trace Context, section 3.2; unknown versions are read by the rules of version 00.
    """
    if len(traceparent) < 55 or (len(traceparent) > 55 and (traceparent[:2] == "00" or traceparent[55] != "-")):
        return None
    version, trace_id, span_id, flags = traceparent[:2], traceparent[3:35], traceparent[36:52], traceparent[53:55]
    if traceparent[2] != "-" or traceparent[35] != "-" or traceparent[52] != "-":
        return None
    if not _HEX.issuperset(version + trace_id + span_id + flags) or version == "ff":
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def render(context: TraceContext) -> str:
    """Return the `traceparent` header that carries `context`."""
    return f"00-{context.trace_id}-{context.span_id}-{'01' if context.sampled else '00'}"


def new_root(*, sampled: bool = False) -> TraceContext:
    """Start a trace."""
    return TraceContext(f"{_generator.getrandbits(128) or 1:032x}", _span_id(), sampled)


def child(parent: TraceContext) -> TraceContext:
    """Continue a trace in a new span."""
    return TraceContext(parent.trace_id, _span_id(), parent.sampled)


def sampled(traceparent: str) -> TraceContext | None:
    """Return the context in a `traceparent` whose trace is recorded; None, quickly, for any other text."""
    if len(traceparent) < 55 or traceparent[54] not in _ODD:
        return None
    return parse(traceparent)


def log_fields(traceparent: str) -> dict[str, str]:
    """Return what a log line says of the interaction that it belongs to; nothing for a malformed `traceparent`."""
    context = parse(traceparent)
    return {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}


def _span_id() -> str:
    return f"{_generator.getrandbits(64) or 1:016x}"
