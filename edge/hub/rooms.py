"""Which sockets of this edge are in which rooms of the brain, and how an event reaches them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edge.frames.clock import timestamp
from edge.frames.outgoing import RoomMessage, User, UserJoined, UserLeft, encode, raw
from edge.ports import Member, Members, Prepare, RoomEvent, Sink
from edge.telemetry.counters import EdgeCounters

CLASS_ROOM = "class:"
HIDDEN = frozenset({"guardian"})
NOBODY: frozenset[str] = frozenset()


class Occupant(Protocol):
    """One socket's place, as a room sees it."""

    sink: Sink


class _Room:
    """One room: its sockets at this edge, and the members they know of."""

    __slots__ = ("is_crowd", "known", "members")

    def __init__(self) -> None:
        self.members: dict[str, tuple[Occupant, Member]] = {}
        self.is_crowd = False
        """Whether it is too large to announce who comes and goes."""
        self.known: dict[str, Member] | None = None
        """Members at any edge, as every socket here knows them; None before the first member
        list.
        """

    def is_news(self, event: RoomEvent) -> bool:
        """Apply an event; False when the sockets know it already."""
        if event.kind == "message":
            return True
        if self.known is None:
            return not self.is_crowd
        connection_id = event.member.connection_id
        was_known = connection_id in self.known
        if event.kind == "joined":
            self.known[connection_id] = event.member
            return not was_known
        self.known.pop(connection_id, None)
        return was_known


class Rooms:
    """Fans room events out to the sockets in the room."""

    def __init__(
        self, *, prepare: Prepare, counters: EdgeCounters, hides_guardians: bool = True
    ) -> None:
        """`prepare` turns a payload into bytes that any sink sends as they are; guardians do not
        see each other in the rooms of classes if `hides_guardians`.
        """
        self._hides_guardians = hides_guardians
        self._prepare = prepare
        self._counters = counters
        self._rooms: dict[str, _Room] = {}

    def enter(self, room_id: str, occupant: Occupant, member: Member) -> None:
        """Add a socket to a room."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room()
        if member.connection_id not in room.members:
            self._counters.rooms.add(room_id)
        room.members[member.connection_id] = (occupant, member)

    def leave(self, room_id: str, connection_id: str) -> None:
        """Remove a socket from a room; harmless when it is not there."""
        room = self._rooms.get(room_id)
        if room is None or room.members.pop(connection_id, None) is None:
            return
        self._counters.rooms.remove(room_id)
        if not room.members:
            del self._rooms[room_id]

    def count(self, room_id: str) -> int:
        """Return how many sockets of this edge are in a room."""
        room = self._rooms.get(room_id)
        return 0 if room is None else len(room.members)

    def memberships(self) -> list[tuple[str, Member]]:
        """Return this edge's members by room, for a brain that has restarted."""
        return [
            (room_id, member)
            for room_id, room in self._rooms.items()
            for _, member in room.members.values()
        ]

    def somebody(self, room_id: str) -> Member | None:
        """Return any member of this edge in a room, or None when there is none."""
        room = self._rooms.get(room_id)
        return None if room is None else next(iter(room.members.values()))[1]

    def learn(self, room_id: str, members: Members) -> None:
        """Announce to everyone in the room how the brain's member list differs from what they know.

        A list that answers a socket shows the others who came; one after a break, also who left
        meanwhile.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return
        before = room.known
        if members.is_crowd:
            room.known = None  # too many to keep track of
            room.is_crowd = True
            return
        room.known = {member.connection_id: member for member in members.listed}
        room.is_crowd = False
        if before is None:
            return  # those who are here get the list itself
        for member in before.values():
            if member.connection_id not in room.known:
                self._tell(room, RoomEvent("left", room_id, member, b""))
        for member in members.listed:
            if member.connection_id not in before:
                self._tell(room, RoomEvent("joined", room_id, member, b""))

    def deliver(self, event: RoomEvent) -> None:
        """Send an event to everyone in the room but its originator, unless they know it."""
        room = self._rooms.get(event.room_id)
        if room is not None and room.is_news(event):
            self._tell(room, event)

    def shown(self, room_id: str, viewer: Member, members: Iterable[Member]) -> list[Member]:
        """Return those of these members that this one may see in this room."""
        hidden = self._hides(room_id, viewer)
        return [one for one in members if one == viewer or one.role not in hidden]

    def _hides(self, room_id: str, viewer: Member) -> frozenset[str]:
        """The roles this member does not see: whose children are in a class is private."""
        of_class = room_id.startswith(CLASS_ROOM)
        return HIDDEN if of_class and viewer.role in HIDDEN and self._hides_guardians else NOBODY

    def _tell(self, room: _Room, event: RoomEvent) -> None:
        frame = self._prepare(_encode(event))
        for connection_id, (occupant, member) in room.members.items():
            if connection_id != event.member.connection_id and (
                event.member.role not in self._hides(event.room_id, member)
            ):
                self._counters.room_events_sent[event.kind] += 1
                occupant.sink.send_prepared(frame)


def _encode(event: RoomEvent) -> bytes:
    user = User(event.member.user_id, event.member.role)
    room_id, connection_id, now = event.room_id, event.member.connection_id, timestamp()
    if event.kind == "message":
        return encode(RoomMessage(room_id, connection_id, user, raw(event.data), now))
    frame = UserJoined if event.kind == "joined" else UserLeft
    return encode(frame(room_id, connection_id, user, now))
