"""Translates between this service's values and rows. Pure."""

from __future__ import annotations

import itertools
import json
import struct
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from metrics_service.aggregate import FleetCounters, Remembered
from metrics_service.exchanges import Content, Exchanges, Kind
from metrics_service.latency import BOUNDS_MS, BUCKET_COUNT, Histogram
from metrics_service.records import MINUTE_MS, AnalyticsRow, BadQueryError, Direction
from metrics_service.store.tables import sums_table

MOST_ROWS = 50_000
"""Rows that one analytics query may return; they fit one gRPC message."""

_UNANSWERED = -1
"""Bucket of messages without a latency."""
_BOUNDS_US = tuple(bound * 1000 for bound in BOUNDS_MS)


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
    counters = FleetCounters(
        connections_opened=row.connections_opened,
        connections_closed=row.connections_closed,
        messages_sent=row.messages_sent,
        messages_received=row.messages_received,
        errors=row.errors,
        latency=latency,
    )
    return Remembered(counters=counters, seen_at_ms=row.seen_at_ms)


def exchanges_row(part: Exchanges) -> dict[str, Any]:
    """Return the row that keeps exchanges of one minute."""
    columns = (part.after_ms, part.user, part.kind, part.size, part.answer_size, part.latency_us)
    return {
        "first_ms": part.first_ms,
        "last_ms": part.last_ms,
        "size": len(part),
        "users": _json(part.users),
        "learners": _json(sorted({one.learner_id for one in part.contents})),
        "kinds": _json(part.kinds),
        "columns": _packing(len(part)).pack(*itertools.chain(*columns)) + part.trace_ids,
        "contents": _json(part.contents),
    }


def stored_exchanges(row: Any) -> Exchanges:
    """Return the exchanges that a row keeps."""
    size = row.size
    packing = _packing(size)
    values = packing.unpack_from(row.columns)
    columns = [values[start : start + size] for start in range(0, 6 * size, size)]
    return Exchanges(
        first_ms=row.first_ms,
        after_ms=columns[0],
        users=json.loads(row.users),
        user=columns[1],
        kinds=[Kind(*kind) for kind in json.loads(row.kinds)],
        kind=columns[2],
        size=columns[3],
        answer_size=columns[4],
        latency_us=columns[5],
        trace_ids=row.columns[packing.size :],
        contents=[Content(*content) for content in json.loads(row.contents)],
    )


def mention(one_id: str) -> str:
    """Return how an id stands in a row's `users` or `learners`; another id may contain
    that, too.
    """
    return _json(one_id)


def _packing(size: int) -> struct.Struct:
    # Within a minute, and with at most 2,000 exchanges, the first three columns fit two bytes each.
    return struct.Struct(f"<{3 * size}H{3 * size}I")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def sum_rows(parts: Iterable[Exchanges]) -> list[dict[str, Any]]:
    """Return what exchanges, each part of one minute, add to the sums: per minute, kind of message
    and latency bucket.

    An answer counts in the minute of its frame.
    """
    sums: dict[tuple[Any, ...], list[int]] = {}
    for part in parts:
        minute_ms = part.first_ms - part.first_ms % MINUTE_MS
        cells = _cells(part)
        for (kind, bucket), (count, size, answer_size, total_us, longest_us) in cells.items():
            role, type_, answer, outcome = part.kinds[kind]
            frame = (
                minute_ms,
                type_,
                role,
                Direction.INBOUND,
                outcome,
                bucket if answer else _UNANSWERED,
            )
            _add(sums, frame, count, size, total_us, longest_us)
            if answer:
                _add(
                    sums,
                    (minute_ms, answer, role, Direction.OUTBOUND, outcome, _UNANSWERED),
                    count,
                    answer_size,
                )
    names = [column.name for column in sums_table.columns]
    return [dict(zip(names, (*key, *values), strict=True)) for key, values in sorted(sums.items())]


def _cells(part: Exchanges) -> dict[tuple[int, int], list[int]]:
    """Sum a part per kind and latency bucket: how many, bytes, bytes of answers, latency and
    longest latency.
    """
    cells: dict[tuple[int, int], list[int]] = {}
    buckets = [bisect_left(_BOUNDS_US, latency_us) for latency_us in part.latency_us]
    columns = zip(part.kind, buckets, part.size, part.answer_size, part.latency_us, strict=True)
    for kind, bucket, size, answer_size, latency_us in columns:
        cell = cells.get((kind, bucket))
        if cell is None:
            cells[kind, bucket] = [1, size, answer_size, latency_us, latency_us]
            continue
        cell[0] += 1
        cell[1] += size
        cell[2] += answer_size
        cell[3] += latency_us
        if latency_us > cell[4]:
            cell[4] = latency_us
    return cells


def _add(sums: dict[tuple[Any, ...], list[int]], key: tuple[Any, ...], *values: int) -> None:
    count, size, total_us, longest_us = (*values, 0, 0)[:4]
    known = sums.setdefault(key, [0, 0, 0, 0])
    sums[key] = [known[0] + count, known[1] + size, known[2] + total_us, max(known[3], longest_us)]


def analytics_rows(result: Any) -> list[AnalyticsRow]:
    """Merge sums per latency bucket, ordered by their other keys, into rows. Raises BadQueryError
    when they are too many.
    """
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in result:
        groups.setdefault((row.start_ms, row.type, row.role, row.direction), []).append(row)
        if len(groups) > MOST_ROWS:
            raise BadQueryError(
                f"more than {MOST_ROWS} rows; ask for a shorter range, a longer interval or fewer"
                " types"
            )
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
