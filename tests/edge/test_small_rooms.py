"""The edge's small pure rooms: limits, clock, counters, registry, sweep, access, rooms."""

from __future__ import annotations

import logging
import math
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.admission.access import MAX_PER_USER, Access
from edge.admission.limits import TokenBucket
from edge.admission.registry import Registry
from edge.frames.clock import rfc3339, timestamp
from edge.hub.rooms import Rooms
from edge.ports import Member, Members, RoomEvent, UpstreamError
from edge.sweep import TICK_S, Sweep
from edge.telemetry.counters import BUCKETS, EdgeCounters, Latency, Presence
from tests.support.fakes import FakeAuth, FakeClock, FakeSink, message, prepare

quick = settings(max_examples=60, deadline=None)

# Times


def listed(*members: Member) -> Members:
    return Members(members, len(members))


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_with_milliseconds_and_z(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


@quick
@given(st.integers(0, 253_402_300_799_999))
def test_every_time_reads_back_to_the_millisecond(ms: int) -> None:
    back = datetime.fromisoformat(rfc3339(ms))

    assert round(back.timestamp() * 1000) == ms


def test_timestamps_never_go_back() -> None:
    stamps = [timestamp() for _ in range(5000)]

    assert stamps == sorted(stamps)
    assert all(len(stamp) == 24 for stamp in stamps)


# Limits


@quick
@given(
    rate=st.floats(0.5, 200),
    burst=st.integers(1, 200),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=300),
)
def test_a_bucket_never_gives_more_than_its_burst_and_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    now = start = 50.0
    bucket = TokenBucket(rate=rate, burst=burst, now=now)
    taken = 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now) == 0.0

        assert taken <= burst + (now - start) * rate + 1e-6


@quick
@given(rate=st.floats(0.5, 200), burst=st.integers(1, 50))
def test_a_bucket_gives_its_whole_burst_at_once_and_then_says_when_to_come_back(
    rate: float, burst: int
) -> None:
    bucket = TokenBucket(rate=rate, burst=burst, now=0.0)

    assert [bucket.take(0.0) for _ in range(burst)] == [0.0] * burst
    wait = bucket.take(0.0)
    assert 0 < wait <= 1 / rate + 1e-9
    assert bucket.take(wait * 0.5) > 0
    assert bucket.take(wait * 1.5 + 1e-9) == 0.0


def test_a_rate_of_zero_allows_everything() -> None:
    bucket = TokenBucket(rate=0, burst=0, now=0.0)

    assert {bucket.take(0.0) for _ in range(1000)} == {0.0}


# EdgeCounters


@quick
@given(st.lists(st.floats(0, 5000, allow_nan=False), min_size=1, max_size=100))
def test_a_latency_falls_into_the_bucket_whose_bounds_hold_it(seconds: list[float]) -> None:
    latency = Latency()
    for one in seconds:
        before = list(latency.counts)
        latency.observe(one)
        (index,) = [i for i, count in enumerate(latency.counts) if count != before[i]]
        ms = one * 1000

        assert index == BUCKETS - 1 or ms <= 0.05 * 2 ** (index / 4) * (1 + 1e-9)
        assert index == 0 or ms > 0.05 * 2 ** ((index - 1) / 4) * (1 - 1e-9)
    assert sum(latency.counts) == len(seconds)
    assert math.isclose(latency.sum_ms, sum(seconds) * 1000, rel_tol=1e-9, abs_tol=1e-9)
    assert (latency.min_ms, latency.max_ms) == (min(seconds) * 1000, max(seconds) * 1000)


@quick
@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0, 100)))
def test_absorbing_is_counting_both(first: list[float], second: list[float]) -> None:
    one, other, both = Latency(), Latency(), Latency()
    for seconds in first:
        one.observe(seconds)
        both.observe(seconds)
    for seconds in second:
        other.observe(seconds)
        both.observe(seconds)

    one.absorb(other)

    assert one.counts == both.counts
    assert (one.min_ms, one.max_ms) == (both.min_ms, both.max_ms)
    assert math.isclose(one.sum_ms, both.sum_ms, rel_tol=1e-9, abs_tol=1e-9)


@quick
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "take", "restart"]), st.sampled_from("abc")),
        max_size=80,
    )
)
def test_changes_of_presence_always_bring_a_listener_up_to_date(
    steps: list[tuple[str, str]],
) -> None:
    presence, model = Presence(), Counter[str]()
    heard: set[str] = set()

    def listen() -> None:
        came, went = presence.take_changes()
        assert came == sorted(came)
        assert not set(came) & heard
        assert set(went) <= heard
        heard.update(came)
        heard.difference_update(went)
        assert heard == set(+model)

    for step, name in steps:
        if step == "add":
            presence.add(name)
            model[name] += 1
        elif step == "remove" and model[name]:
            presence.remove(name)
            model[name] -= 1
        elif step == "take":
            listen()
        elif step == "restart":
            presence.restart_changes()
            heard.clear()
        assert len(presence) == len(+model)
    listen()


# Registry


class _Listed:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.session_id = ""

    def recheck(self) -> None: ...

    def revoke(self) -> None: ...


def test_a_user_has_at_most_so_many_sockets() -> None:
    counters = EdgeCounters()
    registry = Registry(counters, max_per_user=2, max_per_address=0)
    first, second, third = (_Listed("u") for _ in range(3))

    assert [registry.add(one) for one in (first, second, third)] == [True, True, False]
    assert registry.add(_Listed("v"))
    assert registry.remove(third) is False
    assert registry.remove(first) is False
    assert registry.add(third)
    assert registry.remove(second) is False
    assert registry.remove(third) is True
    assert registry.of_user("u") == []
    assert (
        counters.connections_opened,
        counters.connections_closed,
        counters.connections_active,
    ) == (4, 3, 1)


def test_an_address_has_at_most_so_many_sockets() -> None:
    registry = Registry(EdgeCounters(), max_per_user=0, max_per_address=2)

    assert [registry.addresses.take("a") for _ in range(3)] == [True, True, False]
    assert registry.addresses.take("b")
    registry.addresses.leave("a")
    assert registry.addresses.take("a")


def test_sessions_may_leave_while_all_are_told() -> None:
    registry = Registry(EdgeCounters(), max_per_user=0, max_per_address=0)
    sessions = [_Listed(user) for user in "uuvw"]
    for one in sessions:
        registry.add(one)

    seen = []
    for one in registry.sessions():
        seen.append(one)
        registry.remove(one)

    assert seen == sessions
    assert list(registry.sessions()) == []


# Sweep


class _Timed:
    def __init__(self) -> None:
        self.tick = 0
        self.due = 0.0
        self.fired: list[float] = []

    def on_due(self, now: float) -> None:
        self.fired.append(now)


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["schedule", "cancel", "turn"]), st.integers(0, 4), st.floats(0, 3)
        ),
        max_size=60,
    )
)
def test_the_sweep_is_never_early_and_at_most_two_ticks_late(
    steps: list[tuple[str, int, float]],
) -> None:
    clock = FakeClock()
    sweep = Sweep(clock)
    timers = [_Timed() for _ in range(5)]
    wished: dict[int, float] = {}
    for kind, index, amount in [*steps, ("turn", 0, 10.0)]:
        timer = timers[index]
        if kind == "schedule":
            sweep.schedule(timer, clock.now + amount)
            wished[index] = clock.now + amount
        elif kind == "cancel":
            sweep.cancel(timer)
            wished.pop(index, None)
        else:
            clock.advance(amount)
            sweep.turn()
            for which, one in enumerate(timers):
                if one.fired:
                    assert one.fired == [clock.now]
                    assert wished.pop(which) <= clock.now
                    assert one.tick == 0
                    one.fired.clear()
            assert all(due + 2 * TICK_S > clock.now for due in wished.values())
    assert wished == {}


def test_what_another_ones_turn_cancels_or_moves_does_not_fire() -> None:
    clock = FakeClock()
    sweep = Sweep(clock)
    cancelled, moved = _Timed(), _Timed()

    class _Meddler(_Timed):
        def on_due(self, now: float) -> None:
            super().on_due(now)
            sweep.cancel(cancelled)
            sweep.schedule(moved, now + 1)

    meddler = _Meddler()
    for timer in (meddler, cancelled, moved):
        sweep.schedule(timer, clock.now + 0.01)
    clock.advance(0.2)
    sweep.turn()

    assert (len(meddler.fired), cancelled.fired, moved.fired) == (1, [], [])
    clock.advance(1.2)
    sweep.turn()
    assert (cancelled.fired, len(moved.fired)) == ([], 1)


def test_one_that_fails_takes_nobody_elses_turn(caplog: pytest.LogCaptureFixture) -> None:
    class _Faulty(_Timed):
        def on_due(self, now: float) -> None:
            raise ZeroDivisionError

    clock = FakeClock()
    sweep = Sweep(clock)
    faulty, sound = _Faulty(), _Timed()
    sweep.schedule(faulty, clock.now)
    sweep.schedule(sound, clock.now)
    clock.advance(1)
    with caplog.at_level(logging.ERROR):
        sweep.turn()

    assert len(sound.fired) == 1
    assert len(caplog.records) == 1


# Access


def _access() -> tuple[Access, FakeAuth, FakeClock]:
    auth, clock = FakeAuth(), FakeClock()
    return Access(auth, clock), auth, clock


def test_a_decision_is_asked_once_until_it_expires() -> None:
    access, auth, clock = _access()
    heard: list[object] = []
    for _ in range(3):
        access.ask("u", "watch", "ada", heard.append)
    clock.advance(auth.ttl_s + 0.001)
    access.ask("u", "watch", "ada", heard.append)

    assert heard == [True] * 4
    assert len(auth.asked) == 2


def test_a_refusal_is_remembered_too_and_belongs_to_one_question_only() -> None:
    access, auth, _ = _access()
    auth.decisions["u", "watch", "ada"] = False
    heard: list[object] = []
    for user, action, resource in (("u", "watch", "ada"),) * 2 + (
        ("v", "watch", "ada"),
        ("u", "interact", "ada"),
        ("u", "watch", "ben"),
    ):
        access.ask(user, action, resource, heard.append)

    assert heard == [False, False, True, True, True]
    assert len(auth.asked) == 4


def test_an_error_is_told_and_not_remembered() -> None:
    access, auth, _ = _access()
    auth.failure = UpstreamError("unavailable", "x")
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    auth.failure = None
    access.ask("u", "watch", "ada", heard.append)

    assert heard == [heard[0], True]
    assert isinstance(heard[0], UpstreamError)


@pytest.mark.parametrize(
    "forget",
    [
        lambda access: access.forget_user("u"),
        lambda access: access.forget_learner("ada"),
        lambda access: access.forget_all(),
    ],
)
def test_what_was_revoked_while_a_question_was_under_way_is_asked_again(forget: object) -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    auth.decisions["u", "watch", "ada"] = False
    forget(access)  # type: ignore[operator]
    auth.release()  # the old answer: yes

    assert heard == []
    auth.release()
    assert heard == [False]
    assert access.known("u", "watch", "ada") is False


def test_a_user_who_leaves_makes_nobody_ask_again() -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    access.release("v")
    auth.release()

    assert heard == [True]
    assert len(auth.asked) == 1


def test_those_who_ask_the_same_are_answered_in_their_order_by_one_question() -> None:
    access, auth, _ = _access()
    auth.hold = True
    order: list[int] = []
    for number in range(3):
        access.ask("u", "interact", "ada", lambda _, number=number: order.append(number))
    auth.release()

    assert order == [0, 1, 2]
    assert len(auth.asked) == 1


def test_one_who_fails_to_take_an_answer_takes_it_from_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", lambda _: 1 / 0)
    access.ask("u", "watch", "ada", heard.append)
    with caplog.at_level(logging.ERROR):
        auth.release()

    assert heard == [True]
    assert len(caplog.records) == 1


def test_forgetting_a_learner_forgets_rooms_and_nothing_else() -> None:
    access, _, _ = _access()
    for question in (("watch", "ada"), ("watch", "ben"), ("join", "class")):
        access.ask("u", *question, lambda _: None)
    access.forget_learner("ada")

    assert access.known("u", "watch", "ada") is None
    assert access.known("u", "join", "class") is None
    assert access.known("u", "watch", "ben") is True


def test_a_user_who_asks_for_everything_does_not_fill_the_memory() -> None:
    access, _auth, _ = _access()
    for number in range(MAX_PER_USER * 2 + 5):
        access.ask("u", "watch", f"l{number}", lambda _: None)
    remembered = sum(
        access.known("u", "watch", f"l{number}") is True for number in range(MAX_PER_USER * 2 + 5)
    )

    assert 0 < remembered <= MAX_PER_USER


# Rooms


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
