"""Sends the edge's records of frames to the metrics service in batches. Nothing a learner does
waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from edge.settings import EdgeSettings
from edge.telemetry.recording import Entry, Recording, messages
from service_runtime.grpc_client import Channel

logger = logging.getLogger(__name__)

MAX_BATCH = 800
"""Most entries of one message: those that justify one, plus what arrives before it is made. Making
it blocks the event loop for about a millisecond.
"""
FLUSH_S = 1.0
"""How long a stopping edge tries to send what waits."""
LOOK_AGAIN_S = 60.0
"""Seconds until an edge asks again whether a service that kept no records keeps them now."""
OPENING_S = 1.0
"""Seconds within which a service that keeps no records says so."""

_MOST = 2**32 - 1
_UNTRACED = "0" * 32

T = TypeVar("T")

_BROKEN = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError)


class RecordingLink:
    """One stream of records for as long as the edge lives, opened again whenever it breaks."""

    def __init__(
        self, channel: Channel, settings: EdgeSettings, recording: Recording, edge_id: str
    ) -> None:
        """Prepare; `run` makes it send."""
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel.channel)
        self._metadata = channel.metadata
        self._interval_s = settings.report_s
        self._recording = recording
        self._edge_id = edge_id
        self._told_dropped = 0
        self._written = 0
        """The number of messages in the last batch sent."""
        self._is_refused = False
        self._hurry = asyncio.Event()
        recording.on_many = self._hurry.set

    async def run(self) -> None:
        """Send until cancelled, then what still waits, for a moment.

        Entries whose sending failed are sent again. Those on the way when the service dies are
        lost.
        """
        while True:
            stream = self._stub.RecordMessages(metadata=self._metadata)
            try:
                if self._is_refused:
                    await self._wait_until_taken(stream)
                while True:
                    await self._send_waiting(stream)
                    # Not earlier: entries being sent still count as waiting, and would rush the few
                    # that arrive meanwhile.
                    self._hurry.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), self._interval_s)
                    if stream.done():
                        raise asyncio.InvalidStateError("the service ended the stream")
            except _BROKEN:
                await self._note_end(stream)
            except asyncio.CancelledError:
                await self._end(stream)
                raise
            finally:
                stream.cancel()
            await asyncio.sleep(LOOK_AGAIN_S if self._is_refused else self._interval_s)

    async def _send_waiting(self, stream: Any) -> None:
        recording = self._recording
        left = len(
            recording
        )  # later entries wait for their turn: chasing them would send them by ones and twos
        while left > 0 or recording.dropped > self._told_dropped:
            entries = recording.batch(MAX_BATCH)
            left = left - len(entries) if entries else 0  # some may have been erased meanwhile
            dropped = recording.dropped
            request = metrics_pb2.RecordMessagesRequest(
                edge_id=self._edge_id,
                dropped=dropped - self._told_dropped,
                exchanges=exchanges(entries, time.time() - recording.clock()) if entries else None,
            )
            await stream.write(request)
            recording.hand_over()
            self._written = messages(entries)
            self._told_dropped = dropped

    async def _wait_until_taken(self, stream: Any) -> None:
        await asyncio.sleep(OPENING_S)
        if stream.done():
            raise asyncio.InvalidStateError("the service still keeps no records")
        self._is_refused = False
        self._recording.switch(True)
        logger.info("the metrics service keeps message records again")

    async def _note_end(self, stream: Any) -> None:
        code = await stream.code() if stream.done() else None
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            if not self._is_refused:
                logger.info("the metrics service keeps no message records, so none are made")
            self._is_refused = True
            self._recording.switch(False)
        elif code is grpc.StatusCode.INVALID_ARGUMENT:
            logger.error(
                "the metrics service refused message records", extra={"records": self._written}
            )
            self._recording.sent -= self._written
            self._recording.dropped += self._written
        self._written = 0

    async def _end(self, stream: Any) -> None:
        with contextlib.suppress(*_BROKEN, TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._send_waiting(stream)
                await stream.done_writing()
                await stream


def exchanges(entries: Sequence[Entry], offset_s: float) -> metrics_pb2.Exchanges:
    """Return entries as columns. `offset_s` turns the edge's clock into Unix seconds."""
    columns = tuple(zip(*entries, strict=True))
    (
        started,
        answered,
        users,
        roles,
        types,
        sizes,
        answers,
        answer_sizes,
        outcomes,
        traces,
        *contents,
    ) = columns
    first = min(started)
    kinds = tuple(zip(roles, types, answers, outcomes, strict=True))
    user_indexes, kind_indexes = _indexes(users), _indexes(kinds)
    return metrics_pb2.Exchanges(
        first_ms=int((offset_s + first) * 1e3),
        after_ms=[min(int((moment - first) * 1e3), _MOST) for moment in started],
        users=user_indexes,
        user=map(user_indexes.__getitem__, users),
        kinds=[
            metrics_pb2.ExchangeKind(role=role, type=type_, answer=answer, outcome=outcome)
            for role, type_, answer, outcome in kind_indexes
        ],
        kind=map(kind_indexes.__getitem__, kinds),
        bytes=sizes,
        answer_bytes=answer_sizes,
        latency_us=[
            min(int((end - start) * 1e6), _MOST) if answer else 0
            for start, end, answer in zip(started, answered, answers, strict=True)
        ],
        trace_ids=bytes.fromhex("".join([trace or _UNTRACED for trace in traces]))
        if any(traces)
        else b"",
        contents=_contents(*contents),
    )


def _indexes(values: Iterable[T]) -> dict[T, int]:
    """Number values, each once, in the order of their first appearance."""
    return {value: index for index, value in enumerate(dict.fromkeys(values))}


def _contents(
    contents: Sequence[bytes], answers: Sequence[bytes], learners: Sequence[str]
) -> Iterator[metrics_pb2.ExchangeContent]:
    for index, (content, answer, learner_id) in enumerate(
        zip(contents, answers, learners, strict=True)
    ):
        if learner_id:
            yield metrics_pb2.ExchangeContent(
                exchange=index,
                learner_id=learner_id,
                content=content.decode(),
                answer_content=answer.decode(),
            )
