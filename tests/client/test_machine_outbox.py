"""Nothing is lost or counted twice, whatever the connection does, and the server's pace is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivo_client import Waiting, errors
from aivo_client.values import (
    Effect,
    Opened,
    Remove,
    Save,
    Settled,
    Shown,
)
from aivo_client.wishes import LEARNER, ROOM
from harness.root import ROOT
from tests.client.world import WALL, World

GOLDEN = ROOT / "tests/golden/frames"


def test_interactions_are_kept_until_they_are_acknowledged() -> None:
    world = World()
    kept = world.interact("a")
    assert [type(one) for one in kept] == [Save]
    world.connect()
    world.close(1006)
    world.wake("reconnect")
    world.give_token()
    again = world.frames(world.establish())
    settled = world.acknowledge("a", 7)

    assert [frame["id"] for frame in again if "data" in frame] == ["a"]
    assert world.of(Remove, settled) == [Remove("a")]
    assert world.of(Settled, settled)[0].answer["revision"] == 7
    assert world.of(Settled, world.acknowledge("a", 7)) == []


def test_what_is_refused_for_now_is_sent_again_and_for_good_is_told() -> None:
    world = World()
    world.connect()
    world.interact("a")
    world.tell(
        "error", code="overloaded", error="later", retryable=True, id="a", retry_after_ms=700
    )
    assert world.timers["pump"] == pytest.approx(0.7)
    again = world.wake("pump")
    assert [frame["id"] for frame in world.frames(again)] == ["a"]
    (told,) = world.of(
        Settled, world.tell("error", code="forbidden", error="no", retryable=False, id="a")
    )

    assert (told.id, told.answer.code) == ("a", "forbidden")


def test_the_largest_is_given_up_after_a_frame_was_too_big() -> None:
    world = World()
    world.connect()
    world.interact("small")
    item = Waiting(data={"interaction_id": "large", "content": "x" * 999}, queued_at=WALL)
    world.do(world.machine.interact(item, *world.at()))
    (told,) = world.of(Settled, world.close(errors.TOO_BIG))

    assert (told.id, told.answer.code) == ("large", "too_big")
    assert len(world.machine.outbox) == 1


def test_the_queue_is_bounded_in_number_and_age() -> None:
    world = World(queue_items=2, queue_age_s=100.0)
    told = [world.of(Settled, world.interact(id)) for id in "abc"]
    assert [len(one) for one in told] == [0, 0, 1]
    assert told[2][0].answer.code == "queue_full"
    world.now = 101.0
    expired = world.of(Settled, world.connect())

    assert [one.answer.code for one in expired] == ["expired", "expired"]


def test_it_keeps_below_the_servers_pace() -> None:
    world = World(max_in_flight=1_000)
    world.connect(frames_per_second=10, burst=10)
    sent = []
    for number in range(200):
        sent += world.frames(world.interact(f"i{number}"))
    while world.now < 5.0:
        sent += world.frames(world.wake("pump"))

    assert len(sent) <= 0.8 * (10 + 10 * 5.2) + 1
    assert len(sent) >= 0.8 * 10 * 4.0


def test_the_programs_requests_keep_to_the_pace_in_order() -> None:
    world = World()
    world.connect(frames_per_second=10, burst=10)
    sent = []
    for number in range(40):
        frame = {"type": "get_state", "learner_id": "ada", "id": f"r-{number}"}
        sent += world.frames(world.do(world.machine.send(frame, *world.at())))
    while world.now < 2.0:
        sent += world.frames(world.wake("pump"))

    assert 0.8 * 10 * 1.0 <= len(sent) <= 0.8 * (10 + 10 * 2.2) + 1
    assert [frame["id"] for frame in sent] == [f"r-{number}" for number in range(len(sent))]

    told = world.close(1006)
    lost = [one.id for one in world.of(Settled, told)]
    assert sorted(lost) == sorted(f"r-{number}" for number in range(40))
    world.wake("reconnect")
    world.give_token()
    assert all(frame["type"] != "get_state" for frame in world.frames(world.establish()))


@pytest.mark.parametrize(("told", "most"), [({}, 32), ({"in_flight": 4}, 3), ({"in_flight": 1}, 1)])
def test_fewer_are_under_way_than_the_server_allows(told: dict[str, float], most: int) -> None:
    world = World()
    world.connect(frames_per_second=0, **told)
    sent = []
    for number in range(50):
        sent += world.frames(world.interact(f"i{number}"))

    assert len(sent) == most
    assert len(world.frames(world.acknowledge("i0"))) == 1


def test_a_subscription_resumes_where_the_last_update_left_off() -> None:
    world = World()
    world.connect()
    (asked,) = world.frames(world.do(world.machine.want(LEARNER, "ada", *world.at(), mode="every")))
    assert "resume" not in asked
    state = {"cognitive_load": 0.5}
    world.tell("subscribed", learner_id="ada", id=asked["id"], epoch="e", revision=3, state=state)
    world.tell("state_update", learner_id="ada", epoch="e", revision=4, state=state)
    world.close(1006)
    world.wake("reconnect")
    world.give_token()
    again = [one for one in world.frames(world.establish()) if one["type"] == "subscribe_learner"]

    assert again[0]["resume"] == {"epoch": "e", "revision": 4}
    assert [one.frame["revision"] for one in world.of(Shown)] == [3, 4]


def test_a_hole_in_every_revision_is_asked_for_again() -> None:
    world = World()
    world.connect()
    (asked,) = world.frames(world.do(world.machine.want(LEARNER, "ada", *world.at(), mode="every")))
    state = {"cognitive_load": 0.5}
    world.tell("subscribed", learner_id="ada", id=asked["id"], epoch="e", revision=3, state=state)
    again = world.tell("state_update", learner_id="ada", epoch="e", revision=5, state=state)
    for revision in (4, 5):
        world.tell("state_update", learner_id="ada", epoch="e", revision=revision, state=state)

    assert world.frames(again)[0]["resume"] == {"epoch": "e", "revision": 3}
    assert [one.frame["revision"] for one in world.of(Shown)] == [3, 4, 5]


def test_rooms_are_joined_again_and_left_for_good() -> None:
    world = World()
    world.do(world.machine.want(ROOM, "class:5a", *world.at()))
    world.connect()
    world.tell("room_joined", room_id="class:5a", members=[])
    world.close(1012)
    world.wake("reconnect")
    world.give_token()
    joined = [one["type"] for one in world.frames(world.establish())]
    left = world.frames(world.do(world.machine.unwant(ROOM, "class:5a", *world.at())))
    world.close(1012)
    world.wake("reconnect")
    world.give_token()

    assert "join_room" in joined
    assert [one["type"] for one in left] == ["leave_room"]
    assert "join_room" not in [one["type"] for one in world.frames(world.establish())]


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("server.*.json")), ids=lambda file: file.stem)
def test_every_golden_frame_is_taken(file: Path) -> None:
    frame = json.loads(file.read_text(encoding="utf-8"))
    world = World()
    world.connect()
    learner = frame.get("learner_id", "ada")
    world.do(world.machine.want(LEARNER, learner, *world.at()))
    (asked,) = [one for one in world.frames(world.effects) if one["type"] == "subscribe_learner"]
    if frame["type"] == "subscribed":
        frame["id"] = asked["id"]
    told = world.do(world.machine.received(world.socket, frame, *world.at()))

    shows = frame["type"] in ("subscribed", "state_update") and frame.get("state") is not None
    assert bool(world.of(Shown, told)) is shows
    assert world.of(Opened, told) == []


def fields(file: Path) -> set[str]:
    return set(json.loads(file.read_text(encoding="utf-8")))


def test_what_is_sent_has_the_fields_of_golden_frames() -> None:
    known: dict[str, set[str]] = {}
    for file in GOLDEN.glob("client.*.json"):
        type = json.loads(file.read_text(encoding="utf-8"))["type"]
        known.setdefault(type, {"id", "resume"}).update(fields(file))
    world = World()
    world.connect()
    world.interact("a")
    for kind, key in ((LEARNER, "ada"), (ROOM, "r")):
        want = world.machine.want(kind, key, *world.at(), min_interval_s=1.0)
        world.do(want)
        world.tell("room_joined", room_id="r", members=[])
        world.do(world.machine.unwant(kind, key, *world.at()))

    for frame in world.frames(world.effects):
        assert frame.keys() <= known[frame["type"]], frame


class Server:
    """A server that keeps the protocol's promises over a connection that may break anywhere."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def answer(self, world: World, frame: dict[str, Any], lose: bool) -> None:
        if frame["type"] == "virtual_brain_interact":
            id = frame["id"]
            if id not in self.log:
                self.log.append(id)
            if not lose:
                world.acknowledge(id, self.log.index(id) + 1)


actions = st.lists(
    st.sampled_from(["interact", "interact", "answer", "lose", "break", "refuse", "time"]),
    max_size=60,
)


@settings(max_examples=200)
@given(actions)
def test_everything_is_counted_once_and_told_once(done: list[str]) -> None:
    world, server = World(), Server()
    world.connect()
    given: list[str] = []
    pending: list[dict[str, Any]] = []

    def note(effects: list[Effect]) -> None:
        pending.extend(one for one in world.frames(effects) if "data" in one)

    def come_back() -> None:
        world.wake("reconnect")
        world.give_token()
        note(world.establish())

    for action in done:
        if action == "interact":
            given.append(f"i{len(given)}")
            note(world.interact(given[-1]))
        elif action in ("answer", "lose") and pending:
            server.answer(world, pending.pop(0), lose=action == "lose")
        elif action == "refuse" and pending:
            id = pending.pop(0)["id"]
            world.tell("error", code="unavailable", error="later", retryable=True, id=id)
        elif action == "break":
            pending.clear()
            world.close(1006)
            come_back()
        elif action == "time":
            world.now += 20.0
            note(world.do(world.machine.woken("pump", *world.at())))
    world.close(1006)
    pending.clear()
    come_back()
    for _ in range(100):
        while pending:
            server.answer(world, pending.pop(0), lose=False)
        if len(world.machine.outbox):
            world.now += 20.0
            note(world.do(world.machine.woken("pump", *world.at())))

    settled = [one.id for one in world.of(Settled)]
    assert sorted(server.log) == sorted(given)
    assert sorted(settled) == sorted(given)
    assert len(world.machine.outbox) == 0
