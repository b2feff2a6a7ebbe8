"""RoomService over the rooms: checks what edges and services send, calls, converts and answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio

from aivo.room.v1 import room_pb2, room_pb2_grpc
from brain_service.rooms import (
    Attendance,
    AttendanceEndedError,
    AttendanceTooSlowError,
    CrowdedError,
    Member,
    NotAMemberError,
    Rooms,
)
from brain_service.servicer import checks, convert
from brain_service.servicer.checks import InvalidFieldError
from service_runtime.errors import ErrorTable
from service_runtime.streams import StoppingError, Streams

SERVICE_NAME: Final = room_pb2.DESCRIPTOR.services_by_name["RoomService"].full_name
SERVICE: Final = Member("", "", "service")
"""The sender when no person is."""
MAX_RESULTS: Final = 1024
"""Results that may wait for an edge."""
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of results in one message; the one that exceeds it is still included."""

ERRORS = ErrorTable(
    {
        InvalidFieldError: grpc.StatusCode.INVALID_ARGUMENT,
        CrowdedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        StoppingError: grpc.StatusCode.UNAVAILABLE,
        AttendanceTooSlowError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        AttendanceEndedError: grpc.StatusCode.CANCELLED,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]


@ERRORS.guard
class RoomServicer(room_pb2_grpc.RoomServiceServicer):
    """The rooms' contract."""

    def __init__(self, rooms: Rooms) -> None:
        """Serve `rooms`."""
        self._rooms = rooms
        self._streams = Streams()

    def register(self, server: grpc.aio.Server) -> None:
        """Make `server` answer the contract's calls with this servicer."""
        room_pb2_grpc.add_RoomServiceServicer_to_server(self, server)

    def drain(self) -> None:
        """End all attendances with UNAVAILABLE."""
        self._streams.stop()

    async def Attend(
        self, request_iterator: AsyncIterable[room_pb2.AttendRequest], context: Context
    ) -> AsyncIterator[room_pb2.AttendResponse]:
        """Carry out commands and send events, until the edge ends the stream."""
        attending = _Attending(self._rooms.attend())
        carrying_out = asyncio.create_task(attending.carry_out(request_iterator))
        # By a callback of the call, because cancelling drops this generator wherever it is.
        context.add_done_callback(lambda ctx: attending.leave(carrying_out))  # type: ignore[arg-type]  # stubs want a class
        try:
            while not (carrying_out.done() and attending.answered):
                response = await self._streams.wait(attending.next_response)
                if response is not None:
                    yield response
            await carrying_out
        except StoppingError:
            attending.leave(carrying_out)
            raise

    async def PublishRoomMessage(
        self, request: room_pb2.PublishRoomMessageRequest, context: Context
    ) -> room_pb2.PublishRoomMessageResponse:
        """Send a message into a room on behalf of a service."""
        room_id = checks.identifier("room_id", request.room_id)
        members = self._rooms.announce(room_id, SERVICE, checks.data_json(request.data_json))
        return room_pb2.PublishRoomMessageResponse(members=members)

    async def ListMembers(
        self, request: room_pb2.ListMembersRequest, context: Context
    ) -> room_pb2.ListMembersResponse:
        """Return who is in a room."""
        members = self._rooms.members(checks.identifier("room_id", request.room_id))
        return room_pb2.ListMembersResponse(
            members=map(convert.member_message, members),
            member_count=self._rooms.count(request.room_id),
        )


class _Attending:
    """One Attend stream: an edge's commands in, their results and the rooms' events out."""

    def __init__(self, attendance: Attendance) -> None:
        self._attendance = attendance
        self._results: list[room_pb2.CommandResult] = []
        self._taken = asyncio.Event()

    @property
    def answered(self) -> bool:
        """Return whether every result was taken."""
        return not self._results

    async def carry_out(self, requests: AsyncIterable[room_pb2.AttendRequest]) -> None:
        """Carry out commands in order; stop reading from an edge that does not take its results."""
        try:
            async for request in requests:
                for command in request.commands:
                    result = _command(command, self._attendance)
                    if command.request_id:
                        result.request_id = command.request_id
                        self._results.append(result)
                self._attendance.wake()
                while len(self._results) > MAX_RESULTS:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._attendance.wake()

    async def next_response(self) -> room_pb2.AttendResponse | None:
        """Wait for results or events and return all of them; None when only the commands ended."""
        events = await self._attendance.take()
        count, size = 0, 0
        for result in self._results:
            count, size = count + 1, size + result.ByteSize()
            if size > MAX_RESULT_BYTES:
                self._attendance.wake()  # for the rest
                break
        results, self._results = self._results[:count], self._results[count:]
        self._taken.set()
        if not results and not events:
            return None
        return room_pb2.AttendResponse(results=results, events=map(convert.event, events))

    def leave(self, carrying_out: asyncio.Task[None]) -> None:
        """Stop reading and let all members leave."""
        carrying_out.cancel()
        if carrying_out.done() and not carrying_out.cancelled():
            carrying_out.exception()  # retrieved: the stream's own error was reported instead
        self._attendance.close()


def _command(command: room_pb2.Command, attendance: Attendance) -> room_pb2.CommandResult:
    try:
        match command.WhichOneof("action"):
            case "join":
                join = command.join
                members = attendance.join(
                    checks.identifier("room_id", join.room_id), convert.member(join.member)
                )
                return room_pb2.CommandResult(
                    ok=True,
                    members=map(convert.member_message, members),
                    member_count=attendance.count(join.room_id),
                )
            case "leave":
                leave = command.leave
                room_id = checks.identifier("room_id", leave.room_id)
                attendance.leave(room_id, checks.identifier("connection_id", leave.connection_id))
            case "publish":
                publish = command.publish
                room_id = checks.identifier("room_id", publish.room_id)
                attendance.publish(
                    room_id, publish.connection_id, checks.data_json(publish.data_json)
                )
            case _:
                raise InvalidFieldError(
                    "action is required and must be one that this version knows."
                )
    except (InvalidFieldError, NotAMemberError) as error:
        return room_pb2.CommandResult(ok=False, error=str(error))
    except CrowdedError as error:
        return room_pb2.CommandResult(ok=False, error=str(error), overloaded=True)
    return room_pb2.CommandResult(ok=True)
