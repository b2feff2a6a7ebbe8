"""Sends what the edge recorded of frames to the metrics service, in batches. Nothing a learner does waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import grpc
import grpc.aio

from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from edge.recording import Exchange, Recording
from edge.settings import EdgeSettings
from service_runtime.grpc_client import Channel

logger = logging.getLogger(__name__)

MAX_BATCH = 200
"""Entries of one message: making it keeps the event loop for less than a millisecond."""
FLUSH_S = 1.0
"""How long a stopping edge tries to send what waits."""
LOOK_AGAIN_S = 60.0
"""After which an edge asks again whether a service that kept no records keeps them now."""
OPENING_S = 1.0
"""In which a service that keeps no records says so."""

_BROKEN = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError)


class RecordingLink:
    """One stream of records for as long as the edge lives, opened again whenever it breaks."""

    def __init__(self, channel: Channel, settings: EdgeSettings, recording: Recording, edge_id: str) -> None:
        """Prepare; `run` makes it send."""
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel.channel)
        self._metadata = channel.metadata
        self._interval_s = settings.report_s
        self._recording = recording
        self._edge_id = edge_id
        self._told_dropped = 0
        self._written = 0
        """Records of the newest message that was sent."""
        self._is_refused = False

    async def run(self) -> None:
        """Send until cancelled, then what still waits, for a moment.

        Entries whose sending failed are sent again. Those on the way when the service dies are lost.
        """
        while True:
            stream = self._stub.RecordMessages(metadata=self._metadata)
            try:
                if self._is_refused:
                    await self._wait_until_taken(stream)
                while True:
                    await self._send_waiting(stream)
                    await asyncio.sleep(self._interval_s)
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
        while (entries := recording.batch(MAX_BATCH)) or recording.dropped > self._told_dropped:
            dropped = recording.dropped
            request = metrics_pb2.RecordMessagesRequest(edge_id=self._edge_id, dropped=dropped - self._told_dropped)
            for entry in entries:
                _add(request.records, entry)
            await stream.write(request)
            recording.hand_over()
            self._written = len(request.records)
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
            logger.error("the metrics service refused message records", extra={"records": self._written})
            self._recording.sent -= self._written
            self._recording.dropped += self._written
        self._written = 0

    async def _end(self, stream: Any) -> None:
        with contextlib.suppress(*_BROKEN, TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._send_waiting(stream)
                await stream.done_writing()
                await stream


def _add(records: Any, entry: Exchange) -> None:
    """Add the messages of one entry; fields that are empty are left out, which takes half the time."""
    both: dict[str, Any] = {"user_id": entry.user_id, "role": entry.role, "outcome": entry.outcome}
    if entry.trace_id:
        both["trace_id"] = entry.trace_id
    if entry.learner_id:
        both["learner_id"] = entry.learner_id
    inbound = records.add(
        at_ms=int(entry.at_s * 1000),
        type=entry.type,
        direction=metrics_pb2.DIRECTION_INBOUND,
        bytes=entry.size,
        content=entry.content.decode(),
        **both,
    )
    if not entry.answer:
        return
    inbound.latency_ms = entry.latency_s * 1000
    records.add(
        at_ms=int((entry.at_s + entry.latency_s) * 1000),
        type=entry.answer,
        direction=metrics_pb2.DIRECTION_OUTBOUND,
        bytes=entry.answer_size,
        content=entry.answer_content.decode(),
        **both,
    )
