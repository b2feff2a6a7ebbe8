"""One brain's updates: a single long stream for all learners watched here, resumed where it broke
off.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from edge.frames.clock import rfc3339
from edge.hub.hub import Hub
from edge.ports import Done, LearnerSnapshot
from edge.settings import EdgeSettings
from edge.telemetry.skew import Skew
from edge.telemetry.tracing import traces_of
from edge.upstream import assessments
from edge.upstream.batcher import Batcher
from service_runtime import telemetry
from service_runtime.grpc_client import Channel

logger = logging.getLogger(__name__)

RETRY_MAX_S = 1.0

_SERVICE = brain_pb2.DESCRIPTOR.services_by_name["BrainService"].full_name

MAX_CURSORS = 1_000
"""Learners added by one call: the brain accepts more, but their snapshots must fit into one message
too.
"""


class WatchLink:
    """Keeps a WatchState stream open and passes its updates to the hub."""

    def __init__(
        self,
        channel: Channel,
        settings: EdgeSettings,
        hub: Hub,
        *,
        is_mine: Callable[[str], bool],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`is_mine` says which learners this brain serves; `on_change` is called when the stream
        opens or closes.
        """
        self._on_change = on_change
        self._stub = brain_pb2_grpc.BrainServiceStub(channel.channel)
        self._metadata = channel.metadata
        self._hub = hub
        self._is_mine = is_mine
        self._patience_s = settings.upstream_s
        self._watch_id = ""
        self._epoch = ""
        """The last epoch on this stream; the hub's may come from another brain's stream already."""
        self._stream: (
            grpc.aio.UnaryStreamCall[brain_pb2.WatchStateRequest, brain_pb2.WatchStateResponse]
            | None
        ) = None
        self.is_open = asyncio.Event()
        self.status = ""
        """The gRPC status that the stream ended with last; empty before that, and while it is open.
        """
        self.skew = Skew("brain", samples=3)
        self._changes = Batcher(
            self._modify,
            service="brain",
            max_batch=256,
            max_pending=settings.max_pending,
            traces=traces_of(channel.tracer, f"{_SERVICE}/ModifyWatch", channel.address),
        )

    @property
    def batchers(self) -> dict[str, Batcher[Any]]:
        """Batchers by the name of the call."""
        return {"ModifyWatch": self._changes}

    @property
    def changes(self) -> Batcher[str]:
        """The batcher of learners to start or stop watching, as the hub wants by then."""
        return self._changes

    def watch(self, learner_id: str, done: Done[LearnerSnapshot]) -> None:
        """Begin or change watching as the hub's cursor says; `done` gets a LearnerSnapshot."""
        self._changes.submit(learner_id, done)

    def unwatch(self, learner_id: str) -> None:
        """Stop watching, unless the hub wants the learner again by then, and of this brain."""
        self._changes.submit(learner_id, _ignore)

    async def run(self) -> None:
        """Keep the stream open until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._changes.run())
            group.create_task(self._keep_open())

    async def _keep_open(self) -> None:
        backoff_s = 0.05
        while True:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                self._note_end(error.code())
            except (ConnectionError, grpc.aio.UsageError):
                pass
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # else only the stream was cancelled, by `_close`, because the brain has forgotten
                # it
            finally:
                if self.is_open.is_set():
                    backoff_s = 0.05
                self._close()
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311
            backoff_s = min(RETRY_MAX_S, backoff_s * 2)

    async def _follow(self) -> None:
        self._watch_id = str(uuid.uuid4())
        learner_ids = [
            learner_id for learner_id in self._hub.learners() if self._is_mine(learner_id)
        ]
        request = brain_pb2.WatchStateRequest(
            watch_id=self._watch_id, cursors=self._cursors(learner_ids[:MAX_CURSORS])
        )
        stream = self._stream = self._stub.WatchState(request, metadata=self._metadata)
        while (response := await stream.read()) is not grpc.aio.EOF:
            assert isinstance(response, brain_pb2.WatchStateResponse)  # noqa: S101 - not EOF
            if not self.is_open.is_set():
                await self._begin(response, learner_ids[MAX_CURSORS:])
                self.is_open.set()
                self.status = ""
                self._on_change()
            if response.HasField("heartbeat"):
                self.skew.note(response.heartbeat.sent_at_ms / 1000 - time.time())
            for update in response.updates:
                self._hub.deliver(assessments.update(update, response.epoch))
        code = await stream.code()
        if code is not grpc.StatusCode.OK:
            self._note_end(code)
            raise ConnectionError(code.name)

    def _note_end(self, code: grpc.StatusCode) -> None:
        # Once per reason: it is retried every second.
        if code is not grpc.StatusCode.UNAVAILABLE and code.name != self.status:
            logger.warning("the watch stream broke", extra={"status": code.name})
        self.status = code.name

    async def _begin(self, first: brain_pb2.WatchStateResponse, remaining: list[str]) -> None:
        """Add the learners that did not fit into the first request; in a new epoch get everyone's
        snapshot.
        """
        is_new = self._epoch not in ("", first.epoch)
        self._epoch = first.epoch
        self._hub.begin_epoch(first.epoch)
        snapshots = list(first.snapshots)
        for start in range(0, len(remaining), MAX_CURSORS):
            cursors = self._cursors(remaining[start : start + MAX_CURSORS])
            request = brain_pb2.ModifyWatchRequest(watch_id=self._watch_id, add=cursors)
            response = await self._stub.ModifyWatch(
                request, metadata=self._metadata, timeout=self._patience_s
            )
            snapshots += response.snapshots
        if is_new:
            for snapshot in snapshots:
                if snapshot.HasField("assessment"):
                    self._hub.deliver(assessments.update_from_snapshot(snapshot, first.epoch))

    async def _modify(self, learner_ids: list[str]) -> Sequence[LearnerSnapshot | None]:
        """Update the stream to what the hub wants for these learners now."""
        async with asyncio.timeout(self._patience_s):
            response = await self._modify_open_stream(list(dict.fromkeys(learner_ids)))
        snapshots = {
            snapshot.learner_id: _snapshot(snapshot, response.epoch)
            for snapshot in response.snapshots
        }
        return [snapshots.get(learner_id) for learner_id in learner_ids]

    async def _modify_open_stream(self, learner_ids: list[str]) -> brain_pb2.ModifyWatchResponse:
        while True:
            await self.is_open.wait()
            watch_id = self._watch_id
            cursors = {learner_id: self._cursor(learner_id) for learner_id in learner_ids}
            request = brain_pb2.ModifyWatchRequest(
                watch_id=watch_id,
                add=[cursor for cursor in cursors.values() if cursor is not None],
                remove=[learner_id for learner_id, cursor in cursors.items() if cursor is None],
            )
            try:
                response = await self._stub.ModifyWatch(
                    request, metadata=telemetry.outgoing(self._metadata)
                )
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                    raise
                self._close()
                await asyncio.sleep(0.05)
            else:
                if watch_id == self._watch_id:
                    return response
                # Another stream is open by now and may have started after these snapshots: ask
                # again, or updates in between would be missed.

    def _cursors(self, learner_ids: list[str]) -> list[brain_pb2.Cursor]:
        cursors = map(self._cursor, learner_ids)
        return [cursor for cursor in cursors if cursor is not None]

    def _cursor(self, learner_id: str) -> brain_pb2.Cursor | None:
        cursor = self._hub.cursor(learner_id)
        if cursor is None or not self._is_mine(learner_id):
            return None
        epoch, revision, every = cursor
        mode = brain_pb2.DELIVERY_MODE_EVERY if every else brain_pb2.DELIVERY_MODE_LATEST
        return brain_pb2.Cursor(learner_id=learner_id, epoch=epoch, revision=revision, mode=mode)

    def _close(self) -> None:
        if self.is_open.is_set():
            self.is_open.clear()
            self._on_change()
        if self._stream is not None:
            self._stream.cancel()  # a call that is dropped without cancelling is never freed
            self._stream = None


def _snapshot(message: brain_pb2.LearnerSnapshot, epoch: str) -> LearnerSnapshot:
    assessment = (
        assessments.assessment(message.assessment) if message.HasField("assessment") else None
    )
    return LearnerSnapshot(
        epoch,
        message.revision,
        assessment,
        rfc3339(message.occurred_at_ms) if message.occurred_at_ms else "",
    )


def _ignore(answer: object) -> None:
    """Nobody waits for the end of a watch."""
