"""Rooms whose brain was away: two edges and a real brain's rooms, until every socket knows again
who is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from brain_service.rooms import Attendance, Member, Rooms
from brain_service.servicer.room import RoomServicer
from edge.settings import EdgeSettings
from edge.upstream.rooms import RoomsLink
from service_runtime.grpc_client import open_channel
from tests.support.background import running, serving
from tests.support.eventually import until
from tests.support.fakes import FakeEdge, FakeSink, say

WAIT_S = 20.0


class CountingRooms(Rooms):
    """The brain's rooms, which count how often each is joined."""

    def __init__(self) -> None:
        super().__init__()
        self.joins: list[str] = []

    def join(self, attendance: Attendance, room_id: str, member: Member) -> tuple[Member, ...]:
        self.joins.append(room_id)
        return super().join(attendance, room_id, member)


class Edge(FakeEdge):
    """An edge whose link to the rooms is real."""

    def attach(self, port: int, settle_s: float = 0.0) -> RoomsLink:
        self.channel = open_channel(f"127.0.0.1:{port}", EdgeSettings())
        link = RoomsLink(self.channel, self.rooms, is_mine=lambda _: True, settle_s=settle_s)
        self.dependencies = dataclasses.replace(self.dependencies, room_link=link)
        return link


@contextlib.asynccontextmanager
async def brain(port: int = 0) -> AsyncIterator[tuple[CountingRooms, int]]:
    """Serve rooms that remember nobody until the end, then break off whatever is open."""
    rooms = CountingRooms()
    async with serving(RoomServicer(rooms).register, port) as port:
        yield rooms, port


async def join(edge: Edge, name: str, *rooms: str) -> tuple[Any, FakeSink]:
    """Open a session and be in rooms."""
    session, sink = edge.session(name)
    for room_id in rooms:
        await until(lambda: edge.dependencies.room_link.is_open)  # type: ignore[attr-defined]
        say(session, "join_room", room_id=room_id)
        await until(
            lambda room_id=room_id: room_id in [one["room_id"] for one in sink.of("room_joined")]
        )  # type: ignore[misc]
    return session, sink


def seen(sink: FakeSink) -> set[str]:
    """Return whom a client believes to be there, as the browser package reads the frames of one
    room.
    """
    there: set[str] = set()
    for frame in sink.frames:
        if frame["type"] == "room_joined":
            there = {one["connection_id"] for one in frame["members"]}
        elif frame["type"] == "user_joined":
            there.add(frame["connection_id"])
        elif frame["type"] == "user_left":
            there.discard(frame["connection_id"])
    return there


def present(rooms: Rooms, room_id: str = "r") -> set[str]:
    return {member.connection_id for member in rooms.members(room_id)}


async def test_sockets_hear_who_left_and_who_came_while_the_brain_was_away() -> None:
    mine, other = Edge(), Edge()
    async with brain() as (_, port):
        link, other_link = mine.attach(port), other.attach(port)
        async with running(other_link.run()), running(link.run()):
            ben, _ = await join(other, "ben", "r")
            _, ada_sink = await join(mine, "ada", "r")
            admin, admin_sink = await join(mine, "admin", "r")
            await until(lambda: len(seen(ada_sink)) == 3)
    ada_sink.take(), admin_sink.take()
    say(ben, "leave_room", room_id="r")
    async with brain(port) as (rooms, _), running(other_link.run()):
        teacher, teacher_sink = await join(other, "teacher", "r")
        async with running(link.run()):
            await until(lambda: len(ada_sink.frames) >= 2 and len(seen(teacher_sink)) == 3)
            there = present(rooms)
    await mine.channel.close()
    await other.channel.close()

    missed = [("user_left", ben.connection_id), ("user_joined", teacher.connection_id)]
    for sink in (ada_sink, admin_sink):
        assert [(frame["type"], frame["connection_id"]) for frame in sink.frames] == missed
    assert seen(teacher_sink) == there
    assert {teacher.connection_id, admin.connection_id} < there


async def test_a_room_without_changes_costs_its_sockets_no_frame_and_the_brain_one_list() -> None:
    edge = Edge(settings=EdgeSettings(max_sockets_per_user=0))
    async with brain() as (_, port):
        link = edge.attach(port)
        async with running(link.run()):
            sinks = [(await join(edge, "ada", "r"))[1] for _ in range(20)]
            await until(lambda: all(len(seen(sink)) == 20 for sink in sinks))
    before = [len(sink.frames) for sink in sinks]
    async with brain(port) as (rooms, _), running(link.run()):
        await until(lambda: len(rooms.joins) >= 21)
        _, newest = await join(edge, "ben", "r")
        there = present(rooms)
    await edge.channel.close()

    assert rooms.joins.count("r") == 20 + 1 + 1, "each member again, one look, the newcomer"
    assert [len(sink.frames) for sink in sinks] == [count + 1 for count in before], "the newcomer"
    assert [seen(sink) for sink in (*sinks, newest)] == [there] * 21


async def test_one_who_leaves_while_the_rooms_are_put_together_again_does_not_come_back() -> None:
    edge = Edge()
    async with brain() as (_, port):
        link = edge.attach(port, settle_s=0.3)
        async with running(link.run()):
            ada, _ = await join(edge, "ada", "r")
            await join(edge, "ben", "q")
    async with brain(port) as (rooms, _), running(link.run()):
        await until(lambda: rooms.joins == ["r", "q"])
        say(ada, "leave_room", room_id="r")
        await until(
            lambda: rooms.joins.count("q") == 2
        )  # the look has gone past the room before it
        left = present(rooms)
    await edge.channel.close()

    assert rooms.joins == ["r", "q", "q"]
    assert left == set()
