"""Every frame of the protocol does what docs/protocol.md says, against the four real processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.school import School
from tests.support.socket import answer, open_socket

LEVELS = {
    "cognitive_load",
    "engagement_level",
    "frustration_level",
    "fatigue_level",
    "confidence_level",
    "motivation_level",
}


# Connecting


async def test_the_first_frame_authenticates(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("teacher")) as socket:
        hello = await socket.expect(type="connection_established")

    assert hello["user"] == {"id": school.user_id("teacher"), "role": "teacher"}
    assert hello["limits"]["subscriptions"] == 256
    assert set(hello) >= {"connection_id", "timestamp", "expires_at", "heartbeat_ms", "limits"}


async def test_a_token_in_the_query_authenticates_as_the_guide_shows(school: School) -> None:
    async with open_socket(f"{school.stack.ws_url}?token={school.token('teacher')}") as socket:
        await socket.expect(type="connection_established")


async def test_a_bearer_header_authenticates(school: School) -> None:
    headers = {"Authorization": f"Bearer {school.token('teacher')}"}
    async with open_socket(school.stack.ws_url, additional_headers=headers) as socket:
        await socket.expect(type="connection_established")


async def test_a_bad_token_is_told_before_the_socket_closes_with_4401(school: School) -> None:
    async with open_socket(f"{school.stack.ws_url}?token=nonsense") as socket:
        error = await socket.expect(type="error")
        assert await socket.until_closed() == 4401

    assert (error["code"], error["retryable"]) == ("unauthenticated", False)
    assert "nonsense" not in str(error)


async def test_nothing_is_answered_before_authentication(school: School) -> None:
    async with open_socket(school.stack.ws_url) as socket:
        reply = await socket.ask("get_state", learner_id="ada")

    assert reply["code"] == "unauthenticated"


async def test_a_foreign_origin_is_refused_with_4403(school: School) -> None:
    async with open_socket(school.stack.ws_url, origin="https://evil.example") as socket:
        assert (await socket.expect(type="error"))["code"] == "forbidden"
        assert await socket.until_closed() == 4403


async def test_the_same_origin_is_welcome(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada"), origin=school.stack.http_url):
        pass


async def test_a_token_is_replaced_in_place_for_the_same_user_only(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("teacher")) as socket:
        replaced = await socket.ask("authenticate", token=school.token("teacher"))
        refused = await socket.ask("authenticate", token=school.token("parent"))
        alive = await socket.ask("ping")

    assert replaced["type"] == "authenticated"
    assert refused["code"] == "forbidden"
    assert alive["type"] == "pong"


# Frames


async def test_ping_echoes_its_time(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        pong = await socket.ask("ping", sent_at=123.5)

    assert (pong["type"], pong["sent_at"]) == ("pong", 123.5)


async def test_the_guides_frames_without_any_id_work_unchanged(
    school: School, learner: str
) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        await socket.send({"type": "ping"})
        await socket.expect(type="pong")
        await socket.send({"type": "subscribe_learner", "learner_id": learner})
        assert (await socket.expect(type="subscribed"))["success"] is True
        data = answer(learner)
        del data["interaction_id"]
        await socket.send({"type": "virtual_brain_interact", "data": data})
        response = await socket.expect(type="virtual_brain_response")
        update = await socket.expect(type="state_update")

    assert set(response["result"]["state"]) == set(update["state"]) == LEVELS
    assert response["learner_id"] == update["learner_id"] == learner


async def test_an_interaction_is_answered_with_all_the_model_says(
    school: School, learner: str
) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        response = await socket.interact(learner, interaction_id="mine-1")

    result = response["result"]
    assert (response["revision"], response["duplicate"], response["interaction_id"]) == (
        1,
        False,
        "mine-1",
    )
    assert len(response["trace_id"]) == 32
    assert set(result["state"]) == LEVELS
    assert all(0 <= level <= 1 and round(level, 4) == level for level in result["state"].values())
    assert set(result["performance"]) == {
        "accuracy",
        "response_time",
        "consistency",
        "improvement_rate",
    }
    assert set(result["mastery"]) == {"add"}
    assert 0 < result["predicted_correct"] < 1
    assert result["model_version"].startswith("vb-ssm/")
    assert set(result["drivers"]) >= LEVELS
    assert result["processing_time"] > 0


async def test_the_same_interaction_id_moves_the_state_once(school: School, learner: str) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        first = await socket.interact(learner, interaction_id="again")
        second = await socket.interact(learner, interaction_id="again")
        third = await socket.interact(learner)

    assert (second["revision"], second["duplicate"]) == (1, True)
    assert second["result"]["state"] == first["result"]["state"]
    assert third["revision"] == 2


async def test_a_watcher_sees_every_learner_it_may(school: School, learner: str) -> None:
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        subscribed = await teacher.ask("subscribe_learner", learner_id=learner)
        response = await pupil.interact(learner)
        update = await teacher.expect(type="state_update", learner_id=learner)

    assert (subscribed["state"], subscribed["revision"], subscribed["recovered"]) == (
        None,
        0,
        False,
    )
    assert (update["revision"], update["coalesced"], update["trace_id"]) == (
        1,
        0,
        response["trace_id"],
    )
    assert update["state"] == response["result"]["state"]


@pytest.mark.parametrize("who", ["stranger", "ben"])
@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("subscribe_learner", {"learner_id": "ada"}),
        ("get_state", {"learner_id": "ada"}),
        ("virtual_brain_interact", {"data": answer("ada")}),
        (
            "adapt_content",
            {"data": {"learner_id": "ada", "content": "x", "content_type": "question"}},
        ),
        ("join_room", {"room_id": "learner:ada"}),
    ],
)
async def test_nobody_reaches_a_learner_without_a_relation(
    school: School, who: str, type: str, fields: dict[str, Any]
) -> None:
    async with open_socket(school.stack.ws_url, school.token(who)) as socket:
        reply = await socket.ask(type, **fields)

    assert (reply["type"], reply["code"], reply["message_type"]) == ("error", "forbidden", type)


async def test_an_unknown_learner_is_refused_like_a_forbidden_one(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("parent")) as socket:
        unknown = await socket.ask("get_state", learner_id="no-such-learner")
        forbidden = await socket.ask("get_state", learner_id="ben")

    assert unknown["error"] == forbidden["error"]
    assert unknown["code"] == forbidden["code"] == "forbidden"


async def test_get_state_tells_everything_at_rest(school: School, learner: str) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        before = await socket.ask("get_state", learner_id=learner)
        response = await socket.interact(learner)
        after = await socket.ask("get_state", learner_id=learner)

    assert (before["state"], before["performance"], before["revision"]) == (None, None, 0)
    assert after["state"] == response["result"]["state"]
    assert after["revision"] == 1
    assert set(after["mastery"]["add"]) == {"probability", "answers", "standard_error"}
    assert set(after["grades"]) == LEVELS


async def test_unsubscribed_learners_are_silent(school: School, learner: str) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        await socket.ask("subscribe_learner", learner_id=learner)
        await socket.ask("unsubscribe_learner", learner_id=learner)
        await socket.interact(learner)
        await socket.ask("ping")

    assert socket.updates(learner) == []


async def test_content_is_adapted_with_what_was_done(school: School, learner: str) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        for _ in range(6):
            await socket.interact(learner, correct=False)
        text = "Read this first. " * 60
        adapted = await socket.ask(
            "adapt_content",
            data={"learner_id": learner, "content": text, "content_type": "explanation"},
        )

    assert adapted["type"] == "content_adapted"
    assert adapted["original_content"] == text
    assert all(change["code"] and change["undo"] for change in adapted["changes"])
    assert bool(adapted["changes"]) == (adapted["adapted_content"] != text)


async def test_rooms_tell_who_is_there_and_carry_messages(school: School) -> None:
    room = "class:5a"
    async with open_socket(school.stack.ws_url, school.token("ada")) as ada:
        joined = await ada.ask("join_room", room_id=room)
        async with open_socket(school.stack.ws_url, school.token("ben")) as ben:
            also = await ben.ask("join_room", room_id=room)
            came = await ada.expect(type="user_joined", room_id=room)
            await ben.send({"type": "room_message", "room_id": room, "data": {"text": "hello"}})
            message = await ada.expect(type="room_message", room_id=room)
        gone = await ada.expect(type="user_left", room_id=room)
        left = await ada.ask("leave_room", room_id=room)

    there = {member["user"]["id"] for member in joined["members"]}
    assert school.user_id("ada") in there
    assert len(also["members"]) == also["member_count"] == len(joined["members"]) + 1
    assert came["user"]["id"] == gone["user"]["id"] == school.user_id("ben")
    assert message["data"] == {"text": "hello"}
    assert left["type"] == "room_left"


async def test_guardians_listen_in_a_class_room_and_do_not_see_each_other(school: School) -> None:
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token("parent")) as one,
        open_socket(school.stack.ws_url, school.token("parent")) as other,
    ):
        await teacher.ask("join_room", room_id="class:5a")
        await one.ask("join_room", room_id="class:5a")
        joined = await other.ask("join_room", room_id="class:5a")
        refused = await one.ask("room_message", room_id="class:5a", data={"text": "hello"})
        await teacher.send({"type": "room_message", "room_id": "class:5a", "data": {"text": "hi"}})
        heard = await one.expect(type="room_message")
        seen = [
            await teacher.expect(
                type="user_joined", user={"id": school.user_id("parent"), "role": "guardian"}
            )
        ]

    assert [m["user"]["role"] for m in joined["members"]].count("guardian") == 1, "oneself"
    assert joined["member_count"] >= 3
    assert refused["code"] == "forbidden"
    assert heard["data"] == {"text": "hi"}
    assert seen
    assert not [frame for frame in one.frames if frame["type"] == "user_joined"]


@pytest.mark.parametrize("room", ["lobby", "Class:5a", "LEARNER:ada", "class:5b"])
async def test_rooms_that_are_nobodys_are_closed(school: School, room: str) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        reply = await socket.ask("join_room", room_id=room)

    assert reply["code"] == "forbidden"


async def test_a_message_needs_membership(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        reply = await socket.ask("room_message", room_id="elsewhere", data={})

    assert reply["code"] == "forbidden"


# Bad input


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ("{}", "bad_request"),
        ('{"type": "teleport"}', "unknown_type"),
        ('{"type": "subscribe_learner"}', "bad_request"),
        ('{"type": "subscribe_learner", "learner_id": "a b"}', "bad_request"),
        ('{"type": "subscribe_learner", "learner_id": 5}', "bad_request"),
        ('{"type": "ping", "id": {}}', "bad_request"),
        ('{"type": "virtual_brain_interact", "data": {}}', "bad_request"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_lives(
    school: School, frame: str, code: str
) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        await socket.send(frame)
        error = await socket.expect(type="error")
        alive = await socket.ask("ping")

    assert error["code"] == code
    assert alive["type"] == "pong"


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"correct": "yes"}},
        {"context": {"difficulty": 1e308, "time_taken": -1}},
        {"context": {"time_taken": 700_000}},
        {"context": {"skill": ["s"] * 9}},
        {"context": []},
        {"type": "guess"},
        {"occurred_at": "2001-01-01T00:00:00Z"},
        {"occurred_at": "yesterday"},
        {"interaction_id": "with space"},
        {"content": "x" * 16_385},
    ],
)
async def test_a_bad_interaction_is_refused_and_changes_nothing(
    school: School, learner: str, change: dict[str, Any]
) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        refused = await socket.interact(learner, **change)
        good = await socket.interact(learner)

    assert refused["code"] == "bad_request", refused
    assert good["revision"] == 1


async def test_a_binary_frame_closes_with_4400(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        await socket.send(b"\x00")
        assert await socket.until_closed() == 4400


async def test_a_frame_too_big_closes_with_1009(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        await socket.send('{"type": "ping", "id": "' + "x" * 70_000 + '"}')
        assert await socket.until_closed() == 1009


async def test_too_many_frames_are_refused_with_the_time_to_wait(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        for _ in range(110):
            await socket.send({"type": "ping"})
        error = await socket.expect(type="error")

    assert (error["code"], error["retryable"]) == ("rate_limited", True)
    assert error["retry_after_ms"] > 0
