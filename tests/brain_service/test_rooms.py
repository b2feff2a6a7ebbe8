"""Rooms: who is there, who hears what, and that nothing outlives the edge that brought it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service import rooms as rooms_module
from brain_service.rooms import (
    Attendance,
    AttendanceEndedError,
    AttendanceTooSlowError,
    CrowdedError,
    Event,
    EventKind,
    Member,
    NotAMemberError,
    Rooms,
)

MIA = Member("c-mia", "mia", "learner")
BEN = Member("c-ben", "ben", "learner")
EVA = Member("c-eva", "eva", "learner")
TEACHER = Member("c-tea", "tea", "teacher")


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(grace_s=0)


async def heard(attendance: Attendance) -> list[tuple[EventKind, str, bytes]]:
    attendance.wake()
    return [
        (event.kind, event.member.connection_id, event.data) for event in await attendance.take()
    ]


async def test_only_edges_with_a_member_in_the_room_hear_it_and_in_order(rooms: Rooms) -> None:
    one, two, three = rooms.attend(), rooms.attend(), rooms.attend()
    three.join("elsewhere", TEACHER)
    await heard(three)

    assert one.join("r", MIA) == (MIA,)
    assert two.join("r", BEN) == (MIA, BEN)
    one.publish("r", MIA.connection_id, b'{"n":1}')
    two.leave("r", BEN.connection_id)

    assert await heard(one) == [
        (EventKind.JOINED, "c-mia", b""),
        (EventKind.JOINED, "c-ben", b""),
        (EventKind.MESSAGE, "c-mia", b'{"n":1}'),
        (EventKind.LEFT, "c-ben", b""),
    ]
    assert await heard(two) == [
        (EventKind.JOINED, "c-ben", b""),
        (EventKind.MESSAGE, "c-mia", b'{"n":1}'),
    ]
    assert await heard(three) == []


async def test_an_edge_with_many_members_hears_an_event_once(rooms: Rooms) -> None:
    one = rooms.attend()
    one.join("r", MIA)
    one.join("r", BEN)
    await heard(one)
    one.publish("r", BEN.connection_id, b"{}")

    assert await heard(one) == [(EventKind.MESSAGE, "c-ben", b"{}")]


async def test_joining_again_is_harmless(rooms: Rooms) -> None:
    one = rooms.attend()
    one.join("r", MIA)
    await heard(one)

    assert one.join("r", MIA) == (MIA,)
    assert await heard(one) == []


async def test_leaving_a_room_one_is_not_in_is_harmless(rooms: Rooms) -> None:
    one, two = rooms.attend(), rooms.attend()
    one.join("r", MIA)
    one.leave("other", MIA.connection_id)
    one.leave("r", "c-nobody")
    two.leave("r", MIA.connection_id)

    assert rooms.members("r") == (MIA,)


async def test_only_ones_own_members_may_speak(rooms: Rooms) -> None:
    one, two = rooms.attend(), rooms.attend()
    one.join("r", MIA)
    for attendance, connection in ((one, "c-nobody"), (two, MIA.connection_id)):
        with pytest.raises(NotAMemberError):
            attendance.publish("r", connection, b"{}")
    with pytest.raises(NotAMemberError):
        one.publish("none", MIA.connection_id, b"{}")


async def test_members_of_a_closed_attendance_leave_everywhere(rooms: Rooms) -> None:
    one, two = rooms.attend(), rooms.attend()
    one.join("r", MIA)
    one.join("s", MIA)
    two.join("r", BEN)
    await heard(two)
    one.close()
    one.close()

    assert await heard(two) == [(EventKind.LEFT, "c-mia", b"")]
    assert rooms.members("r") == (BEN,)
    assert len(rooms) == 1
    with pytest.raises(AttendanceEndedError):
        await one.take()
    with pytest.raises(AttendanceEndedError):
        one.join("r", MIA)


async def test_a_member_of_a_reconnected_edge_moves_over_in_silence(rooms: Rooms) -> None:
    old, other = rooms.attend(), rooms.attend()
    old.join("r", MIA)
    other.join("r", BEN)
    await heard(other)
    new = rooms.attend()
    new.join("r", MIA)
    old.close()

    assert await heard(other) == []
    assert set(rooms.members("r")) == {MIA, BEN}
    new.publish("r", MIA.connection_id, b"{}")
    assert await heard(other) == [(EventKind.MESSAGE, "c-mia", b"{}")]


async def test_a_service_speaks_without_being_there(rooms: Rooms) -> None:
    service = Member("", "", "service")
    one = rooms.attend()

    assert rooms.announce("r", service, b"{}") == 0
    one.join("r", MIA)
    await heard(one)
    assert rooms.announce("r", service, b"{}") == 1
    assert await heard(one) == [(EventKind.MESSAGE, "", b"{}")]


async def test_an_edge_that_does_not_read_is_ended_and_costs_the_others_nothing(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "TOO_SLOW_BYTES", 10_000)
    slow, quick = rooms.attend(), rooms.attend()
    slow.join("r", MIA)
    quick.join("r", BEN)
    told = []
    for _ in range(40):
        quick.publish("r", BEN.connection_id, b"x" * 1000)
        told += await heard(quick)

    assert sum(kind is EventKind.MESSAGE for kind, _, _ in told) == 40
    assert (EventKind.LEFT, "c-mia", b"") in told
    with pytest.raises(AttendanceTooSlowError):
        await slow.take()
    assert (slow.waiting, slow.waiting_bytes) == (0, 0)


async def test_messages_are_refused_while_an_edge_that_would_hear_them_is_behind(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's membership ends for what others say, and other rooms go on."""
    monkeypatch.setattr(rooms_module, "MAX_WAITING_BYTES", 10_000)
    slow, quick = rooms.attend(), rooms.attend()
    slow.join("r", MIA)
    quick.join("r", BEN)
    quick.join("s", BEN)
    said = 8  # each counts for its size and an overhead
    for _ in range(said):
        quick.publish("r", BEN.connection_id, b"x" * 1000)
        await heard(quick)
    with pytest.raises(CrowdedError):
        quick.publish("r", BEN.connection_id, b"x" * 1000)
    with pytest.raises(CrowdedError):
        rooms.announce("r", BEN, b"{}")
    quick.publish("s", BEN.connection_id, b"x" * 1000)

    assert rooms.members("r") == (MIA, BEN)
    assert sum(kind is EventKind.MESSAGE for kind, _, _ in await heard(slow)) == said
    quick.publish("r", BEN.connection_id, b"{}")


async def test_an_edge_that_comes_back_in_time_was_never_away() -> None:
    rooms = Rooms(grace_s=0.05)
    broken, other = rooms.attend(), rooms.attend()
    for member in (MIA, EVA):
        broken.join("r", member)
    other.join("r", BEN)
    await heard(other)
    broken.close()
    rooms.attend().join("r", MIA)
    assert await heard(other) == []
    assert set(rooms.members("r")) == {MIA, EVA, BEN}

    async with asyncio.timeout(5):
        (event,) = await other.take()
    assert (event.kind, event.member) == (EventKind.LEFT, EVA), "who does not come back has left"
    assert set(rooms.members("r")) == {MIA, BEN}


async def test_batches_are_bounded_by_bytes_too(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "MAX_EVENT_BYTES", 10_000)
    one = rooms.attend()
    one.join("r", MIA)
    await heard(one)
    for _ in range(25):
        one.publish("r", MIA.connection_id, b"x" * 1000)
    batches = [len(await one.take()) for _ in range(4)]

    assert batches == [8, 8, 8, 1]


async def test_a_crowd_is_counted_and_not_listed(rooms: Rooms) -> None:
    one = rooms.attend()
    for number in range(rooms_module.MAX_LISTED + 20):
        listed = one.join("r", Member(f"c-{number}", "u", "learner"))

    assert len(listed) == rooms_module.MAX_LISTED
    assert one.count("r") == rooms_module.MAX_LISTED + 20


async def test_a_batch_is_bounded_and_nothing_is_dropped(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "MAX_EVENTS", 3)
    one = rooms.attend()
    one.join("r", MIA)
    for number in range(7):
        one.publish("r", MIA.connection_id, str(number).encode())
    batches = [await one.take() for _ in range(3)]

    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert [event.data for batch in batches for event in batch] == [
        b"",
        *(str(n).encode() for n in range(7)),
    ]
    assert one.waiting_bytes == 0


async def test_a_cancelled_take_loses_nothing(rooms: Rooms) -> None:
    one = rooms.attend()
    waiting = asyncio.create_task(one.take())
    await asyncio.sleep(0)
    one.join("r", MIA)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert await one.take() == [Event(EventKind.JOINED, "r", MIA)]


async def test_closed_attendances_leave_nothing_behind(rooms: Rooms) -> None:
    refs = []
    for number in range(100):
        attendance = rooms.attend()
        attendance.join(f"r{number % 3}", MIA)
        attendance.close()
        refs.append(weakref.ref(attendance))
        del attendance
    gc.collect()

    assert len(rooms) == 0
    assert [ref for ref in refs if ref() is not None] == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "publish", "reconnect"]),
        st.integers(0, 2),
        st.sampled_from(["r", "s"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_whoever_replays_the_events_knows_who_is_there(
    steps: list[tuple[str, int, str, str]],
) -> None:
    asyncio.run(_replay(steps))


async def _replay(steps: list[tuple[str, int, str, str]]) -> None:
    rooms = Rooms(grace_s=0)
    edges = [rooms.attend() for _ in range(3)]
    listener = rooms.attend()
    for room in ("r", "s"):
        listener.join(room, TEACHER)
    present: dict[str, set[str]] = {"r": set(), "s": set()}
    for action, edge, room, name in steps:
        member = Member(f"{edge}-{name}", name, "learner")
        if action == "join":
            edges[edge].join(room, member)
        elif action == "leave":
            edges[edge].leave(room, member.connection_id)
        elif action == "reconnect":
            edges[edge].close()
            edges[edge] = rooms.attend()
        elif member in rooms.members(room):
            edges[edge].publish(room, member.connection_id, b"{}")
        listener.wake()
        for event in await listener.take():
            if event.kind is EventKind.JOINED:
                assert event.member.connection_id not in present[event.room_id]
                present[event.room_id].add(event.member.connection_id)
            elif event.kind is EventKind.LEFT:
                present[event.room_id].remove(event.member.connection_id)
            else:
                assert event.member.connection_id in present[event.room_id]
        for name_of_room, expected in present.items():
            assert {member.connection_id for member in rooms.members(name_of_room)} == expected
