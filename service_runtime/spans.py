"""Finished spans, as they are recorded and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from service_runtime.trace_context import TraceContext


class Kind(IntEnum):
    """A span's role in a call between processes; the values are the API's."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


Attributes = Mapping[str, str | int | float | bool]


class Span(NamedTuple):
    """A piece of work that is over."""

    name: str
    context: TraceContext
    """Its own ids."""
    parent: TraceContext | None
    """None for the first span of a trace."""
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Attributes
    links: Sequence[TraceContext]
    error: str
    """A code that says why it failed; empty when it did not."""
