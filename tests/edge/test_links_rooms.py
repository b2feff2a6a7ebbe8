"""The link to rooms: whoever was in is in again after a break."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from aivo.room.v1 import room_pb2
from edge.ports import Member, Members
from edge.upstream.rooms import RoomsLink
from service_runtime.grpc_client import open_channel
from tests.edge.services import SETTINGS, Room, adder, asked
from tests.support.background import running, serving
from tests.support.eventually import until
from tests.support.fakes import FakeEdge, say


async def test_rooms_are_joined_again_when_the_stream_comes_back() -> None:
    room = Room()
    edge = FakeEdge()
    async with serving(adder(room)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = RoomsLink(channel, edge.rooms, is_mine=lambda _: True)
        ada, sink = edge.session("ada")
        member = Member("c1", "u-ada", "learner")
        async with running(link.run()):
            await until(lambda: link.is_open)
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
            await until(lambda: link.is_open)
            say(ada, "join_room", room_id="r")
            await until(lambda: len(sink.frames) >= 2)
        await channel.close()

    assert [frame["type"] for frame in sink.frames[:2]] == ["room_joined", "user_joined"]
