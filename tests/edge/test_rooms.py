"""Who hears what in a room."""

from __future__ import annotations

from hypothesis import settings

from edge.hub.rooms import Rooms
from edge.ports import Member, Members, RoomEvent
from edge.telemetry.counters import EdgeCounters
from tests.support.edge_values import message
from tests.support.fakes import FakeSink, prepare

quick = settings(max_examples=60, deadline=None)


def listed(*members: Member) -> Members:
    return Members(members, len(members))


class _Occupant:
    def __init__(self) -> None:
        self.sink = FakeSink()


def test_a_room_tells_everyone_but_the_one_behind_the_event() -> None:
    counters = EdgeCounters()
    rooms = Rooms(prepare=prepare, counters=counters)
    members = [Member(f"c{number}", f"u{number}", "learner") for number in range(3)]
    places = [_Occupant() for _ in members]
    for place, member in zip(places, members, strict=True):
        rooms.enter("r", place, member)
    rooms.enter("elsewhere", places[0], members[0])
    rooms.deliver(message("r", members[0], b'{"text":"hi"}'))
    rooms.leave("r", "c2")
    rooms.leave("r", "c2")
    rooms.leave("nowhere", "c2")
    rooms.deliver(RoomEvent("left", "r", members[2], b""))
    rooms.deliver(RoomEvent("joined", "r", members[2], b""))
    rooms.deliver(message("nowhere", members[0]))

    assert [frame["type"] for frame in places[0].sink.frames] == ["user_left", "user_joined"]
    assert [frame["type"] for frame in places[1].sink.frames] == [
        "room_message",
        "user_left",
        "user_joined",
    ]
    assert [frame["type"] for frame in places[2].sink.frames] == ["room_message"]
    assert places[1].sink.frames[0]["data"] == {"text": "hi"}
    assert places[1].sink.frames[0]["user"] == {"id": "u0", "role": "learner"}
    assert sorted(rooms.memberships()) == [
        ("elsewhere", members[0]),
        ("r", members[0]),
        ("r", members[1]),
    ]
    assert len(counters.rooms) == 2
    for member in members:
        rooms.leave("r", member.connection_id)
        rooms.leave("elsewhere", member.connection_id)
    assert (rooms.memberships(), len(counters.rooms)) == ([], 0)


def test_a_member_list_tells_the_sockets_what_they_missed_and_nothing_else() -> None:
    rooms = Rooms(prepare=prepare, counters=EdgeCounters())
    ada, ben, cem, dan = (
        Member(name, f"u-{name}", "learner") for name in ("ada", "ben", "cem", "dan")
    )
    place = _Occupant()
    rooms.enter("r", place, ada)
    rooms.learn("r", listed(ada, ben, cem))
    first = place.sink.take()
    rooms.learn("r", listed(cem, dan, ada))
    rooms.learn("nowhere", listed(ben))

    assert first == [], "whoever joins gets the list itself"
    assert [
        (frame["type"], frame["connection_id"], frame["user"]["id"]) for frame in place.sink.take()
    ] == [
        ("user_left", "ben", "u-ben"),
        ("user_joined", "dan", "u-dan"),
    ]


def test_nobody_is_told_twice_who_came_or_went() -> None:
    """Members who are joined again after a break come as events, of which nobody's screen has to
    hear.
    """
    rooms = Rooms(prepare=prepare, counters=EdgeCounters())
    ada, ben = (Member(name, f"u-{name}", "learner") for name in ("ada", "ben"))
    place = _Occupant()
    rooms.enter("r", place, ada)
    rooms.learn("r", listed(ada))
    for kind in ("joined", "joined", "left", "left", "joined"):
        rooms.deliver(RoomEvent(kind, "r", ben, b""))
    rooms.deliver(message("r", ben))
    rooms.deliver(message("r", ben))

    assert [frame["type"] for frame in place.sink.frames] == [
        "user_joined", "user_left", "user_joined", "room_message", "room_message",
    ]  # fmt: skip


def test_somebody_of_a_room_is_a_member_of_this_edge() -> None:
    rooms = Rooms(prepare=prepare, counters=EdgeCounters())
    ada = Member("ada", "u-ada", "learner")
    rooms.enter("r", _Occupant(), ada)
    there = rooms.somebody("r")
    rooms.leave("r", "ada")

    assert (there, rooms.somebody("r")) == (ada, None)
