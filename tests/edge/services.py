"""Services behind the edge on real servers, which break and come back as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from aivo.room.v1 import room_pb2, room_pb2_grpc
from edge.settings import EdgeSettings
from edge.upstream.watch import WatchLink
from service_runtime.credentials import REFUSED
from service_runtime.grpc_client import open_channel
from tests.support.background import running, serving
from tests.support.fakes import FakeEdge, say

WAIT_S = 20.0
SETTINGS = EdgeSettings(upstream_s=10.0)


def assessment() -> brain_pb2.Assessment:
    return brain_pb2.Assessment(
        levels=brain_pb2.Levels(),
        performance=brain_pb2.Performance(),
        uncertainty=brain_pb2.Levels(),
    )


class Brain(brain_pb2_grpc.BrainServiceServicer):
    """Keeps what it is asked; streams what a test puts into `streams`."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.revisions: dict[str, int] = {}
        self.batches: list[list[str]] = []
        self.applied: dict[str, int] = {}
        self.break_next = 0
        self.opened: list[tuple[str, list[str]]] = []
        self.added: list[list[str]] = []
        self.removed: list[str] = []
        self.forget_watch = False
        self.streams: list[asyncio.Queue[Any]] = []
        self.hold_modify: asyncio.Event | None = None
        self.changed = asyncio.Event()

    def snapshot(self, learner_id: str) -> brain_pb2.LearnerSnapshot:
        revision = self.revisions.get(learner_id, 0)
        return brain_pb2.LearnerSnapshot(
            learner_id=learner_id,
            revision=revision,
            assessment=assessment() if revision else None,
            occurred_at_ms=1,
        )

    async def Interact(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            self.batches.append([one.interaction_id for one in request.interactions])
            outcomes = []
            for one in request.interactions:
                duplicate = one.interaction_id in self.applied
                self.applied.setdefault(one.interaction_id, len(self.applied) + 1)
                applied = brain_pb2.Applied(
                    revision=self.applied[one.interaction_id],
                    duplicate=duplicate,
                    assessment=assessment(),
                )
                outcomes.append(brain_pb2.Outcome(applied=applied))
            if self.break_next:
                self.break_next -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
            yield brain_pb2.InteractResponse(outcomes=outcomes, epoch=self.epoch)

    async def WatchState(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.opened.append((request.watch_id, [one.learner_id for one in request.cursors]))
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.streams.append(queue)
        snapshots = [self.snapshot(one.learner_id) for one in request.cursors]
        yield brain_pb2.WatchStateResponse(epoch=self.epoch, snapshots=snapshots)
        self.changed.set()
        while (item := await queue.get()) is not None:
            if isinstance(item, grpc.StatusCode):
                await context.abort(item, "the stream is over")
            yield item

    async def ModifyWatch(self, request: Any, context: Any) -> Any:
        if self.hold_modify is not None:
            await self.hold_modify.wait()
        if self.forget_watch or request.watch_id != self.opened[-1][0]:
            self.forget_watch = False
            self.streams[-1].put_nowait(None)
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such stream")
        self.added.append([one.learner_id for one in request.add])
        self.removed += request.remove
        self.changed.set()
        return brain_pb2.ModifyWatchResponse(
            epoch=self.epoch, snapshots=[self.snapshot(one.learner_id) for one in request.add]
        )


class Auth(auth_pb2_grpc.AuthServiceServicer):
    def __init__(self) -> None:
        self.streams: list[asyncio.Queue[Any]] = []
        self.allowed = True
        self.asked = 0
        self.fallen: set[str] = set()

    async def Authorize(self, request: Any, context: Any) -> Any:
        self.asked += 1
        decision = auth_pb2.Decision(allowed=self.allowed, ttl_ms=60_000)
        return auth_pb2.AuthorizeResponse(decisions=[decision] * len(request.queries))

    async def Authenticate(self, request: Any, context: Any) -> Any:
        identity = auth_pb2.Identity(
            user_id="u",
            role=auth_pb2.ROLE_TEACHER,
            session_id="s",
            expires_at_ms=5,
            own_learners=["ada"],
            decision_ttl_ms=1500,
        )
        return auth_pb2.AuthenticateResponse(
            authentications=[
                auth_pb2.Authentication(identity=identity)
                if token == "good"
                else auth_pb2.Authentication(error="bad")
                for token in request.tokens
            ]
        )

    async def CheckSessions(self, request: Any, context: Any) -> Any:
        standing = [one.session_id not in self.fallen for one in request.queries]
        return auth_pb2.CheckSessionsResponse(standing=standing)

    async def Login(self, request: Any, context: Any) -> Any:
        ours = REFUSED if request.email == "whoever" else ()
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, request.email, ours)

    async def WatchRevocations(self, request: Any, context: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.streams.append(queue)
        yield auth_pb2.WatchRevocationsResponse()
        while (item := await queue.get()) is not None:
            if isinstance(item, grpc.StatusCode):
                await context.abort(item, "lost")
            yield item


class Room(room_pb2_grpc.RoomServiceServicer):
    def __init__(self) -> None:
        self.joined: list[list[str]] = []
        self.changed = asyncio.Event()
        self.break_next = asyncio.Event()

    async def Attend(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        self.joined.append([])
        async for request in requests:
            results, events = [], []
            for one in request.commands:
                kind = one.WhichOneof("action")
                if kind == "join":
                    self.joined[-1].append(one.join.room_id)
                    results.append(
                        room_pb2.CommandResult(
                            request_id=one.request_id, ok=True, members=[one.join.member]
                        )
                    )
                elif kind == "publish":
                    if one.publish.data_json == b'{"break":1}':
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "bye")
                    ok = one.publish.data_json != b'{"bad":1}'
                    results.append(
                        room_pb2.CommandResult(
                            request_id=one.request_id, ok=ok, error="" if ok else "No."
                        )
                    )
                    member = room_pb2.Member(connection_id="other", user_id="u", role="learner")
                    events.append(
                        room_pb2.Event(
                            kind=room_pb2.EVENT_KIND_MESSAGE,
                            room_id=one.publish.room_id,
                            member=member,
                            data_json=one.publish.data_json,
                        )
                    )
            yield room_pb2.AttendResponse(results=results, events=events)
            self.changed.set()


async def asked(start: Callable[[Callable[[Any], None]], None]) -> Any:
    """Wait for the answer of a callback-style question."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    start(future.set_result)
    return await asyncio.wait_for(future, WAIT_S)


def adder(servicer: Any) -> Callable[[grpc.aio.Server], None]:
    def add(server: grpc.aio.Server) -> None:
        if isinstance(servicer, Brain):
            brain_pb2_grpc.add_BrainServiceServicer_to_server(servicer, server)
        elif isinstance(servicer, Auth):
            auth_pb2_grpc.add_AuthServiceServicer_to_server(servicer, server)
        else:
            room_pb2_grpc.add_RoomServiceServicer_to_server(servicer, server)

    return add


class Watcher:
    def __init__(self, edge: FakeEdge) -> None:
        self.session, self.sink = edge.session("teacher")

    def subscribe(self, learner_id: str) -> None:
        say(self.session, "subscribe_learner", learner_id=learner_id)

    def revisions(self) -> list[tuple[str, str, int]]:
        return [
            (one["type"], one["learner_id"], one["revision"])
            for one in self.sink.of("subscribed", "state_update")
        ]


@contextlib.asynccontextmanager
async def watching(brain: Brain) -> AsyncIterator[tuple[FakeEdge, WatchLink]]:
    edge = FakeEdge()
    async with serving(adder(brain)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = WatchLink(channel, SETTINGS, edge.hub, is_mine=lambda _: True)
        edge.hub.feed = link
        async with running(link.run()):
            yield edge, link
        await channel.close()


def moved(brain: Brain, learner_id: str) -> Any:
    revision = brain.revisions[learner_id] = brain.revisions.get(learner_id, 0) + 1
    one = brain_pb2.StateUpdate(
        learner_id=learner_id, revision=revision, assessment=assessment(), occurred_at_ms=1
    )
    return brain_pb2.WatchStateResponse(epoch=brain.epoch, updates=[one])
