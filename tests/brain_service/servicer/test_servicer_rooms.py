"""The rooms' contract on a real server with real edges' streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from aivo.room.v1 import room_pb2 as pb
from aivo.room.v1 import room_pb2_grpc
from brain_service.rooms import Rooms
from brain_service.servicer import room as servicer_module
from brain_service.servicer.room import SERVICE_NAME, RoomServicer
from service_runtime.grpc_client import Channel, ClientSettings, open_channel
from service_runtime.grpc_server import GrpcServer, ListenerSettings

CREDENTIAL = "a-test-credential"
WAIT_S = 30
MIA = pb.Member(connection_id="c-mia", user_id="mia", role="learner")
BEN = pb.Member(connection_id="c-ben", user_id="ben", role="learner")


class Edge:
    """One edge's Attend stream."""

    def __init__(self, stub: Any, metadata: Any) -> None:
        self._call = stub.Attend(metadata=metadata)
        self.results: list[pb.CommandResult] = []
        self.events: list[pb.Event] = []

    async def send(self, *commands: pb.Command) -> None:
        await self._call.write(pb.AttendRequest(commands=commands))

    async def until(self, *, results: int = 0, events: int = 0) -> None:
        """Read until there are that many of both, counted from the beginning."""
        async with asyncio.timeout(WAIT_S):
            while len(self.results) < results or len(self.events) < events:
                response = await self._call.read()
                assert response is not grpc.aio.EOF
                self.results += response.results
                self.events += response.events

    async def join(self, member: pb.Member, room_id: str = "r") -> list[str]:
        await self.send(pb.Command(request_id=1, join=pb.Join(room_id=room_id, member=member)))
        await self.until(results=len(self.results) + 1)
        return [there.connection_id for there in self.results[-1].members]

    async def status(self) -> grpc.StatusCode:
        async with asyncio.timeout(WAIT_S):
            code: grpc.StatusCode = await self._call.code()
            return code

    def cancel(self) -> None:
        self._call.cancel()

    async def finish(self) -> None:
        await self._call.done_writing()
        async with asyncio.timeout(WAIT_S):
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self.results += response.results
                self.events += response.events


class Stack:
    """A server of rooms and a channel to it."""

    def __init__(self) -> None:
        self.rooms = Rooms(grace_s=0)
        self.servicer = RoomServicer(self.rooms)
        self.server = GrpcServer(
            ListenerSettings(listen="127.0.0.1:0", credential=CREDENTIAL, drain_s=5),
            services=(SERVICE_NAME,),
        )
        self.channel: Channel
        self.stub: Any
        self.edges: list[Edge] = []

    async def start(self) -> None:
        self.servicer.register(self.server.server)
        port = await self.server.start()
        self.channel = open_channel(f"127.0.0.1:{port}", ClientSettings(credential=CREDENTIAL))
        self.stub = room_pb2_grpc.RoomServiceStub(self.channel.channel)

    async def stop(self) -> None:
        for edge in self.edges:
            edge.cancel()
        await self.channel.close()
        self.servicer.drain()
        await self.server.stop()

    def edge(self) -> Edge:
        self.edges.append(Edge(self.stub, self.channel.metadata))
        return self.edges[-1]

    async def call(self, method: str, request: Any) -> Any:
        return await getattr(self.stub, method)(
            request, metadata=self.channel.metadata, timeout=WAIT_S
        )


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    running = Stack()
    await running.start()
    yield running
    await running.stop()


def publish(member: pb.Member, data: bytes, room_id: str = "r", request_id: int = 0) -> pb.Command:
    return pb.Command(
        request_id=request_id,
        publish=pb.Publish(room_id=room_id, connection_id=member.connection_id, data_json=data),
    )


async def test_people_of_two_edges_meet_and_talk(stack: Stack) -> None:
    one, two = stack.edge(), stack.edge()

    assert await one.join(MIA) == ["c-mia"]
    assert await two.join(BEN) == ["c-mia", "c-ben"]
    await two.send(publish(BEN, b'{"hello":1}'))
    await one.until(events=3)

    assert [(event.kind, event.member.user_id) for event in one.events] == [
        (pb.EVENT_KIND_JOINED, "mia"),
        (pb.EVENT_KIND_JOINED, "ben"),
        (pb.EVENT_KIND_MESSAGE, "ben"),
    ]
    assert one.events[-1].data_json == b'{"hello":1}'


@pytest.mark.parametrize("how", ["cancel", "finish"])
async def test_members_leave_with_the_stream_of_their_edge(stack: Stack, how: str) -> None:
    one, two = stack.edge(), stack.edge()
    await one.join(MIA)
    await two.join(BEN)
    if how == "cancel":
        two.cancel()
    else:
        await two.finish()
    await one.until(events=3)

    assert (one.events[-1].kind, one.events[-1].member.user_id) == (pb.EVENT_KIND_LEFT, "ben")
    listed = await stack.call("ListMembers", pb.ListMembersRequest(room_id="r"))
    assert [member.user_id for member in listed.members] == ["mia"]


async def test_what_was_asked_before_the_end_is_answered(stack: Stack) -> None:
    one = stack.edge()
    for number in range(1, 101):
        await one.send(
            pb.Command(request_id=number, join=pb.Join(room_id=f"r{number}", member=MIA))
        )
    await one.finish()

    assert [result.request_id for result in one.results] == list(range(1, 101))
    assert all(result.ok for result in one.results)
    assert len(stack.rooms) == 0


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (pb.Command(request_id=9), "action"),
        (pb.Command(request_id=9, join=pb.Join(room_id="a b", member=MIA)), "room_id"),
        (pb.Command(request_id=9, join=pb.Join(room_id="r")), "connection_id"),
        (pb.Command(request_id=9, leave=pb.Leave(room_id="r")), "connection_id"),
        (publish(MIA, b"{}", request_id=9), "member"),
        (publish(MIA, b"[]", request_id=9), "data_json"),
        (publish(MIA, b"[" * 60_000, request_id=9), "data_json"),
        (publish(MIA, b'{"a":"' + b"x" * 65_536 + b'"}', request_id=9), "data_json"),
    ],
)
async def test_a_bad_command_is_refused_and_the_stream_goes_on(
    stack: Stack, command: pb.Command, field: str
) -> None:
    one = stack.edge()
    await one.send(command)
    await one.until(results=1)

    assert (one.results[0].ok, one.results[0].request_id) == (False, 9)
    assert field in one.results[0].error
    assert await one.join(MIA) == ["c-mia"]


async def test_a_service_speaks_into_a_room(stack: Stack) -> None:
    one = stack.edge()
    await one.join(MIA)
    response = await stack.call(
        "PublishRoomMessage",
        pb.PublishRoomMessageRequest(room_id="r", data_json=b'{"from":"school"}'),
    )
    await one.until(events=2)
    nobody = await stack.call(
        "PublishRoomMessage", pb.PublishRoomMessageRequest(room_id="empty", data_json=b"{}")
    )

    assert (response.members, nobody.members) == (1, 0)
    assert one.events[-1].member.role == "service"
    with pytest.raises(grpc.aio.AioRpcError, match="data_json"):
        await stack.call(
            "PublishRoomMessage", pb.PublishRoomMessageRequest(room_id="r", data_json=b"nonsense")
        )


async def test_an_edge_that_does_not_take_its_results_is_not_listened_to_further(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicer_module, "MAX_RESULTS", 10)
    one = stack.edge()
    for number in range(1, 201):
        await one.send(pb.Command(request_id=number, join=pb.Join(room_id="r", member=MIA)))
    await one.until(results=200)

    assert [result.request_id for result in one.results] == list(range(1, 201))


async def test_a_stopping_service_ends_attendances_as_unavailable(stack: Stack) -> None:
    one = stack.edge()
    await one.join(MIA)
    stack.servicer.drain()

    assert await one.status() is grpc.StatusCode.UNAVAILABLE
    assert len(stack.rooms) == 0
    assert await stack.edge().status() is grpc.StatusCode.UNAVAILABLE
