"""Recorded exchanges on their way to the metrics service."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from edge.settings import EdgeSettings
from edge.telemetry.recording import MANY, Exchange, Recording
from edge.upstream import recording as recording_room
from edge.upstream.metrics import MetricsLink
from edge.upstream.recording import RecordingLink
from service_runtime.grpc_client import open_channel
from tests.edge.test_recording import edge_with, note, recording, take
from tests.support.background import serving
from tests.support.eventually import until
from tests.support.fakes import say

WAIT_S = 20.0
SETTINGS = EdgeSettings(report_s=0.01)


def users_of(request: Any) -> list[str]:
    """Return the user of every exchange."""
    return [request.exchanges.users[place] for place in request.exchanges.user]


class Metrics(metrics_pb2_grpc.MetricsServiceServicer):
    """Keeps the records it gets; ends streams as a test says."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.refuse: grpc.StatusCode | None = None
        self.bad_users: set[str] = set()
        self.erased: list[str] = []
        self.ended = 0
        self.streams = 0

    @property
    def users(self) -> list[str]:
        return [user for request in self.requests for user in users_of(request)]

    async def RecordMessages(self, requests: AsyncIterator[Any], context: Any) -> Any:
        self.streams += 1
        if self.refuse is not None:
            await context.abort(self.refuse, "no")
        async for request in requests:
            if self.bad_users & set(users_of(request)):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")
            self.requests.append(request)
        self.ended += 1
        return metrics_pb2.RecordMessagesResponse()

    async def GetAnalytics(self, request: Any, context: Any) -> Any:
        row = metrics_pb2.AnalyticsRow(
            type="ping", direction=metrics_pb2.DIRECTION_OUTBOUND, count=3, p99_ms=1.23456
        )
        return metrics_pb2.GetAnalyticsResponse(
            rows=[row], from_ms=0, to_ms=60_000, interval_s=request.interval_s
        )

    async def EraseRecords(self, request: Any, context: Any) -> Any:
        self.erased.append(request.learner_id)
        return metrics_pb2.EraseRecordsResponse(erased=4)


def adder(servicer: Metrics) -> Callable[[grpc.aio.Server], None]:
    return lambda server: metrics_pb2_grpc.add_MetricsServiceServicer_to_server(servicer, server)


@contextlib.asynccontextmanager
async def sending(
    records: Recording, port: int, settings: EdgeSettings = SETTINGS
) -> AsyncIterator[None]:
    """Send records until the end, then let the link end as a stopping edge does."""
    channel = open_channel(f"127.0.0.1:{port}", settings)
    task = asyncio.create_task(RecordingLink(channel, settings, records, "edge-1").run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


async def test_records_reach_the_service_as_the_contract_has_them() -> None:
    metrics, records = Metrics(), recording()
    note(records)
    async with serving(adder(metrics)) as port, sending(records, port):
        await until(lambda: metrics.requests)
    (request,) = metrics.requests
    sent = request.exchanges

    assert (request.edge_id, request.dropped, records.sent) == ("edge-1", 0, 2)
    assert [(one.role, one.type, one.answer, one.outcome) for one in sent.kinds] == [
        ("learner", "ping", "pong", "ok")
    ]
    assert (sent.users, sent.user, sent.kind, sent.bytes, sent.answer_bytes) == (
        ["u0"],
        [0],
        [0],
        [2],
        [2],
    )
    assert (sent.after_ms, sent.latency_us, sent.trace_ids, sent.contents) == ([0], [0], b"", [])
    assert abs(sent.first_ms - time.time() * 1000) < 3_600_000


def test_columns_say_of_each_exchange_what_its_entry_says() -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    ping = Exchange(
        100.0, 100.0005, "u1", "learner", "ping", 20, "pong", 30, "ok", "", b"", b"", ""
    )
    asked = Exchange(
        99.9,
        100.2,
        "u2",
        "teacher",
        "get_state",
        40,
        "error",
        50,
        "forbidden",
        trace_id,
        b"q",
        b"a",
        "l",
    )
    closed = ping._replace(started=100.1, answered=105.0, answer="", answer_size=0)
    sent = recording_room.exchanges([ping, asked, closed], offset_s=1.7e9)

    assert (sent.first_ms, sent.after_ms) == (
        1_700_000_099_900,
        [99, 0, 199],
    )  # cut to whole milliseconds
    assert [sent.users[place] for place in sent.user] == ["u1", "u2", "u1"]
    kinds = [sent.kinds[place] for place in sent.kind]
    assert [(one.role, one.type, one.answer, one.outcome) for one in kinds] == [
        ("learner", "ping", "pong", "ok"),
        ("teacher", "get_state", "error", "forbidden"),
        ("learner", "ping", "", "ok"),
    ]
    assert (sent.bytes, sent.answer_bytes) == ([20, 40, 20], [30, 50, 0])
    assert sent.latency_us == pytest.approx([500, 300_000, 0], abs=1)
    assert sent.trace_ids == bytes(16) + bytes.fromhex(trace_id) + bytes(16)
    (content,) = sent.contents
    assert (content.exchange, content.learner_id, content.content, content.answer_content) == (
        1,
        "l",
        "q",
        "a",
    )


def test_what_waited_for_months_still_fits_its_column() -> None:
    ping = Exchange(0.0, 0.0, "u", "", "ping", 2, "pong", 2, "ok", "", b"", b"", "")
    late = ping._replace(started=60 * 86_400.0, answered=120 * 86_400.0)
    sent = recording_room.exchanges([ping, late], offset_s=1.7e9)

    assert (sent.after_ms, sent.latency_us) == ([0, 2**32 - 1], [0, 2**32 - 1])


async def test_a_service_that_comes_back_gets_what_waited_and_hears_what_was_dropped() -> None:
    metrics, records = Metrics(), recording(capacity=5)
    async with serving(adder(metrics)) as port:
        channel_open = sending(records, port)
        await channel_open.__aenter__()
        note(records, 0)
        await until(lambda: metrics.users == ["u0"])
    for number in range(1, 9):
        note(records, number)
    assert records.dropped == 6
    async with serving(adder(metrics), port):
        await until(lambda: len(metrics.users) == 6)
        await channel_open.__aexit__(None, None, None)

    assert metrics.users == [f"u{number}" for number in range(6)]
    assert sum(request.dropped for request in metrics.requests) == 6


async def test_a_stopping_edge_sends_what_waits() -> None:
    metrics, records = Metrics(), recording()
    async with serving(adder(metrics)) as port:
        async with sending(records, port):
            note(records, 0)
            await until(lambda: metrics.requests)
            note(records, 1)
        assert metrics.users == ["u0", "u1"]
        assert metrics.ended == 1


async def test_more_than_one_message_holds_is_sent_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording_room, "MAX_BATCH", 7)
    metrics, records = Metrics(), recording()
    for number in range(50):
        note(records, number)
    async with serving(adder(metrics)) as port, sending(records, port):
        await until(lambda: len(metrics.users) == 50)

    assert metrics.users == [f"u{number}" for number in range(50)]
    assert max(map(len, map(users_of, metrics.requests))) == 7


async def test_what_comes_while_records_are_sent_waits_for_its_turn() -> None:
    records = recording()
    sizes: list[int] = []

    class Stream:
        async def write(self, request: Any) -> None:
            sizes.append(len(users_of(request)))
            note(records)  # a frame is answered whenever the loop turns

    channel = open_channel("127.0.0.1:1", SETTINGS)
    link = RecordingLink(channel, SETTINGS, records, "edge-1")
    for number in range(5):
        note(records, number)
    await link._send_waiting(Stream())
    await channel.close()

    assert (sizes, len(records)) == ([5], 1)


async def test_half_a_queue_is_sent_before_its_time() -> None:
    metrics, records = Metrics(), recording(capacity=10)
    async with (
        serving(adder(metrics)) as port,
        sending(records, port, EdgeSettings(report_s=3600.0)),
    ):
        note(records, 0)
        await until(lambda: len(metrics.users) == 1)
        for number in range(1, 7):
            note(records, number)
        await until(lambda: len(metrics.users) == 7)

    assert records.dropped == 0


async def test_what_is_worth_a_message_is_sent_in_one_before_its_time() -> None:
    metrics, records = Metrics(), recording(capacity=100_000)
    async with (
        serving(adder(metrics)) as port,
        sending(records, port, EdgeSettings(report_s=3600.0)),
    ):
        note(records, 0)
        await until(lambda: len(metrics.users) == 1)
        for number in range(1, MANY + 100):
            note(records, number)
        await until(lambda: len(metrics.users) == MANY + 100)

    assert len(metrics.requests) == 2


async def test_the_few_that_come_while_many_are_sent_are_not_hurried() -> None:
    records = recording(capacity=100_000)
    sizes: list[int] = []

    class Stream:
        async def write(self, request: Any) -> None:
            sizes.append(len(users_of(request)))
            note(records)
            await asyncio.sleep(0)

        def done(self) -> bool:
            return False

        def cancel(self) -> None:
            pass

        async def done_writing(self) -> None:
            pass

        def __await__(self) -> Any:
            return asyncio.sleep(0).__await__()

    settings = EdgeSettings(report_s=3600.0)
    channel = open_channel("127.0.0.1:1", settings)
    link = RecordingLink(channel, settings, records, "edge-1")
    link._stub = SimpleNamespace(RecordMessages=lambda metadata: Stream())  # type: ignore[assignment]
    running = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    for _ in range(MANY + 1):
        note(records)
    await until(lambda: sizes and len(records) == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    sent = list(sizes)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await channel.close()

    assert sent == [MANY + 1]


async def test_an_edge_stops_recording_for_a_service_that_keeps_none_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording_room, "LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(recording_room, "OPENING_S", 0.3)
    metrics, records = Metrics(), recording()
    metrics.refuse = grpc.StatusCode.FAILED_PRECONDITION
    note(records, 0)
    async with serving(adder(metrics)) as port, sending(records, port):
        await until(lambda: not records.is_on)
        note(records, 1)
        assert len(records) == 0
        metrics.refuse = None
        await until(lambda: records.is_on)
        note(records, 2)
        await until(lambda: metrics.requests)

    assert metrics.users == ["u2"]


async def test_a_refused_batch_is_counted_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording_room, "MAX_BATCH", 1)
    metrics, records = Metrics(), recording()
    metrics.bad_users = {"u0"}
    note(records, 0)
    async with serving(adder(metrics)) as port, sending(records, port):
        await until(lambda: metrics.streams == 1)
        number = 1

        def sent() -> bool:
            nonlocal number
            note(records, number)
            number += 1
            return bool(metrics.users)

        await until(sent)
        await until(lambda: len(records) == 0)

    assert records.dropped >= 2
    assert "u0" not in metrics.users


async def test_analytics_and_erasure_are_asked_of_the_service() -> None:
    metrics, records = Metrics(), recording(keeps_content=True)
    edge = edge_with(records)
    session, _ = edge.session("ada")
    take(records)
    say(session, "get_state", learner_id="ada")
    async with serving(adder(metrics)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = MetricsLink(channel, SETTINGS, edge.counters, records)
        sums = await link.analytics(from_ms=0, to_ms=0, interval_s=60, types=[], roles=[])
        erased = await link.erase_records("ada")
        await channel.close()

    assert (sums["from"], sums["interval_s"]) == ("1970-01-01T00:00:00.000Z", 60)
    assert (sums["rows"][0]["direction"], sums["rows"][0]["p99_ms"]) == ("outbound", 1.235)
    assert (erased, metrics.erased, len(records)) == (4, ["ada"], 0)
