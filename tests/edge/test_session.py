"""A session from its first frame to its last: who is connected, and which frames are taken."""

from __future__ import annotations

import pytest

from edge.frames.codes import CloseCode
from edge.ports import Identity, UpstreamError
from edge.session import session as session_room
from edge.settings import EdgeSettings
from tests.support.clocks import FAR_AHEAD_MS
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge, say

UNAVAILABLE = UpstreamError("unavailable", "The brain cannot be reached.", retry_after_ms=1000)


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
        "in_flight": 16,
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


def test_a_draining_edge_says_when_to_come_back(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    session.drain(1234)

    assert sink.one()["reconnect_after_ms"] == 1234
