"""The links to the services, against real gRPC servers on port 0 that break off, forget and come
back.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from aivo.room.v1 import room_pb2, room_pb2_grpc
from edge.frames.incoming import Context, InteractionData
from edge.ports import Interaction, Member, Members, UpstreamError
from edge.settings import EdgeSettings
from edge.upstream import watch as watch_room
from edge.upstream.auth import AuthLink
from edge.upstream.brain import BrainLink
from edge.upstream.rooms import RoomsLink
from edge.upstream.watch import WatchLink
from service_runtime.credentials import REFUSED
from service_runtime.grpc_client import open_channel
from service_runtime.trace_context import TraceContext
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


@contextlib.asynccontextmanager
async def serving(add: Callable[[grpc.aio.Server], None], port: int = 0) -> AsyncIterator[int]:
    """Serve on a port until the end, then break off whatever is open."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add(server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run works in the background and cancel them at the end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def asked(start: Callable[[Callable[[Any], None]], None]) -> Any:
    """Wait for the answer of a callback-style question."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    start(future.set_result)
    return await asyncio.wait_for(future, WAIT_S)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds; only what has no event of its own is waited for like
    this.
    """
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def adder(servicer: Any) -> Callable[[grpc.aio.Server], None]:
    def add(server: grpc.aio.Server) -> None:
        if isinstance(servicer, Brain):
            brain_pb2_grpc.add_BrainServiceServicer_to_server(servicer, server)
        elif isinstance(servicer, Auth):
            auth_pb2_grpc.add_AuthServiceServicer_to_server(servicer, server)
        else:
            room_pb2_grpc.add_RoomServiceServicer_to_server(servicer, server)

    return add


# Interactions


def _interact(link: BrainLink, id: str) -> Callable[[Callable[[Any], None]], None]:
    data = InteractionData(learner_id="ada", type="practice", content="x")
    return lambda done: link.interact(
        Interaction(
            data,
            Context(),
            interaction_id=id,
            received_at_ms=1,
            trace=TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", False),
        ),
        done,
    )


async def test_an_interaction_that_a_breaking_brain_left_open_is_sent_again_under_its_id() -> None:
    brain = Brain()
    brain.break_next = 2
    async with serving(adder(brain)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = BrainLink(channel, SETTINGS)
        async with running(link.run()):
            answer = await asked(_interact(link, "i1"))
        await channel.close()

    assert (answer.revision, answer.duplicate) == (1, True)
    assert brain.batches == [["i1"]] * 3


async def test_a_brain_that_comes_back_answers_what_waited_for_it() -> None:
    brain = Brain()
    async with serving(adder(brain)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = BrainLink(channel, SETTINGS)
        assert (await _once(link, "i1")).revision == 1
    async with running(link.run()):
        waiting = asyncio.create_task(asked(_interact(link, "i2")))
        await asyncio.sleep(0)
        async with serving(adder(brain), port):
            assert (await waiting).revision == 2
    await channel.close()


async def _once(link: BrainLink, id: str) -> Any:
    async with running(link.run()):
        return await asked(_interact(link, id))


async def test_without_a_brain_the_client_hears_unavailable() -> None:
    settings = EdgeSettings(upstream_s=0.2)
    channel = open_channel("127.0.0.1:1", settings)
    answer = await _once(BrainLink(channel, settings), "i1")
    await channel.close()

    assert answer.code == "unavailable"
    assert 500 <= (answer.retry_after_ms or 0) <= 1500, "not everybody at the same moment"


# Watching


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


async def test_a_stream_that_breaks_is_opened_again_at_its_cursors() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 2)
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(brain.streams) == 2)
        assert brain.opened[-1][1] == ["ada"]
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 3)

    assert watcher.revisions() == [
        ("subscribed", "ada", 0),
        ("state_update", "ada", 1),
        ("state_update", "ada", 2),
    ]


async def test_a_brains_clock_is_told_by_the_quickest_of_its_heartbeats() -> None:
    def heartbeat(ahead_s: float) -> Any:
        sent_at_ms = int((time.time() + ahead_s) * 1000)
        return brain_pb2.WatchStateResponse(heartbeat=brain_pb2.Heartbeat(sent_at_ms=sent_at_ms))

    brain = Brain()
    async with watching(brain) as (_, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        brain.streams[-1].put_nowait(heartbeat(300))
        await until(lambda: link.skew.seconds > 0)
        brain.streams[-1].put_nowait(heartbeat(100))  # 200 s on its way, as after a pause
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        ahead = link.skew.seconds
        for _ in range(3):
            brain.streams[-1].put_nowait(heartbeat(0))
        await until(lambda: not link.skew.is_large)

    assert ahead == pytest.approx(300, abs=60)


async def test_a_forgotten_watch_is_opened_again_and_its_subscribers_are_answered() -> None:
    brain = Brain()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        brain.forget_watch = True
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)

    assert watcher.revisions() == [("subscribed", "ada", 0)]
    assert len({watch_id for watch_id, _ in brain.opened}) >= 2


async def test_a_snapshot_under_way_when_the_stream_breaks_still_comes() -> None:
    brain = Brain()
    brain.hold_modify = asyncio.Event()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(brain.streams) == 2)
        brain.hold_modify.set()
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 2)

    assert watcher.revisions() == [("subscribed", "ada", 0), ("state_update", "ada", 1)]


async def test_more_learners_than_one_call_holds_are_all_watched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_room, "MAX_CURSORS", 10)
    brain = Brain()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        watcher = Watcher(edge)
        names = [f"l{number}" for number in range(34)]
        for name in names:
            watcher.subscribe(name)
        await until(lambda: len(watcher.sink.frames) == 34)
        brain.added.clear()
        brain.epoch = "e2"
        brain.revisions = dict.fromkeys(names, 7)
        watcher.sink.take()
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(watcher.sink.frames) == 34)

    again = [brain.opened[-1][1], *brain.added]
    assert [len(part) for part in again] == [10, 10, 10, 4]
    assert sorted(name for part in again for name in part) == sorted(names)
    assert {(one["type"], one["epoch"], one["revision"]) for one in watcher.sink.frames} == {
        ("state_update", "e2", 7)
    }


async def test_a_new_epoch_that_another_brain_told_first_still_brings_the_snapshots() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.epoch = "e2"
        brain.revisions["ada"] = 3
        edge.hub.begin_epoch("e2")
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(watcher.sink.frames) == 2)

    assert watcher.revisions()[-1] == ("state_update", "ada", 3)


async def test_who_nobody_watches_any_more_is_removed() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        watcher.session.end()
        await until(lambda: brain.removed == ["ada"])


# Auth


async def test_a_lost_stream_of_revocations_is_opened_again_and_everything_asked_anew() -> None:
    auth = Auth()
    edge = FakeEdge()
    async with serving(adder(auth)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        edge.access._auth = link
        async with running(link.run(), link.follow_revocations(edge.access, edge.registry)):
            await asyncio.wait_for(link.is_open.wait(), WAIT_S)
            assert await asked(lambda done: edge.access.ask("u", "watch", "ada", done)) is True
            auth.allowed = False
            assert edge.access.known("u", "watch", "ada") is True
            auth.streams[-1].put_nowait(grpc.StatusCode.DATA_LOSS)
            await until(lambda: len(auth.streams) == 2 and link.is_open.is_set())
            assert edge.access.known("u", "watch", "ada") is None
            assert await asked(lambda done: edge.access.ask("u", "watch", "ada", done)) is False
            auth.allowed = True
            for revocation in (
                auth_pb2.Revocation(user_id="u"),
                auth_pb2.Revocation(learner_id="ada"),
            ):
                await asked(lambda done: edge.access.ask("u", "watch", "ada", done))
                auth.streams[-1].put_nowait(
                    auth_pb2.WatchRevocationsResponse(revocations=[revocation])
                )
                await until(lambda: edge.access.known("u", "watch", "ada") is None)
        await channel.close()


async def test_a_revoked_login_closes_its_sockets_and_no_others() -> None:
    auth = Auth()
    edge = FakeEdge()
    ada, ada_sink = edge.session("ada")
    _, ben_sink = edge.session("ben")
    async with serving(adder(auth)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        async with running(link.run(), link.follow_revocations(edge.access, edge.registry)):
            await asyncio.wait_for(link.is_open.wait(), WAIT_S)
            other = auth_pb2.Revocation(user_id="u-ada", session_id="another")
            mine = auth_pb2.Revocation(user_id="u-ada", session_id=ada.session_id)
            auth.streams[-1].put_nowait(auth_pb2.WatchRevocationsResponse(revocations=[other]))
            auth.streams[-1].put_nowait(auth_pb2.WatchRevocationsResponse(revocations=[mine]))
            await until(lambda: ada_sink.closed is not None)
        await channel.close()

    assert ada_sink.closed is not None
    assert ada_sink.closed[0] == 4403
    assert ben_sink.closed is None


async def test_a_login_that_ended_while_auth_was_out_of_reach_ends_when_it_is_back() -> None:
    auth = Auth()
    edge = FakeEdge()
    _, ada_sink = edge.session("ada")
    _, ben_sink = edge.session("ben")
    async with serving(adder(auth)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        async with running(link.run(), link.follow_revocations(edge.access, edge.registry)):
            await asyncio.wait_for(link.is_open.wait(), WAIT_S)
            assert ada_sink.closed is None
            auth.fallen.add("s-ada")
            auth.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
            await until(lambda: ada_sink.closed is not None)
        await channel.close()

    assert ben_sink.closed is None


async def test_tokens_and_logins_are_answered_in_words_for_the_client() -> None:
    async with serving(adder(Auth())) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        async with running(link.run()):
            good = await asked(lambda done: link.authenticate("good", done))
            bad = await asked(lambda done: link.authenticate("bad", done))
            with pytest.raises(UpstreamError) as wrong:
                await link.login("someone@school.example", "x", "", "")
            with pytest.raises(UpstreamError) as ours:
                await link.login("whoever", "x", "", "")
        await channel.close()

    assert good == ("u", "teacher", "s", 5, ("ada",), 1.5)
    assert (bad.code, str(bad)) == ("unauthenticated", "Bad.")
    assert (wrong.value.code, ours.value.code) == ("unauthenticated", "internal")
    assert "someone" not in str(wrong.value)


# Rooms


async def test_rooms_are_joined_again_when_the_stream_comes_back() -> None:
    room = Room()
    edge = FakeEdge()
    async with serving(adder(room)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = RoomsLink(channel, edge.rooms, is_mine=lambda _: True)
        ada, sink = edge.session("ada")
        member = Member("c1", "u-ada", "learner")
        async with running(link.run()):
            await until(lambda: link._open)
            edge.rooms.enter("r", ada.talking, member)
            joined = await asked(lambda done: link.join("r", member, done))
            said = await asked(lambda done: link.publish("r", "c1", b"{}", done))
            refused = await asked(lambda done: link.publish("r", "c1", b'{"bad":1}', done))
            broken = await asked(lambda done: link.publish("r", "c1", b'{"break":1}', done))
            await until(lambda: len(room.joined) >= 2 and room.joined[-1] == ["r"])
        closed = await asked(lambda done: link.publish("r", "c1", b"{}", done))
        await channel.close()

    assert (joined, said) == (Members((member,), 1), True)
    assert (refused.code, broken.code, closed.code) == ("forbidden", "unavailable", "unavailable")
    assert [frame["type"] for frame in sink.frames] == ["room_message", "room_message"]


class Busy(Room):
    """A room in which somebody comes in right behind everyone who joins: both are told in one
    response.
    """

    async def Attend(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        newcomer = room_pb2.Member(connection_id="c2", user_id="u-ben", role="learner")
        async for response in super().Attend(requests, context):
            came = room_pb2.Event(kind=room_pb2.EVENT_KIND_JOINED, room_id="r", member=newcomer)
            yield room_pb2.AttendResponse(results=response.results, events=[*response.events, came])


async def test_a_member_list_is_told_before_who_came_after_it() -> None:
    """A client replaces what it knows by the list; told the other way round, the newcomer would
    vanish.
    """
    edge = FakeEdge()
    async with serving(adder(Busy())) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = RoomsLink(channel, edge.rooms, is_mine=lambda _: True)
        edge.dependencies = dataclasses.replace(edge.dependencies, room_link=link)
        ada, sink = edge.session("ada")
        async with running(link.run()):
            await until(lambda: link._open)
            say(ada, "join_room", room_id="r")
            await until(lambda: len(sink.frames) >= 2)
        await channel.close()

    assert [frame["type"] for frame in sink.frames[:2]] == ["room_joined", "user_joined"]
