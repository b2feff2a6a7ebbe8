"""A client of the metrics service: reports of changes, and the fleet's metrics for the HTTP API."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
import grpc.aio

from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from edge.frames.clock import rfc3339
from edge.settings import EdgeSettings
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import Recording
from edge.upstream.errors import translate, unavailable
from service_runtime import telemetry
from service_runtime.grpc_client import Channel

logger = logging.getLogger(__name__)

_SERVICE = metrics_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name


class MetricsLink:
    """A client of the metrics service. Nothing that a learner does ever waits for it."""

    def __init__(
        self,
        channel: Channel,
        settings: EdgeSettings,
        counters: EdgeCounters,
        recording: Recording | None = None,
    ) -> None:
        """Prepare; `run` makes it report. Erasing a learner also erases them from `recording`."""
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel.channel)
        self._channel = channel
        self._metadata = channel.metadata
        self._interval_s = settings.report_s
        self._patience_s = settings.upstream_s
        self._counters = counters
        self._recording = recording
        self.edge_id = str(uuid.uuid4())
        """Names this edge process to the service."""
        self._told = dict.fromkeys(_COUNTERS, 0)
        self._is_refused = False
        self.is_open = asyncio.Event()
        """Set while the service takes reports."""

    async def run(self) -> None:
        """Report until cancelled; after a break, report everything again: the service knows what it
        has counted.
        """
        while True:
            stream = self._stub.Report(metadata=self._metadata)
            try:
                for presence in self._presences():
                    presence.restart_changes()
                self._told = dict.fromkeys(_COUNTERS, 0)
                await self._report(stream, is_first=True)
                self.is_open.set()
                while True:
                    await asyncio.sleep(self._interval_s)
                    await self._report(stream, is_first=False)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                await self._note_end(stream)
            finally:
                self.is_open.clear()
                stream.cancel()
            await asyncio.sleep(self._interval_s)

    async def _note_end(self, stream: Any) -> None:
        """Log once that this edge is refused; a service that is away comes back."""
        code = await stream.code() if stream.done() else None
        if code is grpc.StatusCode.UNAUTHENTICATED and not self._is_refused:
            logger.warning(
                "the metrics service refuses EDGE_CREDENTIAL", extra={"status": code.name}
            )
        self._is_refused = code is grpc.StatusCode.UNAUTHENTICATED

    async def _report(self, stream: Any, *, is_first: bool) -> None:
        counters = self._counters
        now = {name: getattr(counters, name) for name in _COUNTERS}
        users, learners, rooms = (presence.take_changes() for presence in self._presences())
        latency = counters.take_latency()
        if is_first:
            latency = counters.whole_latency()
        await stream.write(
            metrics_pb2.ReportRequest(
                edge_id=self.edge_id,
                connections_active=counters.connections_active,
                users_connected=users[0],
                users_disconnected=users[1],
                learners_subscribed=learners[0],
                learners_unsubscribed=learners[1],
                rooms_entered=rooms[0],
                rooms_left=rooms[1],
                latency=metrics_pb2.LatencyHistogram(
                    counts=latency.counts,
                    sum_ms=latency.sum_ms,
                    min_ms=0.0 if math.isinf(latency.min_ms) else latency.min_ms,
                    max_ms=latency.max_ms,
                ),
                **{name: now[name] - self._told[name] for name in _COUNTERS},
            )
        )
        self._told = now

    def _presences(self) -> tuple[Any, Any, Any]:
        return self._counters.users, self._counters.learners, self._counters.rooms

    # For the HTTP API; all raise UpstreamError

    async def snapshot(self) -> dict[str, Any]:
        """Return the fleet's metrics in the guide's JSON, with more fields."""
        try:
            response = await self._channel.call(
                self._stub.GetSnapshot,
                f"{_SERVICE}/GetSnapshot",
                metrics_pb2.GetSnapshotRequest(),
                self._patience_s,
            )
        except grpc.aio.AioRpcError as error:
            raise translate(error, "metrics") from error
        return _snapshot(response.snapshot)

    async def snapshots(self, interval_ms: int) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the fleet's metrics, at once and then per interval, until closed; raises when none
        come in time.
        """
        request = metrics_pb2.WatchSnapshotsRequest(interval_ms=interval_ms)
        stream = self._stub.WatchSnapshots(request, metadata=telemetry.outgoing(self._metadata))
        try:
            while True:
                async with asyncio.timeout(interval_ms / 1000 + self._patience_s):
                    response = await stream.read()
                if response is grpc.aio.EOF:
                    raise unavailable("metrics")
                assert isinstance(response, metrics_pb2.WatchSnapshotsResponse)  # noqa: S101 - not EOF
                yield _snapshot(response.snapshot)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            raise translate(error, "metrics") from error
        finally:
            stream.cancel()

    async def status(self) -> dict[str, Any]:
        """Return the metrics that anyone may see."""
        try:
            response = await self._channel.call(
                self._stub.GetStatus,
                f"{_SERVICE}/GetStatus",
                metrics_pb2.GetStatusRequest(),
                self._patience_s,
            )
        except grpc.aio.AioRpcError as error:
            raise translate(error, "metrics") from error
        return {
            "active_connections": response.active_connections,
            "connected_users": response.connected_users,
            "subscribed_learners": response.subscribed_learners,
            "active_rooms": response.active_rooms,
        }

    async def analytics(
        self,
        *,
        from_ms: int,
        to_ms: int,
        interval_s: int,
        types: Sequence[str],
        roles: Sequence[str],
    ) -> dict[str, Any]:
        """Return sums of the recorded messages; 0 means the service's defaults, no types or roles
        mean all.
        """
        request = metrics_pb2.GetAnalyticsRequest(
            from_ms=from_ms, to_ms=to_ms, interval_s=interval_s, types=types, roles=roles
        )
        try:
            response = await self._channel.call(
                self._stub.GetAnalytics, f"{_SERVICE}/GetAnalytics", request, self._patience_s
            )
        except grpc.aio.AioRpcError as error:
            raise translate(error, "metrics") from error
        return {
            "from": rfc3339(response.from_ms),
            "to": rfc3339(response.to_ms),
            "interval_s": response.interval_s,
            "rows": [_analytics_row(row) for row in response.rows],
        }

    async def erase_records(self, learner_id: str) -> int:
        """Delete the recorded messages whose content is about a learner and return how many the
        service had.
        """
        if self._recording is not None:
            self._recording.forget(learner_id)
        request = metrics_pb2.EraseRecordsRequest(learner_id=learner_id)
        try:
            response = await self._channel.call(
                self._stub.EraseRecords, f"{_SERVICE}/EraseRecords", request, 60
            )
        except grpc.aio.AioRpcError as error:
            raise translate(error, "metrics") from error
        return response.erased


_COUNTERS = (
    "connections_opened",
    "connections_closed",
    "messages_sent",
    "messages_received",
    "errors",
)


_DIRECTIONS = {metrics_pb2.DIRECTION_INBOUND: "inbound", metrics_pb2.DIRECTION_OUTBOUND: "outbound"}


def _analytics_row(row: metrics_pb2.AnalyticsRow) -> dict[str, Any]:
    return {
        "start": rfc3339(row.start_ms),
        "type": row.type,
        "role": row.role,
        "direction": _DIRECTIONS[row.direction],
        "count": row.count,
        "errors": row.errors,
        "bytes": row.bytes,
        "answered": row.answered,
        "average_ms": round(row.average_ms, 3),
        "p50_ms": round(row.p50_ms, 3),
        "p95_ms": round(row.p95_ms, 3),
        "p99_ms": round(row.p99_ms, 3),
        "max_ms": round(row.max_ms, 3),
    }


def _snapshot(message: metrics_pb2.FleetSnapshot) -> dict[str, Any]:
    latency = message.latency
    return {
        "connections": {
            "active": message.connections_active,
            "total": message.connections_total,
            "disconnections": message.disconnections,
        },
        "users": {"connected": message.users_connected},
        "learners": {"subscribed": message.learners_subscribed},
        "rooms": {"active": message.rooms_active},
        "messages": {
            "sent": message.messages_sent,
            "received": message.messages_received,
            "per_second": round(message.messages_per_second, 2),
        },
        "performance": {
            "average_latency_ms": round(latency.average_ms, 3),
            "min_latency_ms": round(latency.min_ms, 3),
            "max_latency_ms": round(latency.max_ms, 3),
            "p50_latency_ms": round(latency.p50_ms, 3),
            "p95_latency_ms": round(latency.p95_ms, 3),
            "p99_latency_ms": round(latency.p99_ms, 3),
        },
        "errors": {"total": message.errors},
        "uptime": {
            "seconds": round(message.uptime_s, 2),
            "started_at": rfc3339(message.started_at_ms),
        },
        "edges": {"reporting": message.edges},
    }
