"""BrainService over the engine and the watches: its methods check, call, convert and answer,
without decisions of their own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from brain_service import model
from brain_service.engine.engine import Engine
from brain_service.engine.privacy import BadRequestError
from brain_service.engine.publication import Publication
from brain_service.engine.storage import StoreUnavailableError
from brain_service.engine.submission import (
    Applied,
    Failed,
    FailureCode,
    LearnerSnapshot,
    Submission,
)
from brain_service.model import codec
from brain_service.model.adapt import ContentAdapter
from brain_service.model.interaction import BadInteractionError
from brain_service.servicer import answers, checks, convert
from brain_service.servicer.assessments import AssessmentCache, serialised
from brain_service.servicer.checks import InvalidFieldError
from brain_service.servicer.meaning import explanations
from brain_service.tracing import NO_TRACES, NoTraces, Served
from brain_service.watch.watch import Batch, WatchEndedError, WatchReplacedError
from brain_service.watch.watches import UnknownWatchError, Watches
from service_runtime import trace_context
from service_runtime.errors import ErrorTable
from service_runtime.streams import StoppingError, Streams

logger = logging.getLogger(__name__)

SERVICE_NAME: Final = brain_pb2.DESCRIPTOR.services_by_name["BrainService"].full_name


_RESEND: Final = "send what is not acknowledged again under the same ids."


class FaultError(Exception):
    """A fault of the brain, logged where it happened."""


class NotStoredError(Exception):
    """Nothing changed; the call may be made again under the same id."""


ERRORS = ErrorTable(
    {
        InvalidFieldError: grpc.StatusCode.INVALID_ARGUMENT,
        BadInteractionError: grpc.StatusCode.INVALID_ARGUMENT,
        UnknownWatchError: grpc.StatusCode.NOT_FOUND,
        WatchReplacedError: grpc.StatusCode.ABORTED,
        WatchEndedError: grpc.StatusCode.CANCELLED,
        StoppingError: grpc.StatusCode.UNAVAILABLE,
        StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
        BadRequestError: grpc.StatusCode.INVALID_ARGUMENT,
        NotStoredError: grpc.StatusCode.UNAVAILABLE,
        FaultError: grpc.StatusCode.INTERNAL,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]


@ERRORS.guard
class BrainServicer(brain_pb2_grpc.BrainServiceServicer):
    """The brain's contract."""

    def __init__(
        self,
        engine: Engine,
        watches: Watches,
        adapter: ContentAdapter,
        traces: NoTraces = NO_TRACES,
    ) -> None:
        """Serve `engine` and `watches`; `adapter` decides on the form of content, `traces` records
        sampled work.
        """
        self._engine = engine
        self._watches = watches
        self._adapter = adapter
        self._traces = traces
        self._readings = AssessmentCache()
        self._streams = Streams()

    def register(self, server: grpc.aio.Server) -> None:
        """Make `server` answer the contract's calls with this servicer."""
        brain_pb2_grpc.add_BrainServiceServicer_to_server(self, server)
        # Answers to batches are serialised already, see `answers`.
        interact: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self.Interact, request_deserializer=brain_pb2.InteractRequest.FromString
        )
        server.add_registered_method_handlers(SERVICE_NAME, {"Interact": interact})

    def forget(self, publications: Sequence[Publication]) -> None:
        """Forget assessments when a learner was erased; subscribe this to the bus."""
        if any(publication.gone for publication in publications):
            self._readings.clear()

    def hear(self, publications: Sequence[Publication]) -> None:
        """The same for learners that another brain erased; entries kept by identity cannot be
        stale.
        """
        self.forget(publications)

    def lose_touch(self) -> None:
        """Nothing here depends on memory."""

    def regain_touch(self) -> None:
        """Nothing can be stale here."""

    def drain(self) -> None:
        """End all endless streams with UNAVAILABLE; batches in hand are still acknowledged."""
        self._streams.stop()

    async def Interact(  # type: ignore[override]  # reads and writes the call itself
        self, request_iterator: AsyncIterable[brain_pb2.InteractRequest], context: Context
    ) -> None:
        """Apply batches, one at a time per stream; concurrent streams share the engine's
        commits.
        """
        read = context.read
        while (request := await self._streams.wait(read, advice=_RESEND)) is not grpc.aio.EOF:
            checks.at_most("interactions", request.interactions, checks.MAX_BATCH)
            results = await self._submit(request.interactions)
            request_ids = [interaction.request_id for interaction in request.interactions]
            self._readings.next_batch()
            await context.write(
                answers.response(
                    self._engine.epoch, zip(request_ids, results, strict=True), self._readings
                )
            )

    async def RecordInteraction(
        self, request: brain_pb2.RecordInteractionRequest, context: Context
    ) -> brain_pb2.RecordInteractionResponse:
        """Apply one interaction under the trace that its caller began, or a new one."""
        trace = _trace(request.interaction.traceparent, context)
        request.interaction.traceparent = trace_context.render(trace)
        who = checks.requester(request.requested_by)
        (result,) = await self._submit([request.interaction], recorded_by=who)
        self._readings.next_batch()
        return brain_pb2.RecordInteractionResponse(
            applied=convert.applied(_require(result), self._readings),
            epoch=self._engine.epoch,
            trace_id=trace.trace_id,
        )

    async def RecordInteractions(
        self, request: brain_pb2.RecordInteractionsRequest, context: Context
    ) -> brain_pb2.RecordInteractionsResponse:
        """Apply a batch; errors are in the outcome of each."""
        checks.at_most("interactions", request.interactions, checks.MAX_BATCH)
        who = checks.requester(request.requested_by)
        results = await self._submit(request.interactions, recorded_by=who)
        logger.info("interactions recorded", extra=_counts(results))
        request_ids = [interaction.request_id for interaction in request.interactions]
        self._readings.next_batch()
        written = answers.response(
            self._engine.epoch, zip(request_ids, results, strict=True), self._readings
        )
        response = brain_pb2.InteractResponse.FromString(written)
        return brain_pb2.RecordInteractionsResponse(
            outcomes=response.outcomes, epoch=response.epoch
        )

    async def WatchState(
        self, request: brain_pb2.WatchStateRequest, context: Context
    ) -> AsyncIterator[brain_pb2.WatchStateResponse]:
        """Stream changes; everything that changed while the last message was being sent is one
        message.
        """
        watch_id = checks.identifier("watch_id", request.watch_id)
        checks.at_most("cursors", request.cursors, checks.MAX_CURSORS)
        watch, starts = await self._watches.open(watch_id, convert.cursors(request.cursors))
        # By a callback of the call, because cancelling drops this generator wherever it is.
        context.add_done_callback(lambda ctx: self._watches.close(watch))  # type: ignore[arg-type]  # stubs want a class
        yield brain_pb2.WatchStateResponse(
            epoch=self._watches.epoch,
            snapshots=convert.starting_points(starts, self._readings),
        )
        while True:
            batch = await self._streams.wait(watch.take)
            began_ns = self._traces.now_ns()
            yield self._updates(batch)
            self._traces.sent(batch.updates, began_ns)

    async def ModifyWatch(
        self, request: brain_pb2.ModifyWatchRequest, context: Context
    ) -> brain_pb2.ModifyWatchResponse:
        """Change what an open watch delivers."""
        checks.at_most("add", request.add, checks.MAX_CURSORS)
        checks.at_most("remove", request.remove, checks.MAX_CURSORS)
        add = convert.cursors(request.add)
        starts = await self._watches.modify(request.watch_id, add, request.remove)
        return brain_pb2.ModifyWatchResponse(
            epoch=self._watches.epoch,
            snapshots=convert.starting_points(starts, self._readings),
        )

    async def GetState(
        self, request: brain_pb2.GetStateRequest, context: Context
    ) -> brain_pb2.GetStateResponse:
        """Return present assessments with the mastery of all skills."""
        checks.at_most("queries", request.queries, checks.MAX_BATCH)
        queries = [
            (checks.identifier("learner_id", query.learner_id), query.min_revision)
            for query in request.queries
        ]
        snapshots = await self._engine.snapshots(queries)
        return brain_pb2.GetStateResponse(
            epoch=self._engine.epoch, snapshots=[_at_rest(value) for value in snapshots]
        )

    async def GetHistory(
        self, request: brain_pb2.GetHistoryRequest, context: Context
    ) -> brain_pb2.GetHistoryResponse:
        """Return a page of one learner's log."""
        learner_id = checks.identifier("learner_id", request.learner_id)
        if request.limit > checks.MAX_HISTORY:
            raise InvalidFieldError(
                f"limit must be 1 to {checks.MAX_HISTORY:,}, or 0 for {checks.DEFAULT_HISTORY}."
            )
        entries, has_more = await self._engine.history(
            learner_id,
            after_revision=request.after_revision,
            limit=request.limit or checks.DEFAULT_HISTORY,
            newest=request.newest,
        )
        return await convert.history(
            self._engine.epoch, entries, has_more=has_more, newest=request.newest
        )

    async def AdaptContent(
        self, request: brain_pb2.AdaptContentRequest, context: Context
    ) -> brain_pb2.AdaptContentResponse:
        """Adapt content; it is unchanged for unknown learners."""
        wish = convert.adapt_request(request)
        learner_id = checks.identifier("learner_id", request.learner_id)
        (snapshot,) = await self._engine.snapshots([(learner_id, 0)])
        if snapshot.assessment is None:
            return brain_pb2.AdaptContentResponse(adapted_content=request.content)
        return convert.adapted(self._adapter.adapt(wish, snapshot.assessment), snapshot.revision)

    async def ExportLearner(
        self, request: brain_pb2.ExportLearnerRequest, context: Context
    ) -> AsyncIterator[brain_pb2.ExportLearnerResponse]:
        """Stream everything stored about a learner."""
        async for lines in self._engine.export(request.learner_id, request.requested_by):
            yield brain_pb2.ExportLearnerResponse(json_lines=lines)

    async def EraseLearner(
        self, request: brain_pb2.EraseLearnerRequest, context: Context
    ) -> brain_pb2.EraseLearnerResponse:
        """Delete everything stored about a learner."""
        interactions = await self._engine.erase(request.learner_id, request.requested_by)
        return brain_pb2.EraseLearnerResponse(interactions=interactions)

    async def _submit(
        self, interactions: Sequence[brain_pb2.Interaction], *, recorded_by: str = ""
    ) -> list[Applied | Failed]:
        """Apply the well-formed ones; a bad one fails alone."""
        good: list[Submission] = []
        served: list[tuple[int, Served]] = []
        failed: dict[int, Failed] = {}
        for index, interaction in enumerate(interactions):
            try:
                submission = convert.submission(interaction, recorded_by)
                one = self._traces.serve(submission, len(interactions))
                if one is not None:
                    served.append((index, one))
                good.append(submission)
            except (InvalidFieldError, BadInteractionError) as error:
                failed[index] = self._engine.refuse(str(error))
        results = iter(await self._engine.submit(good) if good else ())
        outcomes = [
            failed[index] if index in failed else next(results)
            for index in range(len(interactions))
        ]
        for index, one in served:
            one.answered(outcomes[index])
        return outcomes

    def _updates(self, batch: Batch) -> brain_pb2.WatchStateResponse:
        response = brain_pb2.WatchStateResponse(epoch=self._watches.epoch)
        for update in batch.updates:
            convert.add_update(response, update, self._readings)
        if batch.heartbeat is not None:
            response.heartbeat.CopyFrom(convert.heartbeat(batch.heartbeat))
        return response


def _trace(traceparent: str, context: Context) -> trace_context.TraceContext:
    """Return the caller's trace, from the message or else from the metadata, or a new one."""
    offered = [traceparent]
    offered += [
        str(value) for key, value in context.invocation_metadata() or () if key == "traceparent"
    ]
    found = (parsed for text in offered if (parsed := trace_context.parse(text)) is not None)
    return next(found, None) or trace_context.new_root()


def _counts(results: Sequence[Applied | Failed]) -> dict[str, int]:
    """Log how many of a batch were new, known and refused."""
    applied = [result for result in results if isinstance(result, Applied)]
    duplicates = sum(result.duplicate for result in applied)
    return {
        "stored": len(applied) - duplicates,
        "duplicates": duplicates,
        "refused": len(results) - len(applied),
    }


def _require(result: Applied | Failed) -> Applied:
    """Return what was applied; raises the status of a failure for a caller of a single
    interaction.
    """
    if isinstance(result, Applied):
        return result
    if result.code is FailureCode.INVALID:
        raise InvalidFieldError(result.message)
    if result.code is FailureCode.INTERNAL:
        raise FaultError(result.message)
    raise NotStoredError(result.message)


def _at_rest(snapshot: LearnerSnapshot) -> brain_pb2.LearnerSnapshot:
    state = snapshot.state
    if state is None:
        return convert.snapshot(snapshot, None)
    # With the same rounding as before.
    assessment = codec.in_short(model.assess(state))
    return convert.snapshot(snapshot, serialised(assessment) + explanations(state))
