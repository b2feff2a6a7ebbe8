"""The contract over a real server: edges that die, reconnect and lie, watchers, records in
and out.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.servicer import MetricsServicer
from service_runtime.grpc_client import ClientSettings, open_channel
from tests.metrics_service.support import (
    LIMITS,
    NOW_MS,
    PATIENCE_S,
    Service,
    code_of,
    service,
)
from tests.support.grpc_unit import UnitServer


def everything(edge_id: str = "edge-1", **changes: Any) -> pb.ReportRequest:
    report: dict[str, Any] = {
        "edge_id": edge_id,
        "connections_opened": 5,
        "connections_closed": 2,
        "connections_active": 3,
        "users_connected": ["u", "v"],
        "learners_subscribed": ["l"],
        "rooms_entered": ["r"],
        "messages_sent": 70,
        "messages_received": 50,
        "errors": 1,
        "latency": pb.LatencyHistogram(counts=[0] * 16 + [2], sum_ms=1.5, min_ms=0.7, max_ms=0.8),
    }
    return pb.ReportRequest(**report | changes)


async def report(running: Service, *reports: pb.ReportRequest) -> Any:
    call = running.stub.Report(metadata=running.metadata)
    for one in reports:
        await call.write(one)
    return call


async def test_reports_of_several_edges_become_one_snapshot_and_one_status(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        first = await report(running, everything("a"))
        second = await report(
            running, everything("b", users_connected=["v", "w"], connections_active=1)
        )
        snapshot = await running.snapshot_with(edges=2, connections_total=10)

        assert (snapshot.connections_active, snapshot.disconnections) == (4, 4)
        assert (snapshot.users_connected, snapshot.learners_subscribed, snapshot.rooms_active) == (
            3,
            1,
            1,
        )
        assert (snapshot.messages_sent, snapshot.messages_received, snapshot.errors) == (
            140,
            100,
            2,
        )
        assert snapshot.latency.count == 4
        assert snapshot.latency.average_ms == pytest.approx(0.75)
        assert (snapshot.latency.min_ms, snapshot.latency.max_ms) == (0.7, 0.8)
        assert snapshot.started_at_ms == NOW_MS
        status = await running.stub.GetStatus(pb.GetStatusRequest(), metadata=running.metadata)
        assert status == pb.GetStatusResponse(
            active_connections=4, connected_users=3, subscribed_learners=1, active_rooms=1
        )
        first.cancel()
        second.cancel()


async def test_later_reports_fill_the_last_minute(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        later = pb.ReportRequest(
            edge_id="a",
            messages_sent=30,
            latency=pb.LatencyHistogram(counts=[0, 9], sum_ms=0.5, min_ms=0.055, max_ms=0.056),
        )
        call = await report(running, everything("a"), later)
        snapshot = await running.snapshot_with(messages_sent=100)

        assert snapshot.messages_per_second > 0
        assert 0.055 <= snapshot.latency.p50_ms <= snapshot.latency.p99_ms <= 0.056
        call.cancel()


@pytest.mark.parametrize("end", ["cancel", "done"])
async def test_when_an_edges_stream_ends_its_gauges_go_and_its_counters_stay(
    tmp_path: Path, end: str
) -> None:
    async with service(tmp_path) as running:
        call = await report(running, everything())
        await running.snapshot_with(connections_active=3)
        if end == "cancel":
            call.cancel()
        else:
            await call.done_writing()
            assert await call == pb.ReportResponse()

        snapshot = await running.snapshot_with(connections_active=0, edges=0)
        assert (snapshot.users_connected, snapshot.learners_subscribed, snapshot.rooms_active) == (
            0,
            0,
            0,
        )
        assert (snapshot.connections_total, snapshot.messages_sent) == (5, 70)


async def test_an_edge_whose_connection_breaks_takes_its_gauges_along_and_doubles_nothing_when_back(
    tmp_path: Path,
) -> None:
    async with service(tmp_path) as running:
        edge = open_channel(
            f"127.0.0.1:{running.server.port}", ClientSettings(credential="test-credential")
        )
        call = metrics_pb2_grpc.MetricsServiceStub(edge.channel).Report(metadata=edge.metadata)
        await call.write(everything())
        await running.snapshot_with(connections_active=3)
        await edge.close()
        await running.snapshot_with(
            connections_active=0, users_connected=0, edges=0, messages_sent=70
        )
        again = await report(running, everything())
        await running.snapshot_with(
            connections_active=3, users_connected=2, edges=1, messages_sent=70
        )
        again.cancel()


async def test_a_silent_edge_counts_as_dead_and_hears_it(tmp_path: Path) -> None:
    async with service(tmp_path, edge_silence_s=0.05) as running:
        call = await report(running, everything())

        assert await code_of(call) is grpc.StatusCode.ABORTED
        assert (await running.snapshot()).connections_active == 0


async def test_a_newer_stream_of_an_edge_replaces_the_older_one_without_doubling(
    tmp_path: Path,
) -> None:
    async with service(tmp_path) as running:
        older = await report(running, everything())
        await running.snapshot_with(connections_active=3)
        newer = await report(
            running, everything(connections_active=2, users_connected=["u"], messages_sent=75)
        )
        await running.snapshot_with(connections_active=2, messages_sent=75, users_connected=1)
        await older.write(pb.ReportRequest(edge_id="edge-1", messages_sent=5, connections_active=9))

        assert await code_of(older) is grpc.StatusCode.ABORTED
        assert (await running.snapshot_with(edges=1)).messages_sent == 75
        newer.cancel()


BAD_REPORTS = {
    "no edge id": everything(edge_id=""),
    "too many buckets": everything(latency=pb.LatencyHistogram(counts=[1] * 65)),
    "not a number": everything(latency=pb.LatencyHistogram(counts=[1], sum_ms=float("nan"))),
    "came and went": everything(users_disconnected=["u"]),
    "absurd count": everything(messages_sent=2**64 - 1),
}


@pytest.mark.parametrize("bad", BAD_REPORTS.values(), ids=BAD_REPORTS.keys())
async def test_a_bad_report_ends_its_stream_and_changes_nothing(
    tmp_path: Path, bad: pb.ReportRequest
) -> None:
    async with service(tmp_path) as running:
        call = await report(running, bad)

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert running.aggregate.retain().totals.messages_sent == 0


async def test_a_stream_belongs_to_one_edge(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        call = await report(running, everything("a"), everything("b"))

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert (await running.snapshot()).messages_sent == 70


async def test_a_watcher_gets_a_snapshot_at_once_and_further_ones(tmp_path: Path) -> None:
    async with service(tmp_path) as running, asyncio.timeout(PATIENCE_S):
        watch = running.stub.WatchSnapshots(
            pb.WatchSnapshotsRequest(interval_ms=250), metadata=running.metadata
        )
        assert (await watch.read()).snapshot.edges == 0
        call = await report(running, everything())
        while (await watch.read()).snapshot.edges != 1:
            pass
        call.cancel()
        watch.cancel()


@pytest.mark.parametrize("interval_ms", [1, 249, 60_001])
async def test_a_watchers_interval_has_bounds(tmp_path: Path, interval_ms: int) -> None:
    async with service(tmp_path) as running:
        watch = running.stub.WatchSnapshots(
            pb.WatchSnapshotsRequest(interval_ms=interval_ms), metadata=running.metadata
        )
        assert await code_of(watch) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stopping_service_ends_endless_streams_at_once(tmp_path: Path) -> None:
    """The drain time is long; stopping must not take it."""
    async with asyncio.timeout(PATIENCE_S / 2):
        running = Service(tmp_path, limits=LIMITS, edge_silence_s=60.0)
        await running.start()
        edge = await report(running, everything())
        recording = running.stub.RecordMessages(metadata=running.metadata)
        await recording.write(pb.RecordMessagesRequest(edge_id="edge-1"))
        watch = running.stub.WatchSnapshots(pb.WatchSnapshotsRequest(), metadata=running.metadata)
        await watch.read()
        await running.snapshot_with(edges=1)
        await running.stop_serving()

        assert await edge.code() is grpc.StatusCode.UNAVAILABLE
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE
        assert await recording.code() is grpc.StatusCode.UNAVAILABLE
        await running.channel.close()


async def test_a_restart_keeps_totals_and_an_edge_that_tells_everything_again_doubles_nothing(
    tmp_path: Path,
) -> None:
    async with service(tmp_path) as running:
        await report(running, everything())
        await running.snapshot_with(edges=1)
    async with service(tmp_path) as running:
        snapshot = await running.snapshot()
        assert (
            snapshot.connections_total,
            snapshot.messages_sent,
            snapshot.connections_active,
        ) == (5, 70, 0)
        assert (snapshot.latency.count, snapshot.latency.max_ms) == (2, 0.8)

        call = await report(running, everything(connections_opened=6, messages_sent=90))
        snapshot = await running.snapshot_with(edges=1)
        assert (snapshot.connections_total, snapshot.messages_sent, snapshot.messages_received) == (
            6,
            90,
            50,
        )
        assert (snapshot.latency.count, snapshot.latency.average_ms) == (2, pytest.approx(0.75))
        call.cancel()


async def test_calls_without_the_credential_are_refused(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        assert (
            await code_of(running.stub.GetSnapshot(pb.GetSnapshotRequest()))
            is grpc.StatusCode.UNAUTHENTICATED
        )
        assert await code_of(running.stub.Report()) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("method", "request_message", "code"),
    [
        ("GetSnapshot", pb.GetSnapshotRequest(), grpc.StatusCode.OK),
        ("GetStatus", pb.GetStatusRequest(), grpc.StatusCode.OK),
        ("GetAnalytics", pb.GetAnalyticsRequest(interval_s=7), grpc.StatusCode.INVALID_ARGUMENT),
        ("EraseRecords", pb.EraseRecordsRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (
            "EraseRecords",
            pb.EraseRecordsRequest(user_id="u", learner_id="l"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
def test_unary_methods_end_with_the_tables_status(
    unit: UnitServer, method: str, request_message: Any, code: grpc.StatusCode
) -> None:
    reply = unit.unary(method, request_message)

    assert reply.code is code
    assert bool(reply.details) == (code is not grpc.StatusCode.OK)


@pytest.fixture
def unit(tmp_path: Path) -> UnitServer:
    async def make() -> MetricsServicer:
        running = Service(tmp_path, limits=LIMITS, edge_silence_s=1.0)
        running.store.close()
        return running.servicer

    return UnitServer({pb.DESCRIPTOR.services_by_name["MetricsService"]: asyncio.run(make())})
