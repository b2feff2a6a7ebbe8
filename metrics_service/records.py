"""The values of message records and of queries about them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from metrics_service.latency import Histogram

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

OUTCOME_OK = "ok"
"""Outcome of a message that was answered without an error."""

MOST_INTERVALS = 1_500
"""Intervals that one analytics query may ask for: a day of minutes, two months of hours."""

MOST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: later moments have no RFC 3339 form."""


class BadQueryError(Exception):
    """A question about records cannot be answered as asked."""


class Direction(enum.IntEnum):
    """Which way a message went; the numbers are the contract's."""

    INBOUND = 1
    OUTBOUND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One handled message; `content` and `learner_id` are empty unless the edge records
    contents.
    """

    at_ms: int
    user_id: str
    role: str
    type: str
    direction: int
    bytes: int
    latency_ms: float | None
    outcome: str
    trace_id: str
    content: str = ""
    learner_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A range of whole minutes, cut into intervals of whole minutes; empty filters let everything
    through.
    """

    from_ms: int
    to_ms: int
    interval_ms: int
    types: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsRow:
    """Sums of one interval, type, role and direction; `latency` has only the answered messages."""

    start_ms: int
    type: str
    role: str
    direction: int
    count: int
    errors: int
    bytes: int
    latency: Histogram


def query(
    *,
    from_ms: int,
    to_ms: int,
    interval_s: int,
    types: tuple[str, ...],
    roles: tuple[str, ...],
    now_ms: int,
) -> Query:
    """Make a query, where 0 stands for: until now, one hour before that, minutes. Raises
    BadQueryError.
    """
    if not 0 <= from_ms <= MOST_MS or not 0 <= to_ms <= MOST_MS:
        raise BadQueryError("from_ms and to_ms must be Unix milliseconds")
    if interval_s % 60:
        raise BadQueryError("interval_s must be a multiple of 60")
    to_ms = to_ms or now_ms
    if from_ms >= to_ms:
        raise BadQueryError("from_ms must be before to_ms")
    to_ms = -(-to_ms // MINUTE_MS) * MINUTE_MS
    from_ms = (from_ms or max(0, to_ms - HOUR_MS)) // MINUTE_MS * MINUTE_MS
    interval_ms = (interval_s or 60) * 1000
    if (to_ms - from_ms) / interval_ms > MOST_INTERVALS:
        raise BadQueryError(
            f"more than {MOST_INTERVALS} intervals; ask for a shorter range or a longer interval"
        )
    return Query(from_ms=from_ms, to_ms=to_ms, interval_ms=interval_ms, types=types, roles=roles)
