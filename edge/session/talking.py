"""The rooms that one socket is in."""

from __future__ import annotations

from functools import partial
from typing import Any

from edge.admission.prices import PER_BYTE, PER_LISTENER
from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.frames.incoming import BadFrameError, RequestId
from edge.ports import Done, Member, Members, UpstreamError
from edge.session.connected import Connected
from edge.session.replies import FORBIDDEN
from edge.telemetry.recording import NO_RECEIPT, NoReceipt


class Talking:
    """The rooms of one socket."""

    __slots__ = ("_edge", "_member", "_rooms", "_socket", "sink")

    def __init__(self, socket: Connected) -> None:
        """Begin in no room."""
        self._socket = socket
        self._edge = socket.edge
        self.sink = socket.sink
        self._member = Member(socket.connection_id, socket.user_id, socket.role)
        self._rooms: set[str] = set()

    def join(self, frame: incoming.JoinRoom, receipt: NoReceipt) -> None:
        """Enter a room, once the auth service allows it."""
        room_id, limit = frame.room_id, self._edge.settings.max_rooms
        if len(self._rooms) >= limit and room_id not in self._rooms:
            raise BadFrameError(
                "too_many_subscriptions", f"A socket can be in at most {limit} rooms."
            )
        self._rooms.add(room_id)
        allowed = partial(self._allowed, frame, receipt)
        self._edge.access.ask(self._socket.user_id, "join", room_id, allowed)

    def _allowed(
        self, frame: incoming.JoinRoom, receipt: NoReceipt, answer: bool | UpstreamError
    ) -> None:
        if answer is True and frame.room_id not in self._rooms:
            self._socket.replies.overtaken("join_room", frame.id, receipt)
        elif answer is True:
            self._edge.rooms.enter(frame.room_id, self, self._member)
            self._edge.room_link.join(
                frame.room_id, self._member, partial(self._joined, frame, receipt)
            )
        else:
            self._quit(frame.room_id)  # it may have been in the room before this request
            self._socket.replies.refuse(answer, "join_room", frame.id, receipt)

    def _joined(
        self,
        frame: incoming.JoinRoom,
        receipt: NoReceipt,
        answer: Members | UpstreamError,
    ) -> None:
        if isinstance(answer, UpstreamError):
            self._quit(frame.room_id)
            self._socket.replies.refuse(answer, "join_room", frame.id, receipt)
        elif frame.room_id in self._rooms:
            self._socket.replies.send(
                outgoing.RoomJoined(
                    room_id=frame.room_id,
                    connection_id=self._member.connection_id,
                    user=self._user(),
                    members=[
                        _describe(member)
                        for member in self._edge.rooms.shown(
                            frame.room_id, self._member, answer.listed
                        )
                    ],
                    member_count=answer.total,
                    timestamp=timestamp(),
                    id=frame.id,
                ),
                receipt,
            )
        else:
            self._socket.replies.overtaken("join_room", frame.id, receipt)

    def leave(self, frame: incoming.LeaveRoom, receipt: NoReceipt) -> None:
        """Leave a room; harmless when not in it."""
        self._quit(frame.room_id)
        self._tell_left(frame.room_id, frame.id, receipt)

    def say(self, frame: incoming.SendRoomMessage, receipt: NoReceipt) -> None:
        """Send a message to the other members of a room."""
        incoming.check_object(frame.data, "data")
        if frame.room_id not in self._rooms:
            raise BadFrameError("forbidden", "Join the room first.")
        listeners = self._edge.rooms.count(frame.room_id)
        self._socket.budget.charge(
            PER_LISTENER * listeners * (1 + len(bytes(frame.data)) * PER_BYTE)
        )
        said = partial(self._said, frame.id, receipt)
        allowed = partial(self._may_speak, frame.room_id, bytes(frame.data), said)
        self._edge.access.ask(self._socket.user_id, "speak", frame.room_id, allowed)

    def _may_speak(
        self, room_id: str, data: bytes, said: Done[bool], answer: bool | UpstreamError
    ) -> None:
        if answer is True:
            self._edge.room_link.publish(room_id, self._member.connection_id, data, said)
        else:
            said(answer or FORBIDDEN)

    def _said(self, id: RequestId, receipt: NoReceipt, answer: Any) -> None:
        if isinstance(answer, UpstreamError):
            self._socket.replies.refuse(answer, "room_message", id, receipt)
        else:
            receipt.unanswered()

    def recheck(self) -> None:
        """Check every room again."""
        for room_id in list(self._rooms):
            self._edge.access.ask(
                self._socket.user_id, "join", room_id, partial(self._rechecked, room_id)
            )

    def _rechecked(self, room_id: str, answer: bool | UpstreamError) -> None:
        if answer is False and room_id in self._rooms:
            self._quit(room_id)
            self._tell_left(room_id, None, NO_RECEIPT)

    def end(self) -> None:
        """The socket is closed."""
        for room_id in list(self._rooms):
            self._quit(room_id)

    def _quit(self, room_id: str) -> None:
        if room_id in self._rooms:
            self._rooms.discard(room_id)
            self._edge.rooms.leave(room_id, self._member.connection_id)
            self._edge.room_link.leave(room_id, self._member.connection_id, None)

    def _tell_left(self, room_id: str, id: RequestId, receipt: NoReceipt) -> None:
        self._socket.replies.send(
            outgoing.RoomLeft(
                room_id=room_id,
                connection_id=self._member.connection_id,
                user=self._user(),
                timestamp=timestamp(),
                id=id,
            ),
            receipt,
        )

    def _user(self) -> outgoing.User:
        return outgoing.User(self._member.user_id, self._member.role)


def _describe(member: Member) -> dict[str, Any]:
    return {
        "connection_id": member.connection_id,
        "user": {"id": member.user_id, "role": member.role},
    }
