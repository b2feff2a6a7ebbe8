"""Translates between the metrics contract and this service's own values, and decides nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeVar

import grpc
import grpc.aio

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.aggregate import Aggregate, BadReport, Change, Counters, Report, Snapshot, Superseded
from metrics_service.latency import BUCKET_COUNT, Histogram
from service_runtime.errors import ErrorTable

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["MetricsService"].full_name
"""For health checks and reflection."""

DEFAULT_WATCH_INTERVAL_MS = 1_000
WATCH_INTERVAL_RANGE_MS = (250, 60_000)

T = TypeVar("T")


class BadRequest(Exception):
    """A request is out of range."""


class Silent(Exception):
    """A stream has brought nothing for too long."""


class Stopping(Exception):
    """The service stops; the caller should open its stream again."""


ERRORS = ErrorTable(
    {
        BadReport: grpc.StatusCode.INVALID_ARGUMENT,
        BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
        Superseded: grpc.StatusCode.ABORTED,
        Silent: grpc.StatusCode.ABORTED,
        Stopping: grpc.StatusCode.UNAVAILABLE,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]


@ERRORS.guard
class MetricsServicer(metrics_pb2_grpc.MetricsServiceServicer):
    """The metrics contract over an `Aggregate`."""

    def __init__(self, aggregate: Aggregate, *, edge_silence_s: float) -> None:
        """Serve `aggregate`; a stream of reports that is silent for `edge_silence_s` seconds is ended."""
        self._aggregate = aggregate
        self._edge_silence_s = edge_silence_s
        self._stopping = asyncio.Event()
        self._reads: set[asyncio.Timeout] = set()

    def register(self, server: grpc.aio.Server) -> None:
        """Make `server` answer the contract's calls with this servicer."""
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server(self, server)

    def drain(self) -> None:
        """End all endless streams with UNAVAILABLE, so that stopping the server does not wait for them."""
        self._stopping.set()
        now = asyncio.get_running_loop().time()
        for read in self._reads:
            read.reschedule(now)

    async def Report(self, request: AsyncIterator[pb.ReportRequest], context: Context) -> pb.ReportResponse:
        """Take one edge's reports; what is there at the edge is dropped when the stream ends, however it ends."""
        stream = None
        try:
            async with contextlib.aclosing(self._received(request, silence_s=self._edge_silence_s)) as reports:
                async for message in reports:
                    report = _report(message)
                    stream = stream or self._aggregate.open(message.edge_id)
                    if message.edge_id != stream.edge_id:
                        raise BadReport("all reports of a stream must have the same edge_id")
                    self._aggregate.report(stream, report)
        finally:
            if stream is not None:
                self._aggregate.close(stream)
        return pb.ReportResponse()

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Context) -> pb.GetSnapshotResponse:
        """Return the fleet's figures."""
        return pb.GetSnapshotResponse(snapshot=self._snapshot())

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """Return the few figures that any user may see."""
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
        """Stream the fleet's figures until the caller cancels or the service stops."""
        interval_ms = request.interval_ms or DEFAULT_WATCH_INTERVAL_MS
        shortest, longest = WATCH_INTERVAL_RANGE_MS
        if not shortest <= interval_ms <= longest:
            raise BadRequest(f"interval_ms must be {shortest}-{longest}, or 0 for {DEFAULT_WATCH_INTERVAL_MS}")
        while not self._stopping.is_set():
            yield pb.WatchSnapshotsResponse(snapshot=self._snapshot())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), interval_ms / 1000)
        raise Stopping("the metrics service stops; watch again")

    async def _received(self, requests: AsyncIterator[T], *, silence_s: float | None) -> AsyncGenerator[T, None]:
        """Yield a stream's requests to its end; raises Silent, and Stopping as soon as the service stops."""
        iterator = aiter(requests)
        while not self._stopping.is_set():
            read = asyncio.timeout(silence_s)
            try:
                async with read:
                    self._reads.add(read)
                    request = await anext(iterator)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not self._stopping.is_set():
                    raise Silent(f"nothing came for {silence_s:g} s; open the stream again") from None
                break
            finally:
                self._reads.discard(read)
            yield request
        raise Stopping("the metrics service stops; open the stream again")

    def _snapshot(self) -> pb.Snapshot:
        return _snapshot_message(self._aggregate.snapshot())


def _report(message: pb.ReportRequest) -> Report:
    return Report(
        connections_active=message.connections_active,
        counters=Counters(
            connections_opened=message.connections_opened,
            connections_closed=message.connections_closed,
            messages_sent=message.messages_sent,
            messages_received=message.messages_received,
            errors=message.errors,
            latency=_histogram(message.latency),
        ),
        users=Change(came=frozenset(message.users_connected), went=frozenset(message.users_disconnected)),
        learners=Change(came=frozenset(message.learners_subscribed), went=frozenset(message.learners_unsubscribed)),
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


def _snapshot_message(snapshot: Snapshot) -> pb.Snapshot:
    totals = snapshot.totals
    recent = snapshot.recent_latency
    return pb.Snapshot(
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
    )
