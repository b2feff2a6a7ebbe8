"""A session, given frames, answers as the protocol says; its neighbours are fakes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge.frames.codes import CloseCode
from edge.ports import Identity, Member, UpstreamError
from edge.session import session as session_room
from edge.settings import EdgeSettings
from tests.support.fakes import FAR_AHEAD_MS, FakeEdge, gone, interaction, message, say, update

UNAVAILABLE = UpstreamError("unavailable", "The brain cannot be reached.", retry_after_ms=1000)


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge()


# Who is connected


def test_the_first_frame_opens_the_session(edge: FakeEdge) -> None:
    session, sink = edge.session()
    say(session, "authenticate", token="ada", id="q1")
    hello = sink.one()

    assert hello["type"] == "connection_established"
    assert hello["user"] == {"id": "u-ada", "role": "learner"}
    assert (hello["id"], hello["expires_at"], hello["heartbeat_ms"]) == (
        "q1",
        "2100-01-01T00:00:00.000Z",
        25_000,
    )
    assert hello["limits"] == {
        "frame_bytes": 65_536,
        "subscriptions": 256,
        "rooms": 32,
        "frames_per_second": 50,
        "burst": 100,
        "in_flight": 64,
    }
    assert sink.deadline_changes == 1
    assert (edge.counters.connections_active, len(edge.counters.users)) == (1, 1)


def test_nothing_else_is_answered_before(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "ping", id=1)
    assert (sink.frames[-1]["code"], sink.frames[-1]["id"]) == ("unauthenticated", 1)
    say(session, "authenticate", token="ada")
    say(session, "get_state", learner_id="ada", id=2)
    say(session, "authenticate", token="ada", id=3)
    assert [frame["code"] for frame in sink.take()[1:]] == ["unauthenticated", "conflict"]
    edge.auth.release()

    assert sink.one()["type"] == "connection_established"
    assert edge.brain.asked == []


@pytest.mark.parametrize(
    ("failure", "code", "close_code"),
    [
        (None, "unauthenticated", CloseCode.UNAUTHENTICATED),
        (UpstreamError("unavailable", "x"), "unavailable", CloseCode.TRY_LATER),
        (UpstreamError("internal", "x"), "internal", CloseCode.TRY_LATER),
    ],
)
def test_a_token_that_opens_nothing_is_explained_before_the_close(
    edge: FakeEdge, failure: UpstreamError | None, code: str, close_code: int
) -> None:
    edge.auth.failure = failure
    session, sink = edge.session()
    say(session, "authenticate", token="nobody", id="q")
    error = sink.one()

    assert (error["code"], error["id"], error["message_type"]) == (code, "q", "authenticate")
    assert "nobody" not in str(error)
    assert sink.closed is not None
    assert sink.closed[0] == close_code
    assert edge.counters.connections_opened == 0


def test_a_login_that_ends_while_its_token_is_checked_opens_nothing(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "authenticate", token="ada")
    del edge.auth.tokens["ada"]
    edge.access.forget_user(
        "u-ada"
    )  # as a revocation does, which found no session of this login to end
    edge.auth.release()
    assert sink.frames == []
    edge.auth.release()

    assert sink.one()["code"] == "unauthenticated"
    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.UNAUTHENTICATED
    assert edge.counters.connections_opened == 0


def test_a_socket_that_closes_while_its_token_is_checked_leaves_nothing(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "authenticate", token="ada")
    session.end()
    edge.auth.release()

    assert list(edge.registry.sessions()) == []
    assert (edge.counters.connections_active, len(edge.counters.users), sink.frames) == (0, 0, [])


def test_a_token_is_replaced_in_place_for_the_same_user_only(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    edge.auth.tokens["ada2"] = Identity("u-ada", "learner", "s2", FAR_AHEAD_MS + 1000)
    say(session, "authenticate", token="ada2", id=1)
    say(session, "authenticate", token="ben", id=2)
    say(session, "authenticate", token="nobody", id=3)
    replaced, other, bad = sink.take()

    assert (replaced["type"], replaced["expires_at"]) == (
        "authenticated",
        "2100-01-01T00:00:01.000Z",
    )
    assert (other["code"], bad["code"]) == ("forbidden", "unauthenticated")
    assert sink.closed is None
    assert (session.session_id, session.expires_at_ms, session.user_id) == (
        "s2",
        FAR_AHEAD_MS + 1000,
        "u-ada",
    )


def test_what_the_token_tells_of_own_learners_is_not_asked_until_something_is_revoked(
    edge: FakeEdge,
) -> None:
    edge.auth.tokens["ada"] = Identity(
        "u-ada", "learner", "s-ada", FAR_AHEAD_MS, ("ada",), edge.auth.ttl_s
    )
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction())
    say(session, "subscribe_learner", learner_id="ada")
    told = edge.auth.asked.copy()

    edge.access.forget_learner("ada")
    edge.auth.decisions["u-ada", "interact", "ada"] = False
    say(session, "virtual_brain_interact", data=interaction())

    assert told == []
    assert edge.auth.asked == [("u-ada", "interact", "ada")]
    assert [frame["type"] for frame in sink.take()] == [
        "virtual_brain_response",
        "subscribed",
        "error",
    ]


def test_one_socket_too_many_of_a_user_is_refused_with_4429() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_sockets_per_user=1))
    first, _ = edge.session("ada")
    second, sink = edge.session()
    say(second, "authenticate", token="ada")
    error = sink.one()

    assert (error["code"], error["retry_after_ms"]) == ("rate_limited", 30_000)
    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.RATE_LIMITED
    second.end()
    assert edge.counters.connections_active == 1
    first.end()
    assert edge.session("ada")


def test_the_end_takes_everything_of_a_socket_out_of_the_edge(edge: FakeEdge) -> None:
    session, _ = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")
    say(session, "join_room", room_id="r")
    edge.brain.hold = True
    say(session, "virtual_brain_interact", data=interaction())
    session.end()
    session.end()
    edge.brain.release()

    assert edge.hub.learners() == []
    assert edge.rooms.memberships() == []
    assert edge.room_link.members == {"r": []}
    assert edge.access.known("u-ada", "watch", "ada") is None
    counters = edge.counters
    assert (
        counters.connections_active,
        len(counters.users),
        len(counters.learners),
        len(counters.rooms),
    ) == (0,) * 4


# Frames


def test_a_bad_frame_is_told_and_the_socket_lives(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    session.on_text(b"{")
    say(session, "teleport", id=1)
    say(session, "get_state", id=2)
    say(session, "ping", id=3, sent_at=1.5)
    bad, unknown, missing, pong = sink.take()

    assert [one["code"] for one in (bad, unknown, missing)] == [
        "bad_request",
        "unknown_type",
        "bad_request",
    ]
    assert missing["message_type"] == "get_state"
    assert (pong["type"], pong["id"], pong["sent_at"]) == ("pong", 3, 1.5)
    assert edge.counters.errors == 3
    assert edge.counters.messages_received == 4


def test_a_fault_of_ours_is_told_without_details(
    edge: FakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session, sink = edge.session("ada")
    monkeypatch.setattr(edge.access, "ask", lambda *_, **__: 1 / 0)
    say(session, "get_state", learner_id="ada", id="q1")
    error = sink.one()

    assert (error["code"], error["id"], error["message_type"]) == ("internal", "q1", "get_state")
    assert "ZeroDivision" not in str(error)
    assert len(caplog.records) == 1


def test_too_many_frames_are_told_when_to_come_back_and_then_closed_with_4429(
    edge: FakeEdge,
) -> None:
    session, sink = edge.session("ada")
    for _ in range(edge.settings.frames_burst):
        say(session, "ping")
    assert {frame["type"] for frame in sink.take()} == {"pong"}
    for _ in range(session_room.MAX_REFUSALS):
        say(session, "ping")
    errors = sink.take()
    assert {error["code"] for error in errors} == {"rate_limited"}
    assert all(0 < error["retry_after_ms"] <= 21 for error in errors)
    assert sink.closed is None
    say(session, "ping")

    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.RATE_LIMITED
    assert sink.one()["retry_after_ms"] == 10_000


@pytest.mark.parametrize(
    ("frame", "id", "type"),
    [
        (b'{"type":"virtual_brain_interact","id":"q1","data":{}}', "q1", "virtual_brain_interact"),
        (b'{"id":7,"type":"ping"}', 7, "ping"),
        (b'{"type":"nobody knows this","id":"q2"}', "q2", None),
        (b'{"type":"ping","id":[1]}', None, "ping"),
        (b'{"type":"ping","id":"' + b"x" * 129 + b'"}', None, "ping"),
        (b'{"type":"ping","id":"q3"', None, None),
        (b"[]", None, None),
        (b"\xff", None, None),
    ],
)
def test_a_frame_too_many_is_refused_under_its_id(
    edge: FakeEdge, frame: bytes, id: str | int | None, type: str | None
) -> None:
    session, sink = edge.session("ada")
    for _ in range(edge.settings.frames_burst):
        say(session, "ping")
    sink.take()
    session.on_text(frame)
    error = sink.one()

    assert error["code"] == "rate_limited"
    assert (error.get("id"), error.get("message_type")) == (id, type)


def test_patience_after_a_refusal_is_rewarded(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    for _ in range(edge.settings.frames_burst + 1):
        say(session, "ping")
    wait = sink.take()[-1]["retry_after_ms"]
    edge.clock.advance(wait / 1000)
    say(session, "ping")

    assert sink.one()["type"] == "pong"


def test_garbage_without_end_is_closed_with_4400() -> None:
    edge = FakeEdge(settings=EdgeSettings(frames_per_s=0))
    session, sink = edge.session("ada")
    for _ in range(session_room.MAX_REFUSALS):
        session.on_text(b"garbage")
    assert sink.closed is None
    say(session, "ping")  # one good frame makes up for one refused, not for all of them
    session.on_text(b"garbage")
    assert sink.closed is None
    session.on_text(b"garbage")

    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.NOT_JSON


def test_a_stranger_is_heard_out_for_less_long() -> None:
    edge = FakeEdge(settings=EdgeSettings(frames_per_s=0))
    session, sink = edge.session()
    for _ in range(session_room.MAX_REFUSALS_OF_STRANGERS):
        session.on_text(b"garbage")
    assert sink.closed is None
    session.on_text(b"garbage")

    assert sink.closed is not None
    assert sink.closed[0] == CloseCode.NOT_JSON


# Watching


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
    edge.sweep.turn()

    assert [frame["revision"] for frame in sink.of("state_update")] == [1, 3]


# Interacting


def test_an_interaction_reaches_the_brain_and_its_answer_the_client(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    context = {"correct": True, "skill": ["a", "b"], "note": "kept"}
    data = interaction(
        context=context, interaction_id="i1", response="4", occurred_at="2026-01-01T00:00:00Z"
    )
    say(session, "virtual_brain_interact", data=data, id="q")
    (sent,) = edge.brain.sent
    response = sink.one()

    assert (sent.data.learner_id, sent.interaction_id, sent.context.correct) == ("ada", "i1", True)
    assert b"kept" in bytes(sent.data.context)
    assert (response["type"], response["id"], response["interaction_id"]) == (
        "virtual_brain_response",
        "q",
        "i1",
    )
    assert (response["revision"], response["duplicate"]) == (1, False)
    assert response["trace_id"] == sent.traceparent[3:35]
    assert response["result"]["processing_time"] >= 0


def test_without_an_id_the_edge_makes_one_that_is_ordered_in_time(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    for _ in range(20):
        say(session, "virtual_brain_interact", data=interaction())
    ids = [sent.interaction_id for sent in edge.brain.sent]

    assert len(set(ids)) == 20
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id)
        for id in ids
    )
    assert [id[:13] for id in ids] == sorted(id[:13] for id in ids)
    assert [frame["interaction_id"] for frame in sink.take()] == ids


@pytest.mark.parametrize(
    ("traceparent", "continued"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("nonsense", False),
        ("", False),
    ],
)
def test_a_clients_trace_is_continued(edge: FakeEdge, traceparent: str, continued: bool) -> None:
    session, _ = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(traceparent=traceparent))
    trace_id, span_id = edge.brain.sent[0].traceparent.split("-")[1:3]

    assert (trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") is continued
    assert span_id != "00f067aa0ba902b7"
    assert int(trace_id, 16) > 0


def test_an_interaction_that_is_not_allowed_reaches_nobody(edge: FakeEdge) -> None:
    edge.auth.decisions["u-ben", "interact", "ada"] = False
    session, sink = edge.session("ben")
    for number in range(2):
        say(session, "virtual_brain_interact", data=interaction(), id=number)
    errors = sink.take()

    assert [(one["code"], one["id"]) for one in errors] == [("forbidden", 0), ("forbidden", 1)]
    assert edge.brain.sent == []
    assert session.busy is False


def test_a_failed_interaction_says_when_to_try_again_and_under_which_trace(edge: FakeEdge) -> None:
    edge.brain.failure = UNAVAILABLE
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(), id="q")
    error = sink.one()

    assert (error["code"], error["retryable"], error["retry_after_ms"]) == (
        "unavailable",
        True,
        1000,
    )
    assert (error["message_type"], error["id"], len(error["trace_id"])) == (
        "virtual_brain_interact",
        "q",
        32,
    )


@pytest.mark.parametrize(("code", "lines"), [("internal", 1), ("unavailable", 0)])
def test_a_fault_is_found_in_the_log_under_the_trace_that_the_client_was_told(
    edge: FakeEdge, caplog: pytest.LogCaptureFixture, code: str, lines: int
) -> None:
    session, sink = edge.session("ada")
    edge.brain.failure = UpstreamError(code, "One sentence.")
    say(session, "virtual_brain_interact", data=interaction())
    error = sink.one()

    assert error["code"] == code
    assert [getattr(line, "trace_id", "") for line in caplog.records] == [error["trace_id"]] * lines


@pytest.mark.parametrize("context", [{"correct": "yes"}, [], None, {"skill": ["s"] * 9}])
def test_a_bad_context_is_refused_before_anything_happens(edge: FakeEdge, context: Any) -> None:
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(context=context), id="q")
    error = sink.one()

    assert (error["code"], error["id"], error["message_type"]) == (
        "bad_request",
        "q",
        "virtual_brain_interact",
    )
    assert error["error"].startswith("data.context")
    assert edge.brain.sent == []
    assert session.busy is False


def test_too_many_interactions_under_way_stop_the_reading_until_one_is_answered() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_in_flight=3))
    edge.brain.hold = True
    session, sink = edge.session("ada")
    for _ in range(2):
        say(session, "virtual_brain_interact", data=interaction())
    assert (sink.holding, session.busy) == (False, True)
    say(session, "virtual_brain_interact", data=interaction())
    assert sink.holding is True
    edge.brain.release(1)
    assert sink.holding is False
    say(session, "virtual_brain_interact", data=interaction())
    assert sink.holding is True
    edge.brain.release()

    assert (sink.holding, session.busy) == (False, False)
    assert len(sink.of("virtual_brain_response")) == 4


def test_interactions_stay_in_order_while_permission_is_asked(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "authenticate", token="ada")
    edge.auth.release()
    for number in range(4):
        say(session, "virtual_brain_interact", data=interaction(interaction_id=f"i{number}"))
        if number == 2:
            edge.auth.release()
    assert [sent.interaction_id for sent in edge.brain.sent] == ["i0", "i1", "i2", "i3"]
    assert len(sink.of("virtual_brain_response")) == 4


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
    edge.sweep.turn()
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


def test_a_draining_edge_says_when_to_come_back(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    session.drain(1234)

    assert sink.one()["reconnect_after_ms"] == 1234
