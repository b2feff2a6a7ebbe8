"""The contract over a real server: edges that die, reconnect and lie, watchers, records in
and out.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.exchanges import Content, Exchanges
from metrics_service.servicer import MetricsServicer
from service_runtime.grpc_client import ClientSettings, open_channel
from tests.metrics_service.support import (
    LIMITS,
    NOW_MS,
    PATIENCE_S,
    Exchange,
    Service,
    batch,
    records,
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


async def code_of(call: Any) -> grpc.StatusCode:
    async with asyncio.timeout(PATIENCE_S):
        return await call.code()


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


TRACED = Exchange(trace_id="0af7651916cd43dd8448eb211c80319c")


def wire(some: Exchanges) -> pb.Exchanges:
    return pb.Exchanges(
        first_ms=some.first_ms,
        after_ms=some.after_ms,
        users=some.users,
        user=some.user,
        kinds=[pb.ExchangeKind(**kind._asdict()) for kind in some.kinds],
        kind=some.kind,
        bytes=some.size,
        answer_bytes=some.answer_size,
        latency_us=some.latency_us,
        trace_ids=some.trace_ids,
        contents=[pb.ExchangeContent(**content._asdict()) for content in some.contents],
    )


def messages(*some: Exchange) -> list[pb.MessageRecord]:
    return [pb.MessageRecord(**asdict(one)) for one in records(*some)]


async def recorded(
    running: Service, *some: Exchange, dropped: int = 0
) -> pb.RecordMessagesResponse:
    call = running.stub.RecordMessages(metadata=running.metadata)
    await call.write(
        pb.RecordMessagesRequest(edge_id="edge-1", exchanges=wire(batch(*some)), dropped=dropped)
    )
    await call.done_writing()
    response = await call
    await running.snapshot_with(messages_recorded=response.accepted)
    return response


async def exported(running: Service, **asked: int) -> list[pb.MessageRecord]:
    call = running.stub.ExportRecords(pb.ExportRecordsRequest(**asked), metadata=running.metadata)
    return [one async for response in call for one in response.records]


async def test_recorded_messages_come_out_as_they_went_in(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        sent = [
            TRACED,
            Exchange(
                answer="", answer_size=0, latency_us=0, content='{"type":"x"}', learner_id="l"
            ),
        ]
        response = await recorded(running, *sent, dropped=3)

        assert (response.accepted, response.dropped) == (3, 0)
        assert await exported(running) == messages(*sent)
        assert await exported(running, from_ms=NOW_MS + 2) == []
        assert await exported(running, to_ms=NOW_MS) == []
        snapshot = await running.snapshot()
        assert (snapshot.messages_recorded, snapshot.records_dropped) == (3, 3)


async def test_records_with_big_contents_are_exported_in_messages_that_fit(tmp_path: Path) -> None:
    async with service(tmp_path, limits=LIMITS_WIDE) as running:
        big = Exchange(content="x" * 30_000, answer_content="y" * 60_000, learner_id="l")
        await recorded(running, *[big] * 20)
        call = running.stub.ExportRecords(pb.ExportRecordsRequest(), metadata=running.metadata)
        sizes = [response.ByteSize() async for response in call]

        assert len(sizes) == 2
        assert max(sizes) < 1_100_000


LIMITS_WIDE = replace(LIMITS, queue=50_000)
LIMITS_OFF = replace(LIMITS, recording=False)

GOOD = batch(TRACED)
BAD_BATCHES = {
    "no type": batch(TRACED, Exchange(type="")),
    "a type of strange characters": batch(TRACED, Exchange(type="Ping!")),
    "an answer of strange characters": batch(TRACED, Exchange(answer="Pong!")),
    "no time": replace(GOOD, first_ms=0),
    "a time after all years": batch(Exchange(at_ms=2**62)),
    "a long user id": batch(TRACED, Exchange(user_id="u" * 129)),
    "a long role": batch(TRACED, Exchange(role="r" * 33)),
    "no outcome": batch(TRACED, Exchange(outcome="")),
    "a content about nobody": replace(GOOD, contents=[Content(0, "", "x", "")]),
    "a content of no exchange": replace(GOOD, contents=[Content(1, "l", "x", "")]),
    "two contents of one": replace(
        GOOD, contents=[Content(0, "l", "x", ""), Content(0, "m", "x", "")]
    ),
    "a user who is not listed": replace(GOOD, user=[1]),
    "a kind that is not listed": replace(GOOD, kind=[1]),
    "users whom nobody names": replace(GOOD, users=["a", "b"]),
    "half a trace id": replace(GOOD, trace_ids=b"12345678"),
    "a short column": replace(GOOD, latency_us=[]),
    "too many": batch(*[Exchange()] * 2_001),
}


@pytest.mark.parametrize("bad", BAD_BATCHES.values(), ids=BAD_BATCHES.keys())
async def test_a_batch_that_contradicts_itself_is_kept_out(tmp_path: Path, bad: Exchanges) -> None:
    async with service(tmp_path, limits=LIMITS_WIDE) as running:
        call = running.stub.RecordMessages(metadata=running.metadata)
        await call.write(pb.RecordMessagesRequest(edge_id="edge-1", exchanges=wire(bad)))

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert running.recorder.waiting == 0
        assert await exported(running) == []


async def test_records_of_no_edge_are_refused(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        call = running.stub.RecordMessages(metadata=running.metadata)
        await call.write(pb.RecordMessagesRequest(exchanges=wire(GOOD)))

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert running.recorder.waiting == 0


async def test_an_edge_hears_that_recording_is_off(tmp_path: Path) -> None:
    async with service(tmp_path, limits=LIMITS_OFF) as running:
        call = running.stub.RecordMessages(metadata=running.metadata)
        assert await code_of(call) is grpc.StatusCode.FAILED_PRECONDITION


async def test_analytics_sum_per_interval_type_and_role(tmp_path: Path) -> None:
    minute = NOW_MS - NOW_MS % 60_000
    async with service(tmp_path) as running:
        await recorded(
            running,
            Exchange(at_ms=minute, latency_us=2_000),
            Exchange(
                at_ms=minute + 59_999, latency_us=4_000, answer="error", outcome="rate_limited"
            ),
            Exchange(at_ms=minute + 1, role="learner"),
            Exchange(at_ms=minute - 1),
        )
        response = await running.stub.GetAnalytics(
            pb.GetAnalyticsRequest(
                from_ms=minute, to_ms=minute + 60_000, roles=["teacher"], types=["ping"]
            ),
            metadata=running.metadata,
        )

        assert (response.from_ms, response.to_ms, response.interval_s) == (
            minute,
            minute + 60_000,
            60,
        )
        (row,) = response.rows
        assert (row.start_ms, row.type, row.role, row.direction) == (
            minute,
            "ping",
            "teacher",
            pb.DIRECTION_INBOUND,
        )
        assert (row.count, row.errors, row.bytes, row.answered) == (2, 1, 34, 2)
        assert (row.average_ms, row.max_ms) == (3.0, 4.0)
        assert 1.5 <= row.p50_ms <= 2.4


@pytest.mark.parametrize(
    "asked",
    [
        {"interval_s": 61},
        {"from_ms": 2, "to_ms": 1},
        {"from_ms": -1},
        {"from_ms": 1, "to_ms": NOW_MS},
        {"to_ms": 2**62},
    ],
)
async def test_an_analytics_question_out_of_bounds_is_refused(
    tmp_path: Path, asked: dict[str, int]
) -> None:
    async with service(tmp_path) as running:
        call = running.stub.GetAnalytics(pb.GetAnalyticsRequest(**asked), metadata=running.metadata)
        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_persons_records_are_erased_and_only_theirs(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        other = Exchange(user_id="u2", answer="")
        about = Exchange(user_id="u3", content="{}", learner_id="l1", answer="")
        await recorded(running, Exchange(), other, about)

        erased = await running.stub.EraseRecords(
            pb.EraseRecordsRequest(user_id="u1"), metadata=running.metadata
        )
        assert (erased.erased, await exported(running)) == (2, messages(other, about))
        erased = await running.stub.EraseRecords(
            pb.EraseRecordsRequest(learner_id="l1"), metadata=running.metadata
        )
        assert (erased.erased, await exported(running)) == (1, messages(other))
        rows = (
            await running.stub.GetAnalytics(pb.GetAnalyticsRequest(), metadata=running.metadata)
        ).rows
        assert {row.type: row.count for row in rows} == {"ping": 3, "pong": 1}


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
