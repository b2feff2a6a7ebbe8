"""What several tests of the metrics service need."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.aggregate import Aggregate
from metrics_service.exchanges import TRACE_BYTES, Content, Exchanges, Kind
from metrics_service.recorder import Limits, Recorder
from metrics_service.records import MessageRecord
from metrics_service.servicer import SERVICE_NAME, MetricsServicer
from metrics_service.settings import MetricsSettings
from metrics_service.store import Store
from service_runtime.grpc_client import ClientSettings, open_channel
from service_runtime.grpc_server import GrpcServer

NOW_MS = 1_790_000_000_000
LIMITS = Limits(
    recording=True,
    queue=1_000,
    record_retention_days=7.0,
    sums_retention_days=90.0,
    totals_interval_s=0.01,
)
PATIENCE_S = 20.0
"""How long a test waits for what has to happen; passing tests never wait that long."""


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'metrics.sqlite3'}"


def record(**changes: Any) -> MessageRecord:
    plain = MessageRecord(
        at_ms=NOW_MS,
        user_id="u1",
        role="teacher",
        type="ping",
        direction=1,
        bytes=17,
        latency_ms=1.5,
        outcome="ok",
        trace_id="",
    )
    return replace(plain, **changes)


class Exchange(NamedTuple):
    """A ping and its pong, unless something else is said."""

    at_ms: int = NOW_MS
    user_id: str = "u1"
    role: str = "teacher"
    type: str = "ping"
    size: int = 17
    answer: str = "pong"
    answer_size: int = 23
    latency_us: int = 1500
    outcome: str = "ok"
    trace_id: str = ""
    content: str = ""
    answer_content: str = ""
    learner_id: str = ""


def batch(*some: Exchange) -> Exchanges:
    """Put exchanges into columns, as an edge does."""
    first_ms = min((one.at_ms for one in some), default=NOW_MS)
    users = list(dict.fromkeys(one.user_id for one in some))
    kind_of = [Kind(one.role, one.type, one.answer, one.outcome) for one in some]
    kinds = list(dict.fromkeys(kind_of))
    return Exchanges(
        first_ms=first_ms,
        after_ms=[one.at_ms - first_ms for one in some],
        users=users,
        user=[users.index(one.user_id) for one in some],
        kinds=kinds,
        kind=list(map(kinds.index, kind_of)),
        size=[one.size for one in some],
        answer_size=[one.answer_size for one in some],
        latency_us=[one.latency_us for one in some],
        trace_ids=b"".join(bytes.fromhex(one.trace_id or "00" * TRACE_BYTES) for one in some),
        contents=[
            Content(place, one.learner_id, one.content, one.answer_content)
            for place, one in enumerate(some)
            if one.learner_id
        ],
    )


def records(*some: Exchange) -> list[MessageRecord]:
    """Return the messages that exchanges consist of, each made by itself."""
    found = []
    for one in some:
        frame = record(
            at_ms=one.at_ms,
            user_id=one.user_id,
            role=one.role,
            type=one.type,
            bytes=one.size,
            latency_ms=one.latency_us / 1000 if one.answer else None,
            outcome=one.outcome,
            trace_id=one.trace_id,
            content=one.content,
            learner_id=one.learner_id,
        )
        answer = replace(
            frame,
            at_ms=one.at_ms + one.latency_us // 1000,
            type=one.answer,
            direction=2,
            bytes=one.answer_size,
            latency_ms=None,
            content=one.answer_content,
        )
        found += [frame, answer] if one.answer else [frame]
    return found


class Service:
    """A whole metrics service on port 0, in this event loop, with a client of it."""

    def __init__(self, folder: Path, *, limits: Limits, edge_silence_s: float) -> None:
        self.store = Store.open(url(folder))
        retained, tally = self.store.load()
        self.aggregate = Aggregate(
            monotonic=time.monotonic, wall_ms=lambda: NOW_MS, retained=retained
        )
        self.recorder = Recorder(
            self.store,
            limits=limits,
            retain=self.aggregate.retain,
            wall_ms=lambda: NOW_MS,
            tally=tally,
        )
        self.servicer = MetricsServicer(
            self.aggregate, self.recorder, edge_silence_s=edge_silence_s, wall_ms=lambda: NOW_MS
        )
        settings = MetricsSettings(
            listen="127.0.0.1:0", credential="test-credential", drain_s=PATIENCE_S
        )
        self.server = GrpcServer(settings, services=(SERVICE_NAME,))
        self.servicer.register(self.server.server)

    async def start(self) -> None:
        self.recorder.start()
        port = await self.server.start()
        self.channel = open_channel(
            f"127.0.0.1:{port}", ClientSettings(credential="test-credential")
        )
        self.metadata = self.channel.metadata
        self.stub: Any = metrics_pb2_grpc.MetricsServiceStub(self.channel.channel)

    async def stop(self) -> None:
        await self.channel.close()
        await self.stop_serving()

    async def stop_serving(self) -> None:
        self.servicer.drain()
        await self.server.stop()
        await self.recorder.stop(within_s=PATIENCE_S)
        self.store.close()

    async def snapshot(self) -> pb.FleetSnapshot:
        response = await self.stub.GetSnapshot(
            pb.GetSnapshotRequest(), metadata=self.metadata, timeout=PATIENCE_S
        )
        return response.snapshot

    async def snapshot_with(self, **metrics: int) -> pb.FleetSnapshot:
        """Return the first snapshot that has these metrics."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                snapshot = await self.snapshot()
                if all(getattr(snapshot, name) == value for name, value in metrics.items()):
                    return snapshot


@contextlib.asynccontextmanager
async def service(
    folder: Path, *, limits: Limits = LIMITS, edge_silence_s: float = 60.0
) -> AsyncIterator[Service]:
    running = Service(folder, limits=limits, edge_silence_s=edge_silence_s)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def code_of(call: Any) -> grpc.StatusCode:
    async with asyncio.timeout(PATIENCE_S):
        return await call.code()
