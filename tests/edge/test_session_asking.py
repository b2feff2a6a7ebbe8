"""What a session asks of others: states, content that fits, and rooms to talk in."""

from __future__ import annotations

import pytest

from edge.ports import Member, UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_values import message
from tests.support.fakes import FakeEdge, say

UNAVAILABLE = UpstreamError("unavailable", "The brain cannot be reached.", retry_after_ms=1000)


# Asking


def test_a_state_is_answered_or_refused(edge: FakeEdge) -> None:
    edge.brain.revisions["ada"] = 2
    edge.auth.decisions["u-ada", "watch", "ben"] = False
    session, sink = edge.session("ada")
    say(session, "get_state", learner_id="ada", id=1)
    say(session, "get_state", learner_id="ben", id=2)
    edge.brain.failure = UNAVAILABLE
    say(session, "get_state", learner_id="ada", id=3)
    found, refused, failed = sink.take()

    assert (found["type"], found["revision"], found["id"], len(found["timestamp"])) == (
        "state_response",
        2,
        1,
        24,
    )
    assert (refused["code"], refused["id"], refused["message_type"]) == (
        "forbidden",
        2,
        "get_state",
    )
    assert (failed["code"], failed["id"]) == ("unavailable", 3)


def test_a_long_state_costs_more_than_a_short_one() -> None:
    edge = FakeEdge(settings=EdgeSettings(user_units_per_s=1.0, user_units_burst=60))
    session, sink = edge.session("ada")
    waits = []
    for epoch in ("short", "long" * 50_000):
        edge.brain.epoch = epoch
        say(session, "get_state", learner_id="ada")
        assert sink.one()["type"] == "state_response"
        waits.append(edge.dependencies.budgets.of("u-ada", edge.clock()).take(0.0, edge.clock()))

    assert waits[0] == 0.0
    assert waits[1] > 60.0, "it is in debt for as long as that is worth"


def test_content_is_adapted_or_refused(edge: FakeEdge) -> None:
    edge.auth.decisions["u-ada", "watch", "ben"] = False
    session, sink = edge.session("ada")

    def ask(learner_id: str, id: int) -> None:
        data = {"learner_id": learner_id, "content": "read", "content_type": "text"}
        say(session, "adapt_content", data=data, id=id)

    ask("ada", 1)
    ask("ben", 2)
    edge.brain.failure = UNAVAILABLE
    ask("ada", 3)
    adapted, refused, failed = sink.take()

    assert (adapted["original_content"], adapted["adapted_content"], adapted["id"]) == (
        "read",
        "READ",
        1,
    )
    assert adapted["changes"] == [{"code": "capitals"}]
    assert (refused["code"], refused["message_type"]) == ("forbidden", "adapt_content")
    assert failed["code"] == "unavailable"


# Talking


def test_rooms_are_joined_talked_in_and_left(edge: FakeEdge) -> None:
    ada, ada_sink = edge.session("ada")
    ben, ben_sink = edge.session("ben")
    say(ada, "join_room", room_id="r", id=1)
    say(ben, "join_room", room_id="r", id=2)
    joined = ben_sink.one()
    assert (joined["type"], joined["id"], len(joined["members"])) == ("room_joined", 2, 2)
    assert {member["user"]["id"] for member in joined["members"]} == {"u-ada", "u-ben"}
    say(ada, "room_message", room_id="r", data={"text": "hi"})
    assert edge.room_link.said == [("r", ada.connection_id, b'{"text": "hi"}')]
    edge.rooms.deliver(
        message("r", Member(ada.connection_id, "u-ada", "learner"), b'{"text":"hi"}')
    )
    assert ben_sink.one()["data"] == {"text": "hi"}
    say(ben, "leave_room", room_id="r", id=3)

    assert ben_sink.one()["type"] == "room_left"
    assert [frame["type"] for frame in ada_sink.take()] == ["room_joined"]
    say(ben, "room_message", room_id="r", data={}, id=4)
    assert (ben_sink.frames[0]["code"], ben_sink.frames[0]["id"]) == ("forbidden", 4)


def test_one_room_too_many_is_refused_and_joining_again_is_not() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_rooms=1))
    session, sink = edge.session("ada")
    for room in ("a", "b", "a"):
        say(session, "join_room", room_id=room, id=room)
    joined, refused, again = sink.take()

    assert (joined["type"], again["type"]) == ("room_joined", "room_joined")
    assert (refused["code"], refused["message_type"]) == ("too_many_subscriptions", "join_room")


@pytest.mark.parametrize("already_in", [False, True])
@pytest.mark.parametrize("why", ["forbidden", "unavailable"])
def test_a_room_that_cannot_be_joined_is_not_heard(
    edge: FakeEdge, already_in: bool, why: str
) -> None:
    session, sink = edge.session("ada")
    if already_in:
        say(session, "join_room", room_id="r")
        edge.access.forget_all()
    sink.take()
    if why == "forbidden":
        edge.auth.decisions["u-ada", "join", "r"] = False
    else:
        edge.room_link.failure = UNAVAILABLE
    say(session, "join_room", room_id="r", id=1)
    edge.rooms.deliver(message("r", Member("c", "u", "learner")))
    error = sink.one()

    assert (error["code"], error["message_type"], error["id"]) == (why, "join_room", 1)
    assert edge.rooms.memberships() == []
    assert edge.room_link.members.get("r", []) == []


def test_leaving_before_the_answer_means_not_being_in(edge: FakeEdge) -> None:
    edge.room_link.hold = True
    session, sink = edge.session("ada")
    say(session, "join_room", room_id="r")
    say(session, "leave_room", room_id="r")
    edge.room_link.release()

    assert [frame["type"] for frame in sink.take()] == ["room_left"]
    assert edge.rooms.memberships() == []


def test_a_message_that_cannot_be_sent_is_told(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "join_room", room_id="r")
    edge.room_link.failure = UNAVAILABLE
    say(session, "room_message", room_id="r", data={}, id=1)
    say(session, "room_message", room_id="r", data=[], id=2)
    _, failed, bad = sink.take()

    assert (failed["code"], failed["id"]) == ("unavailable", 1)
    assert (bad["code"], bad["id"], bad["message_type"]) == ("bad_request", 2, "room_message")
