"""Translates between `aivo.metrics.v1` and this service's own values."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.aggregate import (
    Aggregate,
    BadReportError,
    Change,
    FleetCounters,
    FleetSnapshot,
    Report,
    SupersededError,
    check_edge_id,
)
from metrics_service.exchanges import BadRecordError, Content, Exchanges, Kind
from metrics_service.latency import BUCKET_COUNT, Histogram
from metrics_service.recorder import Recorder, RecordingOffError
from metrics_service.records import AnalyticsRow, BadQueryError, MessageRecord, query
from metrics_service.store import StoreUnavailableError, Tally
from service_runtime.errors import ErrorTable
from service_runtime.streams import StoppingError, Streams

logger = logging.getLogger(__name__)

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["MetricsService"].full_name
"""For health checks and reflection."""

DEFAULT_WATCH_INTERVAL_MS = 1_000
WATCH_INTERVAL_RANGE_MS = (250, 60_000)

_MOST_CONTENT = 1_000_000
"""Characters of content that one response carries, unless one record alone has more."""


class BadRequestError(Exception):
    """A request is out of range."""


class SilentError(Exception):
    """A stream has brought nothing for too long."""


ERRORS = ErrorTable(
    {
        BadReportError: grpc.StatusCode.INVALID_ARGUMENT,
        BadRecordError: grpc.StatusCode.INVALID_ARGUMENT,
        BadQueryError: grpc.StatusCode.INVALID_ARGUMENT,
        BadRequestError: grpc.StatusCode.INVALID_ARGUMENT,
        SupersededError: grpc.StatusCode.ABORTED,
        SilentError: grpc.StatusCode.ABORTED,
        RecordingOffError: grpc.StatusCode.FAILED_PRECONDITION,
        StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
        StoppingError: grpc.StatusCode.UNAVAILABLE,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]


@ERRORS.guard
class MetricsServicer(metrics_pb2_grpc.MetricsServiceServicer):
    """The metrics contract over an `Aggregate` and a `Recorder`."""

    def __init__(
        self,
        aggregate: Aggregate,
        recorder: Recorder,
        *,
        edge_silence_s: float,
        wall_ms: Callable[[], int],
    ) -> None:
        """Serve both; a stream of reports that is silent for `edge_silence_s` seconds is ended."""
        self._aggregate = aggregate
        self._recorder = recorder
        self._wall_ms = wall_ms
        self._edge_silence_s = edge_silence_s
        self._streams = Streams()

    def register(self, server: grpc.aio.Server) -> None:
        """Make `server` answer the contract's calls with this servicer."""
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server(self, server)

    def drain(self) -> None:
        """End all endless streams with UNAVAILABLE, so that stopping the server does not wait for
        them.
        """
        self._streams.stop()

    async def Report(
        self, request: AsyncIterator[pb.ReportRequest], context: Context
    ) -> pb.ReportResponse:
        """Take one edge's reports; its gauges are dropped when the stream ends, however it ends."""
        stream = None
        try:
            async with contextlib.aclosing(
                self._received(context, silence_s=self._edge_silence_s)
            ) as reports:
                async for message in reports:
                    report = _report(message)
                    stream = stream or self._aggregate.open(message.edge_id)
                    if message.edge_id != stream.edge_id:
                        raise BadReportError("all reports of a stream must have the same edge_id")
                    self._aggregate.report(stream, report)
        finally:
            if stream is not None:
                self._aggregate.close(stream)
        return pb.ReportResponse()

    async def GetSnapshot(
        self, request: pb.GetSnapshotRequest, context: Context
    ) -> pb.GetSnapshotResponse:
        """Return the fleet's metrics."""
        return pb.GetSnapshotResponse(snapshot=self._snapshot())

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        """Return the metrics that any user may see."""
        snapshot = self._aggregate.snapshot()
        return pb.GetStatusResponse(
            active_connections=snapshot.connections_active,
            connected_users=snapshot.users_connected,
            subscribed_learners=snapshot.learners_subscribed,
            active_rooms=snapshot.rooms_active,
        )

    async def WatchSnapshots(
        self, request: pb.WatchSnapshotsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSnapshotsResponse]:
        """Stream the fleet's metrics until the caller cancels or the service stops."""
        interval_ms = request.interval_ms or DEFAULT_WATCH_INTERVAL_MS
        shortest, longest = WATCH_INTERVAL_RANGE_MS
        if not shortest <= interval_ms <= longest:
            raise BadRequestError(
                f"interval_ms must be {shortest}-{longest}, or 0 for {DEFAULT_WATCH_INTERVAL_MS}"
            )
        while True:
            yield pb.WatchSnapshotsResponse(snapshot=self._snapshot())
            await self._streams.wait(partial(asyncio.sleep, interval_ms / 1000))

    async def RecordMessages(
        self, request: AsyncIterator[pb.RecordMessagesRequest], context: Context
    ) -> pb.RecordMessagesResponse:
        """Queue an edge's records; nothing here waits for a disk."""
        self._recorder.require_recording()
        accepted = dropped = 0
        try:
            async with contextlib.aclosing(self._received(context, silence_s=None)) as batches:
                async for batch in batches:
                    check_edge_id(batch.edge_id)
                    exchanges = _exchanges(batch.exchanges)
                    taken = self._recorder.submit(exchanges, dropped=batch.dropped)
                    accepted += taken
                    dropped += exchanges.messages - taken
        finally:
            if dropped:
                logger.warning(
                    "message records were dropped: the disk is too slow for them",
                    extra={"records": dropped},
                )
        return pb.RecordMessagesResponse(accepted=accepted, dropped=dropped)

    async def GetAnalytics(
        self, request: pb.GetAnalyticsRequest, context: Context
    ) -> pb.GetAnalyticsResponse:
        """Sum the recorded messages."""
        asked = query(
            from_ms=request.from_ms,
            to_ms=request.to_ms,
            interval_s=request.interval_s,
            types=tuple(request.types),
            roles=tuple(request.roles),
            now_ms=self._wall_ms(),
        )
        return pb.GetAnalyticsResponse(
            rows=map(_analytics_row, await self._recorder.analytics(asked)),
            from_ms=asked.from_ms,
            to_ms=asked.to_ms,
            interval_s=asked.interval_ms // 1000,
        )

    async def ExportRecords(
        self, request: pb.ExportRecordsRequest, context: Context
    ) -> AsyncIterator[pb.ExportRecordsResponse]:
        """Stream the kept records; the disk is read no faster than the caller takes them."""
        if request.from_ms < 0 or request.to_ms < 0:
            raise BadRequestError("from_ms and to_ms must not be negative")
        async for page in self._recorder.export(
            from_ms=request.from_ms, to_ms=request.to_ms or None
        ):
            for some in _parts(page):
                yield pb.ExportRecordsResponse(records=map(_record_message, some))

    async def EraseRecords(
        self, request: pb.EraseRecordsRequest, context: Context
    ) -> pb.EraseRecordsResponse:
        """Delete the records of a user or about a learner."""
        if bool(request.user_id) == bool(request.learner_id):
            raise BadRequestError("exactly one of user_id and learner_id must be given")
        erased = await self._recorder.erase(user_id=request.user_id, learner_id=request.learner_id)
        return pb.EraseRecordsResponse(erased=erased)

    async def _received(
        self, context: Context, *, silence_s: float | None
    ) -> AsyncGenerator[Any, None]:
        """Yield a stream's messages; raises SilentError, and StoppingError as soon as the service
        stops.
        """
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    request = await self._streams.wait(context.read)
            except TimeoutError:
                raise SilentError(
                    f"nothing arrived for {silence_s:g} s; open the stream again"
                ) from None
            if request is grpc.aio.EOF:
                return
            yield request

    def _snapshot(self) -> pb.FleetSnapshot:
        return _snapshot_message(self._aggregate.snapshot(), self._recorder.tally)


def _report(message: pb.ReportRequest) -> Report:
    return Report(
        connections_active=message.connections_active,
        counters=FleetCounters(
            connections_opened=message.connections_opened,
            connections_closed=message.connections_closed,
            messages_sent=message.messages_sent,
            messages_received=message.messages_received,
            errors=message.errors,
            latency=_histogram(message.latency),
        ),
        users=Change(
            came=frozenset(message.users_connected), went=frozenset(message.users_disconnected)
        ),
        learners=Change(
            came=frozenset(message.learners_subscribed),
            went=frozenset(message.learners_unsubscribed),
        ),
        rooms=Change(came=frozenset(message.rooms_entered), went=frozenset(message.rooms_left)),
    )


def _histogram(message: pb.LatencyHistogram) -> Histogram:
    missing = BUCKET_COUNT - len(message.counts)
    return Histogram(
        counts=(*message.counts, *(0,) * missing),
        sum_ms=message.sum_ms,
        min_ms=message.min_ms,
        max_ms=message.max_ms,
    )


def _snapshot_message(snapshot: FleetSnapshot, tally: Tally) -> pb.FleetSnapshot:
    totals = snapshot.totals
    recent = snapshot.recent_latency
    return pb.FleetSnapshot(
        connections_active=snapshot.connections_active,
        connections_total=totals.connections_opened,
        disconnections=totals.connections_closed,
        users_connected=snapshot.users_connected,
        learners_subscribed=snapshot.learners_subscribed,
        rooms_active=snapshot.rooms_active,
        messages_sent=totals.messages_sent,
        messages_received=totals.messages_received,
        messages_per_second=snapshot.messages_per_second,
        latency=pb.Latency(
            average_ms=totals.latency.average_ms,
            min_ms=totals.latency.min_ms,
            max_ms=totals.latency.max_ms,
            p50_ms=recent.percentile(0.50),
            p95_ms=recent.percentile(0.95),
            p99_ms=recent.percentile(0.99),
            count=totals.latency.count,
        ),
        errors=totals.errors,
        started_at_ms=snapshot.started_at_ms,
        uptime_s=snapshot.uptime_s,
        edges=snapshot.edges,
        messages_recorded=tally.recorded,
        records_dropped=tally.dropped,
    )


def _exchanges(message: pb.Exchanges) -> Exchanges:
    return Exchanges(
        first_ms=message.first_ms,
        after_ms=message.after_ms[:],
        users=message.users[:],
        user=message.user[:],
        kinds=[Kind(one.role, one.type, one.answer, one.outcome) for one in message.kinds],
        kind=message.kind[:],
        size=message.bytes[:],
        answer_size=message.answer_bytes[:],
        latency_us=message.latency_us[:],
        trace_ids=message.trace_ids,
        contents=[
            Content(one.exchange, one.learner_id, one.content, one.answer_content)
            for one in message.contents
        ],
    )


def _record_message(record: MessageRecord) -> pb.MessageRecord:
    return pb.MessageRecord(
        at_ms=record.at_ms,
        user_id=record.user_id,
        role=record.role,
        type=record.type,
        direction=pb.Direction.ValueType(record.direction),
        bytes=record.bytes,
        latency_ms=record.latency_ms,
        outcome=record.outcome,
        trace_id=record.trace_id,
        content=record.content,
        learner_id=record.learner_id,
    )


def _parts(page: Sequence[MessageRecord]) -> Iterator[Sequence[MessageRecord]]:
    """Cut a page so that each part fits one gRPC message, whatever contents its records have."""
    start = size = 0
    for index, record in enumerate(page):
        if size and size + len(record.content) > _MOST_CONTENT:
            yield page[start:index]
            start, size = index, 0
        size += len(record.content)
    yield page[start:]


def _analytics_row(row: AnalyticsRow) -> pb.AnalyticsRow:
    return pb.AnalyticsRow(
        start_ms=row.start_ms,
        type=row.type,
        role=row.role,
        direction=pb.Direction.ValueType(row.direction),
        count=row.count,
        errors=row.errors,
        bytes=row.bytes,
        answered=row.latency.count,
        average_ms=row.latency.average_ms,
        p50_ms=row.latency.percentile(0.50),
        p95_ms=row.latency.percentile(0.95),
        p99_ms=row.latency.percentile(0.99),
        max_ms=row.latency.max_ms,
    )
