"""A clock to turn, an open store, and a running service with a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from aivo.auth.v1 import auth_pb2_grpc
from auth_service.__main__ import serve
from auth_service.settings import Settings
from auth_service.store import ChangeLog, Database, People, SessionTable
from service_runtime.grpc_client import ClientSettings, open_channel

CREDENTIAL = "a service credential"
ADMIN = ("admin@school.example", "the first password")
PASSWORD = "correct horse battery"
PATIENCE_S = 20.0
SCHOOL = "192.0.2.1"
OVER = "the session of the access token is over"


class Clock:
    """Time that moves when told to."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def ms(self) -> int:
        return int(self.now_s * 1000)


@dataclass(frozen=True)
class Stored:
    """An open database with its tables' readers and writers."""

    database: Database
    people: People
    sessions: SessionTable
    log: ChangeLog
    clock: Clock
    url: str


class Client:
    """Calls a running service by method name, with the service credential."""

    def __init__(
        self, stub: auth_pb2_grpc.AuthServiceAsyncStub, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        self.stub = stub
        self.metadata = metadata

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        return lambda request: getattr(self.stub, method)(
            request, metadata=self.metadata, timeout=PATIENCE_S
        )

    async def user(self, email: str, role: pb.Role, password: str = PASSWORD) -> str:
        response = await self.CreateUser(
            pb.CreateUserRequest(email=email, password=password, role=role)
        )
        return response.user.user_id

    async def relate(self, kind: pb.RelationKind, subject: str, object: str) -> None:
        await self.AddRelation(
            pb.AddRelationRequest(relation=pb.Relation(kind=kind, subject=subject, object=object))
        )

    async def unrelate(self, kind: pb.RelationKind, subject: str, object: str) -> None:
        await self.RemoveRelation(
            pb.RemoveRelationRequest(
                relation=pb.Relation(kind=kind, subject=subject, object=object)
            )
        )

    async def login(self, email: str, password: str = PASSWORD) -> pb.LoginResponse:
        return await self.Login(pb.LoginRequest(email=email, password=password))

    async def authenticate(self, *tokens: str) -> Sequence[pb.Authentication]:
        return (await self.Authenticate(pb.AuthenticateRequest(tokens=tokens))).authentications

    async def allowed(self, user_id: str, action: pb.Action, resource: str) -> bool:
        query = pb.AuthorizeQuery(user_id=user_id, action=action, resource=resource)
        return (await self.Authorize(pb.AuthorizeRequest(queries=[query]))).decisions[0].allowed

    @asynccontextmanager
    async def revocations(self) -> AsyncIterator[Callable[[], Awaitable[list[pb.Revocation]]]]:
        """Open a stream; give a function that returns the next batch that is no heartbeat."""
        call = self.stub.WatchRevocations(pb.WatchRevocationsRequest(), metadata=self.metadata)

        async def following() -> list[pb.Revocation]:
            while True:
                message = await asyncio.wait_for(call.read(), PATIENCE_S)
                if message.revocations:
                    return list(message.revocations)

        first = await asyncio.wait_for(call.read(), PATIENCE_S)
        assert first == pb.WatchRevocationsResponse()
        try:
            yield following
        finally:
            call.cancel()


@asynccontextmanager
async def running(settings: Settings, **changes: object) -> AsyncIterator[Client]:
    """Run a whole service on a free port, and give a client of it."""
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    service = asyncio.create_task(serve(replace(settings, **changes), stop, port.set_result))
    await asyncio.wait({service, port}, return_when=asyncio.FIRST_COMPLETED)
    if service.done():
        service.result()
    channel = open_channel(f"127.0.0.1:{port.result()}", ClientSettings(credential=CREDENTIAL))
    try:
        yield Client(auth_pb2_grpc.AuthServiceStub(channel.channel), channel.metadata)
    finally:
        await channel.close()
        stop.set()
        await service


async def status(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Return how a call that must fail has failed."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""
