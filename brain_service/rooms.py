"""Who is in which room, and who hears what is said there.

A member lives as long as the attendance (one stream of one edge) that added it, plus a grace
period: an edge whose stream broke joins its members again, and nobody sees them leave. A crashed
edge leaves no members behind. Events are collected per attendance and taken in batches, and only
edges with a member in a room get its events. A message that some edge has no room for is refused,
so that no room's load ends another's.

A room lives in one brain. Where several brains run, the edges choose it by rendezvous hashing of
the room's id over the brains they know, as they do for learners, and attend at each of them; when
the set of brains changes or a stream ends, an edge joins its members again at the brain that is now
the right one. Nothing about rooms is stored, so nothing has to be moved, and the bus stays free of
room traffic.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""While more than this waits for an edge, messages to its members are refused."""
TOO_SLOW_BYTES: Final = 4 * MAX_WAITING_BYTES
"""An edge for which more than this waits, comings and goings included, is too slow: its attendance
ends.
"""
EVENT_OVERHEAD_BYTES: Final = 256
"""What an event without data counts for."""
MAX_EVENTS: Final = 512
MAX_EVENT_BYTES: Final = 2 * 1024 * 1024
"""Events per batch, and their bytes; the one that passes it is still taken."""
MAX_LISTED: Final = 100
"""Most members that a list names; larger rooms also give the number."""
GRACE_S: Final = 5.0
"""How long members stay after their edge's stream broke."""


class AttendanceEndedError(Exception):
    """The attendance is over and its members have left; the text says why."""


class AttendanceTooSlowError(AttendanceEndedError):
    """Too much was waiting for the edge."""


class CrowdedError(Exception):
    """Too much waits for an edge that should get this; try again in a moment."""


class NotAMemberError(Exception):
    """The sender is not in the room, or joined through another edge."""


class Member(NamedTuple):
    """One socket of one person."""

    connection_id: str
    user_id: str
    role: str


class EventKind(enum.Enum):
    """What happened in a room."""

    JOINED = "joined"
    LEFT = "left"
    MESSAGE = "message"


class Event(NamedTuple):
    """Something that happened in a room."""

    kind: EventKind
    room_id: str
    member: Member
    data: bytes = b""


@dataclass(slots=True)
class _Seat:
    member: Member
    attendance: Attendance


class _Room:
    __slots__ = ("attendances", "seats")

    def __init__(self) -> None:
        self.seats: dict[str, _Seat] = {}
        self.attendances: dict[Attendance, int] = {}
        """How many members each edge has here."""


class Attendance:
    """One edge's membership in rooms. Get it from `Rooms.attend` and `close` it at the end."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._seats: set[tuple[str, str]] = set()
        self._events: list[Event] = []
        self.waiting_bytes = 0
        """The size of the waiting events, for the limits."""
        self._ended: AttendanceEndedError | None = None
        self._wake = asyncio.Event()

    def join(self, room_id: str, member: Member) -> tuple[Member, ...]:
        """Add a member to a room and return its members.

        Joining again changes nothing. A member of another attendance of its edge moves over without
        an event: the edge reconnected before its old stream was found dead. Raises
        AttendanceEndedError when this one is over.
        """
        if self._ended:
            raise self._ended
        return self._rooms.join(self, room_id, member)

    def leave(self, room_id: str, connection_id: str) -> None:
        """Remove a member from a room; harmless when this attendance has no such member there."""
        self._rooms.leave(self, room_id, connection_id)

    def publish(self, room_id: str, connection_id: str, data: bytes) -> None:
        """Send `data` to everyone in a room.

        Raises NotAMemberError when the sender is not one of ours there, CrowdedError when too much
        waits for an edge that should get it.
        """
        self._rooms.publish(self, room_id, connection_id, data)

    async def take(self) -> list[Event]:
        """Wait for events, or for `wake`, and return those that wait, oldest first; at most one
        batch.

        Raises AttendanceEndedError when it is over. A cancelled take loses nothing.
        """
        while not (self._events or self._wake.is_set() or self._ended):
            await self._wake.wait()
        self._wake.clear()
        if self._ended:
            raise self._ended
        count, size = 0, 0
        for event in self._events[:MAX_EVENTS]:
            count, size = count + 1, size + _weight(event)
            if size > MAX_EVENT_BYTES:
                break
        batch, self._events = self._events[:count], self._events[count:]
        self.waiting_bytes -= size
        return batch

    @property
    def waiting(self) -> int:
        """How many events wait to be taken."""
        return len(self._events)

    @property
    def is_crowded(self) -> bool:
        """Whether more waits than messages may add to."""
        return self.waiting_bytes > MAX_WAITING_BYTES

    def count(self, room_id: str) -> int:
        """Return how many members are in a room."""
        return self._rooms.count(room_id)

    def wake(self) -> None:
        """Make the present or next `take` return, even without events."""
        self._wake.set()

    def close(self) -> None:
        """End it: its members leave unless they are joined again soon. Again is harmless."""
        self._rooms.end(self, AttendanceEndedError("the attendance is closed."))

    @property
    def seats(self) -> set[tuple[str, str]]:
        """The (room, connection) pairs of its members."""
        return self._seats

    def hear(self, event: Event) -> bool:
        """Collect an event, if anybody still takes it; returns whether there was room for it."""
        if self._ended:
            return True
        self._events.append(event)
        self.waiting_bytes += _weight(event)
        self._wake.set()
        return self.waiting_bytes <= TOO_SLOW_BYTES

    def end(self, reason: AttendanceEndedError) -> None:
        """Make `take` raise `reason`, now and from now on, and free what waits."""
        self._ended = self._ended or reason
        self._events, self.waiting_bytes = [], 0
        self._wake.set()


class Rooms:
    """All rooms of this process. An empty room does not exist."""

    def __init__(self, *, grace_s: float = GRACE_S) -> None:
        """Members of an attendance that ended stay for `grace_s`; 0 lets them leave at once."""
        self._grace_s = grace_s
        self._rooms: dict[str, _Room] = {}
        self._attendances: set[Attendance] = set()

    def __len__(self) -> int:
        """How many rooms have members."""
        return len(self._rooms)

    def attend(self) -> Attendance:
        """Begin an attendance for one edge."""
        attendance = Attendance(self)
        self._attendances.add(attendance)
        return attendance

    def members(self, room_id: str) -> tuple[Member, ...]:
        """Return a room's members in the order they joined, at most `MAX_LISTED`; none for an
        unknown room.
        """
        room = self._rooms.get(room_id)
        seats = islice(room.seats.values(), MAX_LISTED) if room else ()
        return tuple(seat.member for seat in seats)

    def count(self, room_id: str) -> int:
        """Return how many members are in a room."""
        room = self._rooms.get(room_id)
        return len(room.seats) if room else 0

    def announce(self, room_id: str, member: Member, data: bytes) -> int:
        """Send `data` to everyone in a room on behalf of a service, and return how many members are
        there. Raises CrowdedError.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return 0
        _check_space(room)
        count = len(room.seats)
        self._tell(room, Event(EventKind.MESSAGE, room_id, member, data))
        return count

    def join(self, attendance: Attendance, room_id: str, member: Member) -> tuple[Member, ...]:
        """See `Attendance.join`."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room()
        seat = room.seats.get(member.connection_id)
        if seat is not None and seat.attendance is attendance:
            seat.member = member
        else:
            if seat is not None:
                _unseat(room, room_id, seat)
            room.seats[member.connection_id] = _Seat(member, attendance)
            room.attendances[attendance] = room.attendances.get(attendance, 0) + 1
            attendance.seats.add((room_id, member.connection_id))
        if seat is None:
            self._tell(room, Event(EventKind.JOINED, room_id, member))
        return self.members(room_id)

    def leave(self, attendance: Attendance, room_id: str, connection_id: str) -> None:
        """See `Attendance.leave`."""
        room = self._rooms.get(room_id)
        seat = room.seats.get(connection_id) if room else None
        if room is None or seat is None or seat.attendance is not attendance:
            return
        del room.seats[connection_id]
        _unseat(room, room_id, seat)
        if room.seats:
            self._tell(room, Event(EventKind.LEFT, room_id, seat.member))
        else:
            del self._rooms[room_id]

    def publish(
        self, attendance: Attendance, room_id: str, connection_id: str, data: bytes
    ) -> None:
        """See `Attendance.publish`."""
        room = self._rooms.get(room_id)
        seat = room.seats.get(connection_id) if room else None
        if room is None or seat is None or seat.attendance is not attendance:
            raise NotAMemberError("the sender is not a member of the room; join it first.")
        _check_space(room)
        self._tell(room, Event(EventKind.MESSAGE, room_id, seat.member, data))

    def end(self, attendance: Attendance, reason: AttendanceEndedError) -> None:
        """End an attendance: its `take` raises `reason`, and its members leave unless another
        attendance brings them back in time.
        """
        if attendance not in self._attendances:
            return
        attendance.end(reason)
        self._attendances.discard(attendance)
        if isinstance(reason, AttendanceTooSlowError):
            logger.warning("an edge is too slow for what is said in rooms; it has to join again")
        if attendance.seats and self._grace_s:
            asyncio.get_running_loop().call_later(self._grace_s, self._clear, attendance)
        else:
            self._clear(attendance)

    def _clear(self, attendance: Attendance) -> None:
        # Sorted, so that the others always get the same order.
        for room_id, connection_id in sorted(attendance.seats):
            self.leave(attendance, room_id, connection_id)

    def _tell(self, room: _Room, event: Event) -> None:
        slow: Sequence[Attendance] = [
            attendance for attendance in room.attendances if not attendance.hear(event)
        ]
        for attendance in slow:
            self.end(
                attendance, AttendanceTooSlowError("too much was waiting; attend and join again.")
            )


def _unseat(room: _Room, room_id: str, seat: _Seat) -> None:
    seat.attendance.seats.discard((room_id, seat.member.connection_id))
    left = room.attendances[seat.attendance] - 1
    if left:
        room.attendances[seat.attendance] = left
    else:
        del room.attendances[seat.attendance]


def _check_space(room: _Room) -> None:
    if any(attendance.is_crowded for attendance in room.attendances):
        raise CrowdedError("too many messages; try again in a moment.")


def _weight(event: Event) -> int:
    return EVENT_OVERHEAD_BYTES + len(event.data)
