"""A brain behind its contract on a real server, and its callers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from aivo.brain.v1 import brain_pb2 as pb
from aivo.brain.v1 import brain_pb2_grpc
from brain_service.bus.local import LocalBus
from brain_service.engine.engine import Engine
from brain_service.model.adapt import RuleAdapter
from brain_service.servicer.brain import SERVICE_NAME, BrainServicer
from brain_service.store import SqlStore
from brain_service.watch.watches import Watches
from service_runtime.grpc_client import Channel, ClientSettings, open_channel
from service_runtime.grpc_server import GrpcServer, ListenerSettings

CREDENTIAL = "a-test-credential"
ROOT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAIT_S = 30


class ObservedWatches(Watches):
    """Tells when a watch was closed."""

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        self.closed = asyncio.Condition()

    def close(self, watch: Any, reason: Any = None) -> None:
        super().close(watch, reason)
        self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        async with self.closed:
            self.closed.notify_all()

    async def until_none(self) -> None:
        async with asyncio.timeout(WAIT_S), self.closed:
            await self.closed.wait_for(lambda: not len(self))


class Stack:
    """A brain that serves, and a client of it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.bus = LocalBus()
        self.engine = Engine(store=store, bus=self.bus)
        self.watches = ObservedWatches(self.engine, pending=4)
        self.servicer = BrainServicer(self.engine, self.watches, RuleAdapter())
        self.server = GrpcServer(
            ListenerSettings(listen="127.0.0.1:0", credential=CREDENTIAL, drain_s=5),
            services=(SERVICE_NAME,),
        )
        self.channel: Channel
        self.stub: Any

    async def __aenter__(self) -> Stack:
        self.unsubscribe = self.bus.subscribe(self.watches.publish)
        self.bus.subscribe(self.servicer.forget)
        await self.engine.start()
        self.servicer.register(self.server.server)
        port = await self.server.start()
        self.channel = open_channel(f"127.0.0.1:{port}", ClientSettings(credential=CREDENTIAL))
        self.stub = brain_pb2_grpc.BrainServiceStub(self.channel.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        self.servicer.drain()
        await self.server.stop()
        await self.engine.stop()

    def call(self, method: str, request: Any, **options: Any) -> Any:
        metadata = (*self.channel.metadata, *options.pop("metadata", ()))
        return getattr(self.stub, method)(request, metadata=metadata, **options)

    async def record(
        self, learner_id: str = "mia", count: int = 1, **fields: Any
    ) -> pb.RecordInteractionResponse:
        for _ in range(count):
            response = await self.call(
                "RecordInteraction",
                pb.RecordInteractionRequest(interaction=interaction(learner_id, **fields)),
            )
        return response


def interaction(learner_id: str = "mia", **fields: Any) -> pb.Interaction:
    defaults: dict[str, Any] = {
        "interaction_id": str(uuid.uuid4()),
        "kind": pb.INTERACTION_KIND_PRACTICE,
        "content": "3 + 4",
        "context": pb.Context(
            correct=True, difficulty=3, time_taken_s=5, skills=["addition"], subject="maths"
        ),
    }
    return pb.Interaction(learner_id=learner_id, **(defaults | fields))


@asynccontextmanager
async def watching(
    stack: Stack, *cursors: pb.Cursor, watch_id: str = "w"
) -> AsyncIterator[tuple[Any, Any]]:
    call = stack.call("WatchState", pb.WatchStateRequest(watch_id=watch_id, cursors=cursors))
    first = await read(call)
    try:
        yield call, first
    finally:
        call.cancel()


async def read(call: Any) -> Any:
    async with asyncio.timeout(WAIT_S):
        return await call.read()


async def status_of(awaitable: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(WAIT_S):
            await awaitable
    return caught.value.code(), caught.value.details() or ""


async def interact(stack: Stack, *batches: list[pb.Interaction]) -> list[pb.InteractResponse]:
    call = stack.stub.Interact(metadata=stack.channel.metadata)
    responses = []
    for batch in batches:
        await call.write(pb.InteractRequest(interactions=batch))
        responses.append(await read(call))
    await call.done_writing()
    assert await read(call) is grpc.aio.EOF
    return responses
