"""Which sockets of this edge are in which rooms, and how an event reaches them. The brain owns the rooms."""

from __future__ import annotations

from typing import Protocol

from edge.counters import Counters
from edge.frames.clock import timestamp
from edge.frames.outgoing import RoomMessage, User, UserJoined, UserLeft, encode, raw
from edge.ports import Member, Prepare, RoomEvent, Sink


class Occupant(Protocol):
    """One socket's place, as a room sees it."""

    sink: Sink


class Rooms:
    """Fans room events out to the sockets that are there."""

    def __init__(self, *, prepare: Prepare, counters: Counters) -> None:
        """`prepare` turns a payload into bytes that any sink sends as they are."""
        self._prepare = prepare
        self._counters = counters
        self._rooms: dict[str, dict[str, tuple[Occupant, Member]]] = {}

    def enter(self, room_id: str, occupant: Occupant, member: Member) -> None:
        """Let a socket hear a room."""
        room = self._rooms.setdefault(room_id, {})
        if member.connection_id not in room:
            self._counters.rooms.add(room_id)
        room[member.connection_id] = (occupant, member)

    def leave(self, room_id: str, connection_id: str) -> None:
        """A socket hears a room no more; harmless when it did not."""
        room = self._rooms.get(room_id)
        if room is None or room.pop(connection_id, None) is None:
            return
        self._counters.rooms.remove(room_id)
        if not room:
            del self._rooms[room_id]

    def memberships(self) -> list[tuple[str, Member]]:
        """Return who of this edge is where, for a brain that has forgotten."""
        return [(room_id, member) for room_id, room in self._rooms.items() for _, member in room.values()]

    def deliver(self, event: RoomEvent) -> None:
        """Tell everyone in the room but the one behind the event."""
        room = self._rooms.get(event.room_id)
        if not room:
            return
        frame = self._prepare(_encode(event))
        for connection_id, (occupant, _) in room.items():
            if connection_id != event.member.connection_id:
                self._counters.room_events_sent[event.kind] += 1
                occupant.sink.send_prepared(frame)


def _encode(event: RoomEvent) -> bytes:
    user = User(event.member.user_id, event.member.role)
    room_id, connection_id, now = event.room_id, event.member.connection_id, timestamp()
    if event.kind == "message":
        return encode(RoomMessage(room_id, connection_id, user, raw(event.data), now))
    frame = UserJoined if event.kind == "joined" else UserLeft
    return encode(frame(room_id, connection_id, user, now))
