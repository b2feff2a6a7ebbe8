"""What a session sees of learners, and that it never sees less than it wrote."""

from __future__ import annotations

import pytest

from edge.frames.codes import CloseCode
from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_values import gone, interaction, update
from tests.support.fakes import FakeEdge, say

UNAVAILABLE = UpstreamError("unavailable", "The brain cannot be reached.", retry_after_ms=1000)


def test_a_subscription_is_answered_with_the_state_and_then_lives(edge: FakeEdge) -> None:
    edge.feed.revisions["ada"] = 4
    session, sink = edge.session("teacher")
    say(session, "subscribe_learner", learner_id="ada", id="s")
    edge.move("ada")
    subscribed, moved = sink.take()

    assert (subscribed["type"], subscribed["id"], subscribed["success"]) == (
        "subscribed",
        "s",
        True,
    )
    assert (subscribed["epoch"], subscribed["revision"], subscribed["recovered"]) == (
        "e1",
        4,
        False,
    )
    assert subscribed["state"]["fatigue_level"] == 0.4
    assert (moved["type"], moved["revision"], "id" in moved) == ("state_update", 5, False)


@pytest.mark.parametrize(
    ("resume", "recovered"),
    [(("e1", 3), True), (("e1", 4), True), (("e1", 5), False), (("e0", 4), False)],
)
def test_a_resumed_subscription_says_whether_nothing_was_lost(
    edge: FakeEdge, resume: tuple[str, int], recovered: bool
) -> None:
    edge.feed.revisions["ada"] = 4
    session, sink = edge.session("teacher")
    say(
        session,
        "subscribe_learner",
        learner_id="ada",
        resume={"epoch": resume[0], "revision": resume[1]},
    )

    assert sink.one()["recovered"] is recovered


def test_an_every_resume_says_what_of_the_log_is_not_kept_any_more(edge: FakeEdge) -> None:
    for _ in range(6):
        edge.move("ada")
    del edge.brain.log["ada"][:3]
    session, sink = edge.session("teacher")
    for revision, recovered in ((1, False), (3, True)):
        resume = {"epoch": "e1", "revision": revision}
        say(session, "subscribe_learner", learner_id="ada", mode="every", resume=resume)
        *updates, subscribed = sink.take()

        assert [each["revision"] for each in updates] == [4, 5, 6]
        assert [each["coalesced"] for each in updates] == [3 - revision, 0, 0]
        assert (subscribed["missed"], subscribed["recovered"]) == (3, recovered)


def test_a_learner_without_a_state_is_null(edge: FakeEdge) -> None:
    session, sink = edge.session("teacher")
    say(session, "subscribe_learner", learner_id="ada")
    subscribed = sink.one()

    assert (subscribed["state"], subscribed["revision"], subscribed["missed"]) == (None, 0, 0)
    assert "performance" not in subscribed


def test_one_subscription_too_many_is_refused_and_renewing_one_is_not() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_subscriptions=2))
    session, sink = edge.session("teacher")
    for learner in ("a", "b", "c", "a"):
        say(session, "subscribe_learner", learner_id=learner, id=learner)
    first, second, refused, renewed = sink.take()

    assert [one["type"] for one in (first, second, renewed)] == ["subscribed"] * 3
    assert (refused["code"], refused["id"], refused["retryable"]) == (
        "too_many_subscriptions",
        "c",
        False,
    )
    say(session, "unsubscribe_learner", learner_id="a")
    say(session, "subscribe_learner", learner_id="c")
    assert [one["type"] for one in sink.take()] == ["unsubscribed", "subscribed"]
    assert sorted(edge.hub.learners()) == ["b", "c"]


def test_a_subscription_that_is_not_allowed_reaches_nobody_and_frees_its_place() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_subscriptions=1))
    edge.auth.decisions["u-ada", "watch", "ben"] = False
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ben", id=1)
    say(session, "subscribe_learner", learner_id="ada", id=2)
    refused, subscribed = sink.take()

    assert (refused["code"], refused["id"], refused["message_type"]) == (
        "forbidden",
        1,
        "subscribe_learner",
    )
    assert subscribed["type"] == "subscribed"
    assert edge.feed.watched == ["ada"]


def test_a_subscription_that_cannot_be_made_now_says_so_and_frees_its_place() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_subscriptions=1))
    edge.feed.failure = UNAVAILABLE
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada", id=1)
    error = sink.one()
    assert (error["code"], error["retry_after_ms"], error["id"]) == ("unavailable", 1000, 1)
    edge.feed.failure = None
    say(session, "subscribe_learner", learner_id="ben")

    assert sink.one()["type"] == "subscribed"


def test_leaving_before_the_answer_means_no_subscription(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "authenticate", token="ada")
    edge.auth.release()
    sink.take()
    say(session, "subscribe_learner", learner_id="ada")
    say(session, "unsubscribe_learner", learner_id="ada", id=2)
    edge.auth.release()

    assert [frame["type"] for frame in sink.take()] == ["unsubscribed"]
    assert edge.hub.learners() == []


def test_a_learner_that_is_erased_ends_its_subscriptions(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")
    edge.hub.deliver(gone("ada"))
    ended = sink.take()[-1]

    assert (ended["type"], ended["code"], ended["retryable"]) == ("unsubscribed", "gone", False)
    say(session, "subscribe_learner", learner_id="ada")
    assert sink.one()["type"] == "subscribed"


def test_what_was_revoked_ends_and_what_cannot_be_asked_goes_on(edge: FakeEdge) -> None:
    session, sink = edge.session("teacher")
    for learner in ("ada", "ben"):
        say(session, "subscribe_learner", learner_id=learner)
        say(session, "join_room", room_id=learner)
    sink.take()
    edge.access.forget_all()
    edge.auth.failure = UNAVAILABLE
    session.recheck()
    assert sink.take() == []
    edge.auth.failure = None
    edge.auth.decisions["u-teacher", "watch", "ada"] = False
    edge.auth.decisions["u-teacher", "join", "ben"] = False
    session.recheck()
    ended, left = sink.take()

    assert (ended["type"], ended["learner_id"], ended["code"]) == ("unsubscribed", "ada", "revoked")
    assert (left["type"], left["room_id"]) == ("room_left", "ben")
    assert edge.hub.learners() == ["ben"]
    assert [room for room, _ in edge.rooms.memberships()] == ["ada"]


def test_a_revoked_login_closes_with_4403(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    session.revoke()

    assert sink.one()["code"] == "forbidden"
    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.FORBIDDEN


def test_a_slow_reader_gets_the_newest_when_it_can(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    session.on_writable()
    say(session, "subscribe_learner", learner_id="ada")
    sink.take()
    sink.paused = True
    edge.move("ada")
    edge.move("ada")
    sink.paused = False
    session.on_writable()

    assert [frame["revision"] for frame in sink.take()] == [2]


def test_the_clients_interval_is_kept(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada", min_interval_ms=500)
    for _ in range(3):
        edge.move("ada")
    edge.clock.advance(0.6)
    edge.timers.turn()

    assert [frame["revision"] for frame in sink.of("state_update")] == [1, 3]


# Own writes


def test_a_socket_sees_no_state_older_than_its_own_write(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")
    edge.brain.revisions["ada"] = 2
    say(session, "virtual_brain_interact", data=interaction())  # acknowledged with revision 3
    for revision in (1, 2, 3):
        edge.hub.deliver(update("ada", revision, *(["load"] if revision == 1 else [])))
    say(session, "get_state", learner_id="ada")
    subscribed, response, moved, state = sink.take()

    assert (subscribed["type"], response["revision"]) == ("subscribed", 3)
    assert (moved["revision"], moved["crossings"][0]["revision"]) == (3, 1)
    assert state["type"] == "state_response"
    assert edge.brain.asked == [("ada", 3)]


def test_a_state_read_while_a_write_was_acknowledged_is_read_again(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    edge.brain.revisions["ada"] = 2
    edge.brain.hold = True
    say(session, "get_state", learner_id="ada")
    edge.brain.hold = False
    say(session, "virtual_brain_interact", data=interaction())  # acknowledged with revision 3
    edge.brain.release()

    assert [frame["revision"] for frame in sink.take()] == [3, 3]
    assert edge.brain.asked == [("ada", 0), ("ada", 3)]


def test_what_waits_for_a_slow_reader_is_not_older_than_its_own_write(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada", min_interval_ms=1000)
    edge.move("ada")
    edge.move("ada")  # waits for the interval
    edge.brain.revisions["ada"] = 2
    say(session, "virtual_brain_interact", data=interaction())
    edge.clock.advance(2)
    edge.timers.turn()
    assert [frame["revision"] for frame in sink.of("state_update", "virtual_brain_response")] == [
        1,
        3,
    ]
    edge.move("ada")
    assert sink.of("state_update")[-1]["revision"] == 3


def test_an_every_reader_hears_of_its_write_after_what_came_before_it(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada", mode="every")
    edge.brain.revisions["ada"] = 2
    say(session, "virtual_brain_interact", data=interaction())
    for _ in range(3):
        edge.move("ada")

    order = [(frame["type"], frame["revision"]) for frame in sink.take()[1:]]
    assert order == [
        ("state_update", 1),
        ("state_update", 2),
        ("virtual_brain_response", 3),
        ("state_update", 3),
    ]


def test_no_answer_is_lost_with_an_every_subscription(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada", mode="every")
    edge.brain.revisions["ada"] = 5
    say(session, "virtual_brain_interact", data=interaction(), id="q")
    assert sink.of("virtual_brain_response") == []
    say(session, "unsubscribe_learner", learner_id="ada")

    assert [frame["type"] for frame in sink.take()][1:] == [
        "virtual_brain_response",
        "unsubscribed",
    ]


def test_writes_of_a_lost_history_hide_nothing_of_the_new_one(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")
    edge.brain.revisions["ada"] = 40
    say(session, "virtual_brain_interact", data=interaction())
    edge.feed.epoch = "e2"
    edge.hub.begin_epoch("e2")
    say(session, "subscribe_learner", learner_id="ada")
    sink.take()
    edge.move("ada")
    say(session, "get_state", learner_id="ada")

    assert [frame["type"] for frame in sink.take()] == ["state_update", "state_response"]
    assert edge.brain.asked == [("ada", 0)]
