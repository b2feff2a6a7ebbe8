"""The contract over a real server: what edges record, in and out, summed and erased."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import grpc
import pytest

from aivo.metrics.v1 import metrics_pb2 as pb
from metrics_service.exchanges import Content, Exchanges
from tests.metrics_service.support import (
    LIMITS,
    NOW_MS,
    Exchange,
    Service,
    batch,
    code_of,
    records,
    service,
)

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
