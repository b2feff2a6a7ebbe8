"""Several brains as one: who serves whom as they come and go, and that nobody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from aivo.brain.v1 import brain_pb2_grpc
from aivo.room.v1 import room_pb2_grpc
from edge.frames.incoming import Context, InteractionData
from edge.ports import Interaction, Member
from edge.settings import EdgeSettings
from edge.upstream import discovery
from edge.upstream.brain import BrainLink
from edge.upstream.brains import Brains
from edge.upstream.rooms import RoomsLink
from edge.upstream.watch import WatchLink
from service_runtime.grpc_client import Channel, open_channel
from service_runtime.settings import SettingsError
from service_runtime.trace_context import TraceContext
from tests.edge.services import Brain, Room, Watcher, asked, moved
from tests.support.background import running
from tests.support.eventually import until
from tests.support.fakes import FakeEdge

SETTINGS = EdgeSettings(upstream_s=10.0)
LEARNERS = [f"learner-{number}" for number in range(24)]


class Served:
    """One brain of the test: a real server, which can end and begin again on its port."""

    def __init__(self) -> None:
        self.brain, self.room = Brain(), Room()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        brain_pb2_grpc.add_BrainServiceServicer_to_server(self.brain, self._server)
        room_pb2_grpc.add_RoomServiceServicer_to_server(self.room, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class Fleet:
    """An edge's brains, and what names stand for."""

    def __init__(self, brains: Brains, edge: FakeEdge, served: list[Served]) -> None:
        self.brains = brains
        self.edge = edge
        self.served = served
        self.found: list[str] = []

    async def resolve(self, _: Sequence[str]) -> list[str]:
        return self.found

    def serves(self, learner_id: str) -> Served:
        address = self.brains.node(learner_id).address
        return next(one for one in self.served if one.address == address)

    def ring(self) -> set[str]:
        return {self.brains.node(learner).address for learner in LEARNERS}


@contextlib.asynccontextmanager
async def fleet(count: int, *, by_name: bool = False) -> AsyncIterator[Fleet]:
    served = [Served() for _ in range(count)]
    for one in served:
        await one.start()
    addresses = ["dns:///brain.test:1"] if by_name else [one.address for one in served]
    brains, edge = Brains(addresses, patience_s=10), FakeEdge()
    edge.hub.feed = brains

    def make(
        address: str, is_mine: Callable[[str], bool], on_change: Callable[[], None]
    ) -> tuple[Channel, BrainLink, WatchLink, RoomsLink]:
        channel = open_channel(address, SETTINGS)
        return (
            channel,
            BrainLink(channel, SETTINGS),
            WatchLink(channel, SETTINGS, edge.hub, is_mine=is_mine, on_change=on_change),
            RoomsLink(channel, edge.rooms, is_mine=is_mine, settle_s=0.2),
        )

    made = Fleet(brains, edge, served)
    made.found = [one.address for one in served]
    brains.begin(make, edge.hub, edge.rooms)
    try:
        async with running(brains.run(every_s=0.05, resolve=made.resolve)):
            await until(
                lambda: (
                    len(brains.nodes) == count
                    and all(node.watch.is_open.is_set() for node in brains.nodes)
                )
            )
            yield made
    finally:
        for one in served:
            await one.stop()


def interact(brains: Brains, learner_id: str, id: str) -> Callable[[Callable[[Any], None]], None]:
    return lambda done: brains.interact(
        Interaction(
            InteractionData(learner_id=learner_id, type="practice", content="x"),
            Context(),
            interaction_id=id,
            received_at_ms=1,
            trace=TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", False),
        ),
        done,
    )


async def test_each_learner_is_served_by_one_brain_and_both_serve() -> None:
    async with fleet(2) as made:
        for learner in LEARNERS:
            assert (await asked(interact(made.brains, learner, f"i-{learner}"))).revision > 0
        for one in made.served:
            assert one.brain.batches
            for (name,) in one.brain.batches:
                assert made.serves(name.removeprefix("i-")) is one
        assert made.brains.ready


async def test_what_a_brain_that_ends_left_open_is_answered_by_another_in_order() -> None:
    async with fleet(2) as made:
        gone = made.served[0]
        learner = next(each for each in LEARNERS if made.serves(each) is gone)
        await gone.stop()
        waiting = [
            asyncio.create_task(asked(interact(made.brains, learner, f"i{number}")))
            for number in range(5)
        ]
        answers = await asyncio.gather(*waiting)
        assert [answer.revision for answer in answers] == [1, 2, 3, 4, 5]
        assert made.ring() == {made.served[1].address}
        told = [name for batch in made.served[1].brain.batches for name in batch]
        assert told == [f"i{number}" for number in range(5)]


async def test_a_brain_that_hangs_over_a_batch_and_dies_loses_and_doubles_nothing() -> None:
    async with fleet(2) as made:
        gone = made.served[0]
        learner = next(each for each in LEARNERS if made.serves(each) is gone)
        gone.brain.break_next = 1_000_000  # applied there, never answered
        answering = asyncio.create_task(asked(interact(made.brains, learner, "i1")))
        await until(lambda: bool(gone.brain.batches))
        await gone.stop()
        assert (await answering).revision == 1
        assert made.served[1].brain.batches == [["i1"]]


async def test_watchers_move_with_their_learner_and_back_from_where_they_are() -> None:
    async with fleet(2) as made:
        one, two = made.served
        learner = next(each for each in LEARNERS if made.serves(each) is one)
        other = next(each for each in LEARNERS if made.serves(each) is two)
        watcher = Watcher(made.edge)
        watcher.subscribe(learner)
        watcher.subscribe(other)
        await until(lambda: len(watcher.sink.frames) == 2)
        one.brain.streams[-1].put_nowait(moved(one.brain, learner))
        await until(lambda: len(watcher.sink.frames) == 3)

        await one.stop()
        await until(lambda: [learner] in two.brain.added)
        two.brain.revisions[learner] = 1
        two.brain.streams[-1].put_nowait(moved(two.brain, learner))
        await until(lambda: len(watcher.sink.frames) == 4)
        assert two.brain.removed == []

        one.brain.revisions[learner] = 2
        await one.start()
        await until(lambda: learner in two.brain.removed)
        await until(lambda: [learner] in one.brain.added or learner in one.brain.opened[-1][1])
        one.brain.streams[-1].put_nowait(moved(one.brain, learner))
        await until(lambda: len(watcher.sink.frames) == 5)
        assert [each for each in watcher.revisions() if each[1] == learner] == [
            ("subscribed", learner, 0),
            ("state_update", learner, 1),
            ("state_update", learner, 2),
            ("state_update", learner, 3),
        ]
        assert [each for each in watcher.revisions() if each[1] == other] == [
            ("subscribed", other, 0)
        ]


async def test_a_brain_that_is_found_takes_its_share_and_one_that_is_gone_gives_it_back() -> None:
    async with fleet(3, by_name=True) as made:
        one, two, three = made.served
        before = {learner: made.serves(learner) for learner in LEARNERS}
        made.found = [one.address, three.address]
        await until(lambda: len(made.brains.nodes) == 2)
        for learner, owner in before.items():
            assert made.serves(learner) is owner or owner is two
            assert (await asked(interact(made.brains, learner, f"a-{learner}"))).revision > 0
        made.found = [one.address, two.address, three.address]
        await until(lambda: made.ring() == set(made.found))
        assert before == {learner: made.serves(learner) for learner in LEARNERS}
        made.found = []  # a name that has no address for a moment changes nothing
        await asyncio.sleep(0.15)
        assert len(made.brains.nodes) == 3


async def test_a_brain_that_is_found_and_not_reached_serves_nobody() -> None:
    async with fleet(1, by_name=True) as made:
        made.found = [*made.found, "127.0.0.1:1"]
        await until(lambda: len(made.brains.nodes) == 2)
        await asyncio.sleep(0.1)
        assert made.ring() == {made.served[0].address}


async def test_members_of_a_room_move_with_it() -> None:
    async with fleet(2) as made:
        one, two = made.served
        rooms = [f"class:{number}" for number in range(12)]
        ada, _ = made.edge.session("ada")
        for number, room in enumerate(rooms):
            member = Member(f"c{number}", f"u-{number}", "learner")
            made.edge.rooms.enter(room, ada.talking, member)
            await asked(
                lambda done, room=room, member=member: made.brains.join(room, member, done)  # type: ignore[misc]
            )
        hers = {room for room in rooms if made.serves(room) is one}
        assert set(one.room.joined[-1]) == hers
        assert set(two.room.joined[-1]) == set(rooms) - hers
        await one.stop()
        await until(lambda: set(two.room.joined[-1]) == set(rooms))
        member = Member("c-new", "u-new", "learner")
        answer = await asked(lambda done: made.brains.join(min(hers), member, done))
        assert answer.listed == (member,)


async def test_a_question_that_nobody_answered_is_asked_again_where_somebody_is() -> None:
    async with fleet(2) as made:
        one, two = made.served
        room = next(each for each in LEARNERS if made.serves(each) is one)
        await one.stop()
        member = Member("c1", "u", "learner")
        answer = await asked(lambda done: made.brains.join(room, member, done))
        assert answer.listed == (member,)
        assert room in two.room.joined[-1]


async def test_names_are_resolved_to_all_their_addresses() -> None:
    assert await discovery.resolve(["brain-0:8001", "dns:///localhost:8001"]) in (
        ["brain-0:8001", "127.0.0.1:8001"],
        ["brain-0:8001", "127.0.0.1:8001", "[::1]:8001"],
    )
    with pytest.raises(OSError, match=r".+"):
        await discovery.resolve(["dns:///no-such-host.invalid:1"])
    assert discovery.common_name(["dns:///brain.aivo:1"]) == "brain.aivo"
    assert discovery.common_name(["brain-0:1", "brain-1:1"]) == ""


@pytest.mark.parametrize("address", ["brain", "dns:///brain", "http://brain:1x", "dns:///:1"])
def test_an_address_that_cannot_work_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="must look like"):
        EdgeSettings(brain_addresses=(address,))
