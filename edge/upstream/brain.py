"""One brain, as an edge calls it: interactions in batches on one stream, other questions in batches
of calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc.aio

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from edge.frames.incoming import AdaptData
from edge.frames.outgoing import StateResponse, VirtualBrainResponse
from edge.ports import Adapted, Done, Interaction, Update, UpstreamError
from edge.settings import EdgeSettings
from edge.telemetry.tracing import traces_of
from edge.upstream import assessments, interactions
from edge.upstream.batcher import Batcher
from edge.upstream.errors import is_transient, translate
from service_runtime import telemetry, trace_context
from service_runtime.grpc_client import Channel
from service_runtime.slices import sliced

_KIND_NAMES = {kind: name for name, kind in interactions.KINDS.items()}

Response = TypeVar("Response")

HISTORY_PAGE = 500

_SERVICE = brain_pb2.DESCRIPTOR.services_by_name["BrainService"].full_name


class BrainLink:
    """A client of one brain."""

    def __init__(self, channel: Channel, settings: EdgeSettings) -> None:
        """Prepare; `run` makes it work."""
        self._channel = channel
        self._metadata = channel.metadata
        self._patience_s = settings.upstream_s
        self._stub = brain_pb2_grpc.BrainServiceStub(channel.channel)
        self._stream: Any = None
        self._interactions = Batcher(
            self._interact,
            service="brain",
            max_batch=settings.max_batch,
            max_pending=settings.max_pending,
            traces=traces_of(
                channel.tracer,
                f"{_SERVICE}/Interact",
                channel.address,
                name="brain.interact",
                alone=True,
            ),
        )
        self._states = Batcher(
            self._get_states,
            service="brain",
            max_batch=256,
            max_pending=settings.max_pending,
            brief=True,  # one state may be hundreds of times as long as another
            traces=traces_of(channel.tracer, f"{_SERVICE}/GetState", channel.address),
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._interactions.run())
                group.create_task(self._states.run())
        finally:
            self._drop_stream()

    @property
    def batchers(self) -> dict[str, Batcher[Any]]:
        """Batchers by the name of the call."""
        return {"Interact": self._interactions, "GetState": self._states}

    @property
    def interactions(self) -> Batcher[Interaction]:
        """The batcher of interactions."""
        return self._interactions

    @property
    def states(self) -> Batcher[brain_pb2.StateQuery]:
        """The batcher of state reads."""
        return self._states

    # Interactions

    def interact(
        self, interaction: Interaction, done: Done[VirtualBrainResponse], *, alone: bool = False
    ) -> None:
        """Send an interaction; `done` gets its response, without timestamp and trace. An `alone`
        one goes before those of senders with many in flight.
        """
        traces, trace = self._interactions.traces, interaction.trace
        queued = traces.queue(trace) if trace.sampled else None
        interaction.traceparent = trace_context.render(trace if queued is None else queued.context)
        self._interactions.submit(interaction, done, queued, alone=alone)

    async def _interact(
        self, batch: list[Interaction]
    ) -> Sequence[VirtualBrainResponse | UpstreamError]:
        """Exchange one batch, trying again under the same ids while the brain restarts."""
        request = interactions.request(batch)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        backoff_s = 0.02
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    if self._stream is None:
                        self._stream = self._stub.Interact(metadata=self._metadata)
                    await self._stream.write(request)
                    response = await self._stream.read()
                if response is grpc.aio.EOF:
                    raise ConnectionError
                return [
                    interactions.answer(interaction, outcome)
                    for interaction, outcome in zip(batch, response.outcomes, strict=True)
                ]
            except (
                grpc.aio.AioRpcError,
                grpc.aio.UsageError,
                asyncio.InvalidStateError,
                ConnectionError,
            ) as error:
                status = await self._ended_with(error)
                self._drop_stream()
                if not is_transient(status) or loop.time() + backoff_s > deadline:
                    raise translate(status, "brain") from error
            except BaseException:
                self._drop_stream()
                raise
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311
            backoff_s = min(0.5, backoff_s * 2)

    async def _ended_with(self, error: BaseException) -> BaseException:
        """Return the status of a stream that ended; reading and writing do not always report it."""
        if (
            isinstance(error, grpc.aio.AioRpcError)
            or self._stream is None
            or not self._stream.done()
        ):
            return error
        code = await self._stream.code()
        return grpc.aio.AioRpcError(
            code, grpc.aio.Metadata(), grpc.aio.Metadata(), await self._stream.details()
        )

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()  # a call that is dropped without cancelling is never freed
            self._stream = None

    # Reading

    def get_state(self, learner_id: str, *, min_revision: int, done: Done[StateResponse]) -> None:
        """Read a state at least as new as `min_revision`; `done` gets a StateResponse."""
        self._states.submit(
            brain_pb2.StateQuery(learner_id=learner_id, min_revision=min_revision), done
        )

    async def _get_states(self, queries: list[brain_pb2.StateQuery]) -> Sequence[Any]:
        response = await self._stub.GetState(
            brain_pb2.GetStateRequest(queries=queries),
            metadata=telemetry.outgoing(self._metadata),
            timeout=self._patience_s,
        )
        return [
            assessments.state_response(snapshot, response.epoch) for snapshot in response.snapshots
        ]

    def replay(self, learner_id: str, *, after: int, until: int, done: Done[list[Update]]) -> None:
        """Read the updates `after` < revision ≤ `until` from the log; `done` gets a list of
        Update.
        """
        self._start(self._replay(learner_id, after, until), done)

    async def _replay(self, learner_id: str, after: int, until: int) -> list[Update]:
        updates: list[Update] = []
        while after < until:
            limit = min(HISTORY_PAGE, until - after)
            page = await self._history(learner_id, after=after, limit=limit, newest=False)
            if not page.entries:
                break
            updates += [
                assessments.update_from_history(learner_id, entry, page.epoch)
                async for entry in sliced(page.entries)
            ]
            after = updates[-1].revision
        return updates

    async def history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> dict[str, Any]:
        """Return a page of a learner's log as JSON-ready values. Raises UpstreamError."""
        try:
            page = await self._history(learner_id, after=after, limit=limit, newest=newest)
        except grpc.aio.AioRpcError as error:
            raise translate(error, "brain") from error
        entries = [
            {
                "revision": entry.revision,
                "interaction_id": entry.interaction_id,
                "type": _KIND_NAMES.get(entry.kind, "unknown"),
                "content": entry.content,
                "response": entry.response if entry.HasField("response") else None,
                "context": assessments.context(entry.context_json),
                "update": assessments.update_from_history(learner_id, entry, page.epoch),
                "mastery": {
                    one.skill: round(one.probability, 4) for one in entry.assessment.mastery
                },
            }
            async for entry in sliced(page.entries)
        ]
        return {"epoch": page.epoch, "entries": entries, "has_more": page.has_more}

    async def _history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> brain_pb2.GetHistoryResponse:
        request = brain_pb2.GetHistoryRequest(
            learner_id=learner_id, after_revision=after, limit=limit, newest=newest
        )
        return await self._call(self._stub.GetHistory, "GetHistory", request)

    async def _call(
        self,
        method: Callable[..., Awaitable[Response]],
        name: str,
        request: Any,
        timeout_s: float | None = None,
    ) -> Response:
        return await self._channel.call(
            method, f"{_SERVICE}/{name}", request, timeout_s or self._patience_s
        )

    # Rare questions

    def adapt(self, data: AdaptData, *, done: Done[Adapted]) -> None:
        """Adapt content; `done` gets Adapted."""
        self._start(self._adapt(data), done)

    async def _adapt(self, data: AdaptData) -> Adapted:
        request = brain_pb2.AdaptContentRequest(
            learner_id=data.learner_id,
            content=data.content,
            content_type=data.content_type,
            target_difficulty=data.target_difficulty,
            focus_areas=data.focus_areas,
        )
        response = await self._call(self._stub.AdaptContent, "AdaptContent", request)
        changes = [
            {
                "code": one.code,
                "description": one.description,
                "reason": one.reason,
                "undo": one.undo,
            }
            for one in response.changes
        ]
        return Adapted(response.adapted_content, changes)

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        """Delete everything stored about a learner and return the number of interactions. Raises
        UpstreamError.
        """
        request = brain_pb2.EraseLearnerRequest(learner_id=learner_id, requested_by=requested_by)
        try:
            response = await self._call(self._stub.EraseLearner, "EraseLearner", request, 60)
        except grpc.aio.AioRpcError as error:
            raise translate(error, "brain") from error
        return response.interactions

    async def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner as JSON lines. Raises UpstreamError."""
        request = brain_pb2.ExportLearnerRequest(learner_id=learner_id, requested_by=requested_by)
        try:
            async for part in self._stub.ExportLearner(
                request, metadata=self._metadata, timeout=600
            ):
                yield part.json_lines
        except grpc.aio.AioRpcError as error:
            raise translate(error, "brain") from error

    def _start(self, work: Any, done: Done[Any]) -> None:
        async def finish() -> None:
            try:
                answer = await work
            except Exception as error:
                answer = translate(error, "brain")
            done(answer)

        task = asyncio.get_running_loop().create_task(finish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
