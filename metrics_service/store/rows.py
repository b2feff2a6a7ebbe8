"""Translates between this service's values and rows; it asks no database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metrics_service.aggregate import Counters, Remembered
from metrics_service.latency import BUCKET_COUNT, Histogram, bucket_of
from metrics_service.records import MINUTE_MS, AnalyticsRow, BadQuery, MessageRecord
from metrics_service.store.tables import sums_table

MOST_ROWS = 50_000
"""Rows that one analytics query may return; they fit one gRPC message."""

_UNANSWERED = -1
"""Bucket of messages without a latency."""


def counter_row(edge_id: str, edge: Remembered) -> dict[str, Any]:
    """Return the row that remembers what was counted of an edge."""
    counters = edge.counters
    return {
        "edge_id": edge_id,
        "seen_at_ms": edge.seen_at_ms,
        "connections_opened": counters.connections_opened,
        "connections_closed": counters.connections_closed,
        "messages_sent": counters.messages_sent,
        "messages_received": counters.messages_received,
        "errors": counters.errors,
        "latency_counts": list(counters.latency.counts),
        "latency_sum_ms": counters.latency.sum_ms,
        "latency_min_ms": counters.latency.min_ms,
        "latency_max_ms": counters.latency.max_ms,
    }


def remembered(row: Any) -> Remembered:
    """Return what a counter row remembers."""
    latency = Histogram(
        counts=tuple(row.latency_counts),
        sum_ms=row.latency_sum_ms,
        min_ms=row.latency_min_ms,
        max_ms=row.latency_max_ms,
    )
    counters = Counters(
        connections_opened=row.connections_opened,
        connections_closed=row.connections_closed,
        messages_sent=row.messages_sent,
        messages_received=row.messages_received,
        errors=row.errors,
        latency=latency,
    )
    return Remembered(counters=counters, seen_at_ms=row.seen_at_ms)


def record_row(record: MessageRecord) -> dict[str, Any]:
    """Return the row that keeps a message record; its latency becomes whole microseconds."""
    return {
        "at_ms": record.at_ms,
        "user_id": record.user_id,
        "role": record.role,
        "type": record.type,
        "direction": record.direction,
        "bytes": record.bytes,
        "latency_us": _microseconds(record.latency_ms),
        "outcome": record.outcome,
        "trace_id": record.trace_id,
        "content": record.content,
        "learner_id": record.learner_id,
    }


def stored_record(row: Any) -> MessageRecord:
    """Return the message record that a row keeps."""
    return MessageRecord(
        at_ms=row.at_ms,
        user_id=row.user_id,
        role=row.role,
        type=row.type,
        direction=row.direction,
        bytes=row.bytes,
        latency_ms=None if row.latency_us is None else row.latency_us / 1000,
        outcome=row.outcome,
        trace_id=row.trace_id,
        content=row.content,
        learner_id=row.learner_id,
    )


def sum_rows(records: Sequence[MessageRecord]) -> list[dict[str, Any]]:
    """Return what records add to the sums: per minute, kind of message and latency bucket."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for record in records:
        minute_ms = record.at_ms - record.at_ms % MINUTE_MS
        bucket = _UNANSWERED if record.latency_ms is None else bucket_of(record.latency_ms)
        key = (minute_ms, record.type, record.role, record.direction, record.outcome, bucket)
        latency_us = _microseconds(record.latency_ms) or 0
        count, size, total_us, longest_us = sums.get(key, (0, 0, 0, 0))
        sums[key] = [count + 1, size + record.bytes, total_us + latency_us, max(longest_us, latency_us)]
    names = [column.name for column in sums_table.columns]
    return [dict(zip(names, (*key, *values), strict=True)) for key, values in sums.items()]


def _microseconds(latency_ms: float | None) -> int | None:
    return None if latency_ms is None else round(latency_ms * 1000)


def analytics_rows(result: Any) -> list[AnalyticsRow]:
    """Merge sums per latency bucket, ordered by their other keys, into rows. Raises BadQuery when they are too many."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in result:
        groups.setdefault((row.start_ms, row.type, row.role, row.direction), []).append(row)
        if len(groups) > MOST_ROWS:
            raise BadQuery(f"more than {MOST_ROWS} rows; ask for a shorter range, a longer interval or fewer types")
    return [_analytics_row(key, buckets) for key, buckets in groups.items()]


def _analytics_row(key: tuple[Any, ...], buckets: list[Any]) -> AnalyticsRow:
    counts = [0] * BUCKET_COUNT
    for row in buckets:
        if row.bucket != _UNANSWERED:
            counts[row.bucket] = int(row.messages)
    start_ms, type_, role, direction = key
    return AnalyticsRow(
        start_ms=start_ms,
        type=type_,
        role=role,
        direction=direction,
        count=sum(int(row.messages) for row in buckets),
        errors=sum(int(row.errors) for row in buckets),
        bytes=sum(int(row.bytes) for row in buckets),
        latency=Histogram(
            counts=tuple(counts),
            sum_ms=sum(int(row.latency_us) for row in buckets) / 1000,
            max_ms=max(row.longest_us for row in buckets) / 1000,
        ),
    )
