"""One brain's rooms: a single long stream on which this edge's members live; reopened, they join
again.

Its sockets then get what they missed as departures and arrivals, not as new member lists: for a
thousand sockets in one room those would be a thousand lists of a thousand members.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import grpc
import grpc.aio

from aivo.room.v1 import room_pb2, room_pb2_grpc
from edge.hub.rooms import Rooms
from edge.ports import Done, Member, Members, RoomEvent, UpstreamError
from edge.upstream.errors import overloaded, sentence, unavailable
from service_runtime.grpc_client import Channel

_EVENTS = {
    room_pb2.EVENT_KIND_JOINED: "joined",
    room_pb2.EVENT_KIND_LEFT: "left",
    room_pb2.EVENT_KIND_MESSAGE: "message",
}

logger = logging.getLogger(__name__)

MAX_PENDING = 20_000
MAX_COMMAND_BYTES = 2 * 1024 * 1024
"""Bytes of commands in one message to the brain; the one that exceeds it is still included."""

SETTLE_S = 3.0
"""How long after a break all other edges are back: they retry once a second. Member lists are
requested only then, or their members would leave and return on everybody's screen.
"""


class RoomsLink:
    """Keeps an Attend stream open: commands go out in batches, events come to the edge's rooms."""

    def __init__(
        self,
        channel: Channel,
        rooms: Rooms,
        *,
        is_mine: Callable[[str], bool],
        settle_s: float = SETTLE_S,
    ) -> None:
        """`is_mine` says which rooms this brain serves."""
        self._stub = room_pb2_grpc.RoomServiceStub(channel.channel)
        self._metadata = channel.metadata
        self._rooms = rooms
        self._is_mine = is_mine
        self._settle_s = settle_s
        self._request_ids = itertools.count(1)
        self._commands: list[room_pb2.Command] = []
        self._arrived = asyncio.Event()
        self._waiting: dict[int, tuple[str, Done[Any]]] = {}
        self._open = False
        self._taking_over: asyncio.Task[None] | None = None
        self._told = True
        """Whether the broken stream was logged; unreachable services are logged elsewhere."""

    def join(self, room_id: str, member: Member, done: Done[Members]) -> None:
        """Add a member; `done` gets the member list."""

        def joined(answer: Members | UpstreamError) -> None:
            if not isinstance(answer, UpstreamError):
                self._rooms.learn(room_id, answer)
            done(answer)

        self._submit(
            joined, "join", join=room_pb2.Join(room_id=room_id, member=_to_message(member))
        )

    def leave(self, room_id: str, connection_id: str, done: Done[bool] | None) -> None:
        """Remove a member; without the stream it is out already."""
        if self._open:
            self._submit(
                done, "leave", leave=room_pb2.Leave(room_id=room_id, connection_id=connection_id)
            )

    def publish(self, room_id: str, connection_id: str, data: bytes, done: Done[bool]) -> None:
        """Send a message to the others; `done` gets True."""
        publish = room_pb2.Publish(room_id=room_id, connection_id=connection_id, data_json=data)
        self._submit(done, "publish", publish=publish)

    def _submit(self, done: Done[Any] | None, kind: str, **action: Any) -> None:
        if done is not None and (not self._open or len(self._commands) >= MAX_PENDING):
            done(unavailable("room"))
            return
        request_id = next(self._request_ids) if done is not None else 0
        if done is not None:
            self._waiting[request_id] = (kind, done)
        self._commands.append(room_pb2.Command(request_id=request_id, **action))
        self._arrived.set()

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._open

    def take_over(self, room_ids: Collection[str]) -> None:
        """Add this edge's members to the rooms that this brain serves from now on."""
        if self._open:  # else all join when it opens
            self._commands += self._joins(room_ids)
            self._arrived.set()
            self._taking_over = asyncio.create_task(self._look(room_ids))

    def hand_over(self, room_ids: Collection[str]) -> None:
        """Remove this edge's members from rooms that another brain serves from now on, once all
        edges know.
        """
        loop = asyncio.get_running_loop()
        loop.call_later(self._settle_s, self._leave_others, self._memberships(room_ids))

    def _leave_others(self, memberships: Iterable[tuple[str, Member]]) -> None:
        for room_id, member in memberships:
            if not self._is_mine(room_id):
                self.leave(room_id, member.connection_id, None)

    async def run(self) -> None:
        """Keep the stream open until cancelled."""
        backoff_s = 0.05
        while True:
            stream = self._stub.Attend(metadata=self._metadata)
            try:
                self._rejoin()
                self._open = True
                async with asyncio.TaskGroup() as group:
                    others = group.create_task(self._write(stream)), group.create_task(self._look())
                    group.create_task(self._read(stream)).add_done_callback(
                        partial(_cancel, others)
                    )
                backoff_s = 0.05
            except* (
                grpc.aio.AioRpcError,
                grpc.aio.UsageError,
                asyncio.InvalidStateError,
            ) as broken:
                if not self._told:
                    status = ", ".join(map(_status, broken.exceptions))
                    logger.warning(
                        "the stream of rooms broke and will be reopened", extra={"status": status}
                    )
                self._told = True
            finally:
                self._open = False
                stream.cancel()
                self._fail_waiting()
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311
            backoff_s = min(1.0, backoff_s * 2)

    def _rejoin(self) -> None:
        self._commands = self._joins()
        self._arrived.set()

    def _joins(self, room_ids: Collection[str] | None = None) -> list[room_pb2.Command]:
        return [
            room_pb2.Command(join=room_pb2.Join(room_id=room_id, member=_to_message(member)))
            for room_id, member in self._memberships(room_ids)
            if self._is_mine(room_id)
        ]

    async def _look(self, room_ids: Collection[str] | None = None) -> None:
        """Refresh the member lists after a break, once all edges are back, by joining again.

        One room at a time: all lists at once might not fit into a message.
        """
        await asyncio.sleep(self._settle_s)
        for room_id in dict.fromkeys(room_id for room_id, _ in self._memberships(room_ids)):
            if not self._is_mine(room_id):
                continue
            member = self._rooms.somebody(
                room_id
            )  # now, because one who has left meanwhile must not come back
            if member is not None:
                await self._join_again(room_id, member)

    async def _join_again(self, room_id: str, member: Member) -> None:
        answered = asyncio.Event()
        self.join(room_id, member, lambda _: answered.set())
        await answered.wait()

    def _memberships(self, room_ids: Collection[str] | None) -> list[tuple[str, Member]]:
        return [
            (room_id, member)
            for room_id, member in self._rooms.memberships()
            if room_ids is None or room_id in room_ids
        ]

    async def _write(self, stream: Any) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._commands:
                await stream.write(room_pb2.AttendRequest(commands=self._take_commands()))

    def _take_commands(self) -> list[room_pb2.Command]:
        """Take as many commands as fit comfortably into a message."""
        count, size = 0, 0
        for command in self._commands:
            count, size = count + 1, size + command.ByteSize()
            if size > MAX_COMMAND_BYTES:
                break
        commands, self._commands = self._commands[:count], self._commands[count:]
        return commands

    async def _read(self, stream: Any) -> None:
        while (response := await stream.read()) is not grpc.aio.EOF:
            self._told = False
            # Results first: a member list is older than any arrival in the same message, and would
            # overwrite it.
            for result in response.results:
                self._answer(result)
            for event in response.events:
                kind = _EVENTS.get(event.kind)
                # Ignore the brain that served the room before.
                if kind is not None and self._is_mine(event.room_id):
                    self._rooms.deliver(
                        RoomEvent(kind, event.room_id, _to_value(event.member), event.data_json)
                    )

    def _answer(self, result: room_pb2.CommandResult) -> None:
        kind, done = self._waiting.pop(result.request_id, ("", None))
        if done is None:
            return
        if result.overloaded:
            done(overloaded(sentence(result.error)))
        elif not result.ok:
            done(UpstreamError("forbidden", result.error or "Refused."))
        elif kind == "join":
            listed = tuple(map(_to_value, result.members))
            done(Members(listed, max(result.member_count, len(listed))))
        else:
            done(True)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, done in waiting.values():
            done(unavailable("room"))


def _status(error: BaseException) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__


def _cancel(tasks: Iterable[asyncio.Task[None]], _: object) -> None:
    for task in tasks:
        task.cancel()


def _to_message(member: Member) -> room_pb2.Member:
    return room_pb2.Member(
        connection_id=member.connection_id, user_id=member.user_id, role=member.role
    )


def _to_value(member: room_pb2.Member) -> Member:
    return Member(member.connection_id, member.user_id, member.role)
