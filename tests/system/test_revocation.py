"""Access that ends, ends at once: sockets and subscriptions that live by it are told and closed,
others stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import pytest

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from brain_service.store.entries import unpack
from tests.support.commands import auth_command
from tests.support.eventually import eventually
from tests.support.metrics import figures_stream
from tests.support.school import PASSWORD, School, request
from tests.support.socket import WAIT_S, Frame, Socket, open_socket


@pytest.fixture
def parent(school: School, learner: str) -> str:
    """The name of a guardian of the learner and of Ada, whom no other test has touched."""
    name = f"p-{uuid.uuid4().hex[:12]}"
    user_id = school.registry.add_user(f"{name}@school.example", PASSWORD, "guardian")
    school.users[f"{name}@school.example"] = user_id
    for child in (learner, "ada"):
        school.registry.relate("guardian_of", user_id, child)
    return name


@pytest.fixture
def auth(school: School) -> Iterator[auth_pb2_grpc.AuthServiceStub]:
    """The auth service, as internal services call it."""
    with grpc.insecure_channel(school.stack.address("auth")) as channel:
        yield auth_pb2_grpc.AuthServiceStub(channel)


@pytest.fixture
def brain(school: School) -> Iterator[brain_pb2_grpc.BrainServiceStub]:
    """The brain, as internal services call it."""
    with grpc.insecure_channel(school.stack.address("brain")) as channel:
        yield brain_pb2_grpc.BrainServiceStub(channel)


async def subscribe(socket: Socket, *learners: str) -> None:
    """Subscribe to learners."""
    for one in learners:
        assert (await socket.ask("subscribe_learner", learner_id=one))["type"] == "subscribed"


async def assert_closed(socket: Socket, code: int, error_code: str) -> None:
    """Check that a socket is told why and closed."""
    assert await socket.until_closed() == code
    last = socket.frames[-1]
    assert (last["type"], last["code"], last["retryable"]) == ("error", error_code, False)


async def assert_alive(socket: Socket) -> None:
    """Check that a socket goes on."""
    assert (await socket.ask("ping"))["type"] == "pong"


# Sessions


@pytest.mark.parametrize("by", ["refresh token", "access token"])
async def test_a_logout_closes_the_sockets_of_its_session_only(
    school: School, parent: str, learner: str, by: str
) -> None:
    leaving, staying = school.login(parent), school.login(parent)
    async with (
        open_socket(school.stack.ws_url, leaving["access_token"]) as gone,
        open_socket(school.stack.ws_url, leaving["access_token"]) as gone_too,
        open_socket(school.stack.ws_url, staying["access_token"]) as other,
    ):
        await subscribe(gone, learner)
        body = {"refresh_token": leaving["refresh_token"]} if by == "refresh token" else None
        token = leaving["access_token"] if by == "access token" else None
        left = await asyncio.to_thread(
            request, school.stack, "POST", "/api/auth/logout", body, token
        )
        assert left[0] == 204
        await assert_closed(gone, 4403, "forbidden")
        await assert_closed(gone_too, 4403, "forbidden")
        await assert_alive(other)

    assert request(school.stack, "GET", "/api/me", token=leaving["access_token"])[0] == 401
    assert request(school.stack, "GET", "/api/me", token=staying["access_token"])[0] == 200
    async with open_socket(f"{school.stack.ws_url}?token={leaving['access_token']}") as late:
        await assert_closed(late, 4401, "unauthenticated")


async def test_a_refresh_token_shown_twice_closes_the_sockets_of_its_session(
    school: School, parent: str
) -> None:
    tokens = school.login(parent)
    again = {"refresh_token": tokens["refresh_token"]}
    async with open_socket(school.stack.ws_url, tokens["access_token"]) as socket:
        assert (await asyncio.to_thread(request, school.stack, "POST", "/api/auth/refresh", again))[
            0
        ] == 200
        await assert_alive(socket)
        assert (await asyncio.to_thread(request, school.stack, "POST", "/api/auth/refresh", again))[
            0
        ] == 401
        await assert_closed(socket, 4403, "forbidden")


def test_a_logout_ends_the_stream_of_figures_of_its_session_only(school: School) -> None:
    leaving, staying = school.login("admin"), school.login("admin")
    with (
        figures_stream(school.stack, leaving["access_token"], interval_ms=10_000) as gone,
        figures_stream(school.stack, staying["access_token"]) as other,
    ):
        assert next(gone)["edges"]["reporting"] == 1
        next(other)
        assert (
            request(school.stack, "POST", "/api/auth/logout", token=leaving["access_token"])[0]
            == 204
        )
        assert list(gone) == []
        assert next(other)["edges"]["reporting"] == 1


@pytest.mark.parametrize("through", ["call", "command"])
async def test_a_disabled_user_loses_every_socket(
    school: School, parent: str, auth: auth_pb2_grpc.AuthServiceStub, through: str
) -> None:
    user_id = school.user_id(parent)
    async with (
        open_socket(school.stack.ws_url, school.token(parent)) as one,
        open_socket(school.stack.ws_url, school.token(parent)) as two,
        open_socket(school.stack.ws_url, school.token("teacher")) as other,
    ):
        if through == "call":
            disable = auth_pb2.SetUserDisabledRequest(user_id=user_id, disabled=True)
            await asyncio.to_thread(
                auth.SetUserDisabled, disable, metadata=school.stack.metadata, timeout=WAIT_S
            )
        else:
            await asyncio.to_thread(auth_command, school, "disable", user_id)
        await assert_closed(one, 4403, "forbidden")
        await assert_closed(two, 4403, "forbidden")
        await assert_alive(other)

    credentials = {"email": f"{parent}@school.example", "password": PASSWORD}
    assert request(school.stack, "POST", "/api/auth/login", credentials)[0] == 401


async def test_a_new_password_ends_every_session(school: School, parent: str) -> None:
    async with open_socket(school.stack.ws_url, school.token(parent)) as socket:
        await asyncio.to_thread(
            school.registry.set_password, school.user_id(parent), "another long password"
        )
        await assert_closed(socket, 4403, "forbidden")


# Relations


async def test_a_guardian_who_is_none_any_more_loses_the_learner_and_nothing_else(
    school: School, parent: str, learner: str, auth: auth_pb2_grpc.AuthServiceStub
) -> None:
    relation = auth_pb2.Relation(
        kind=auth_pb2.RELATION_KIND_GUARDIAN_OF, subject=school.user_id(parent), object=learner
    )
    token = school.token(parent)
    async with (
        open_socket(school.stack.ws_url, token) as socket,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await subscribe(socket, learner, "ada")
        assert (await socket.ask("join_room", room_id=f"learner:{learner}"))[
            "type"
        ] == "room_joined"
        await pupil.interact(learner)
        await socket.until_revision(learner, 1)
        remove = auth_pb2.RemoveRelationRequest(relation=relation)
        await asyncio.to_thread(
            auth.RemoveRelation, remove, metadata=school.stack.metadata, timeout=WAIT_S
        )
        ended = await socket.expect(type="unsubscribed", learner_id=learner)
        await socket.expect(type="room_left", room_id=f"learner:{learner}")
        await pupil.interact(learner)
        refused = await socket.ask("get_state", learner_id=learner)
        still = await socket.ask("get_state", learner_id="ada")

    assert (ended["code"], ended["retryable"]) == ("revoked", False)
    assert refused["code"] == "forbidden"
    assert still["type"] == "state_response"
    assert [update["revision"] for update in socket.updates(learner)] == [1]
    assert request(school.stack, "GET", f"/api/learners/{learner}/state", token=token)[0] == 403


async def test_a_learner_who_leaves_the_class_is_lost_to_its_teacher(
    school: School, learner: str, auth: auth_pb2_grpc.AuthServiceStub
) -> None:
    enrolled = auth_pb2.Relation(kind=auth_pb2.RELATION_KIND_ENROLLED, subject=learner, object="5a")
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await subscribe(teacher, learner)
        await subscribe(pupil, learner)
        remove = auth_pb2.RemoveRelationRequest(relation=enrolled)
        await asyncio.to_thread(
            auth.RemoveRelation, remove, metadata=school.stack.metadata, timeout=WAIT_S
        )
        assert (await teacher.expect(type="unsubscribed", learner_id=learner))["code"] == "revoked"
        assert (await pupil.interact(learner))["revision"] == 1
        await pupil.until_revision(learner, 1)

    assert teacher.updates(learner) == []


async def test_a_relation_that_comes_back_opens_the_learner_at_once(
    school: School, parent: str, auth: auth_pb2_grpc.AuthServiceStub
) -> None:
    async with open_socket(school.stack.ws_url, school.token(parent)) as socket:
        assert (await socket.ask("subscribe_learner", learner_id="ben"))["code"] == "forbidden"
        await asyncio.to_thread(
            school.registry.relate, "guardian_of", school.user_id(parent), "ben"
        )
        await eventually(
            lambda: socket.ask("subscribe_learner", learner_id="ben"),
            lambda frame: frame["type"] == "subscribed",
        )


# Erasure


@pytest.mark.parametrize("through", ["api", "call"])
async def test_an_erased_learner_is_gone_for_watchers_and_from_the_files(
    school: School, brain: brain_pb2_grpc.BrainServiceStub, through: str
) -> None:
    learner = school.new_learner("erase")
    marks = {
        name: f"{name}-{uuid.uuid4().hex}"
        for name in ("content", "response", "context", "interaction")
    }
    admin = school.token("admin")
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await subscribe(teacher, learner)
        for number in range(30):
            await pupil.interact(
                learner,
                content=f"{marks['content']} {number}",
                response=marks["response"],
                context={"correct": number % 2 == 0, "note": marks["context"]},
                interaction_id=f"{marks['interaction']}-{number}",
            )
        await teacher.until_revision(learner, 30)
        kept = entries(school, marks["interaction"])
        assert len(kept) == 30
        assert found(school, *kept) == set(kept)
        erased = await asyncio.to_thread(erase, school, brain, learner, admin, through)
        ended = await teacher.expect(type="unsubscribed", learner_id=learner)
        await assert_alive(teacher)

    assert erased == 30
    assert (ended["code"], ended["retryable"]) == ("gone", False)
    texts = {text.encode() for text in (learner, *marks.values())}
    assert found(school, *kept, *texts) == set()
    status, state = request(school.stack, "GET", f"/api/learners/{learner}/state", token=admin)
    if through == "api":  # which forgets the learner too, not only what it did
        assert status == 403
    else:
        assert (state["state"], state["revision"]) == (None, 0)


def erase(
    school: School, brain: brain_pb2_grpc.BrainServiceStub, learner: str, admin: str, through: str
) -> int:
    """Erase a learner as an administrator or as an internal service; return how many interactions
    that were.
    """
    if through == "api":
        status, answer = request(
            school.stack, "DELETE", f"/api/learners/{learner}/data", token=admin
        )
        assert status == 200, answer
        return int(answer["interactions_erased"])
    question = brain_pb2.EraseLearnerRequest(learner_id=learner, requested_by="a test")
    return int(
        brain.EraseLearner(question, metadata=school.stack.metadata, timeout=WAIT_S).interactions
    )


def entries(school: School, interaction: str) -> list[bytes]:
    """Return the stored bytes of a learner's interactions, whose ids begin so: texts are packed in
    them.
    """
    path = f"file:{school.stack.database('brain')}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True, timeout=10)) as file:
        query = "SELECT interaction_key, revision, entry FROM log WHERE learner_key IS NOT NULL"
        rows = list(file.execute(query))
    return [
        entry
        for key, revision, entry in rows
        if unpack(entry, revision, key).interaction_id.startswith(interaction)
    ]


def found(school: School, *marks: bytes) -> set[bytes]:
    """Return which of these stand in any file of the brain, its log included."""
    files = [*school.stack.directory.glob("brain.sqlite3*"), school.stack.logs / "brain.log"]
    content = b"".join(file.read_bytes() for file in files)
    return {mark for mark in marks if mark in content}


async def test_an_erased_learner_may_not_be_asked_for_by_those_who_watched(
    school: School, parent: str, learner: str
) -> None:
    admin = school.token("admin")
    async with open_socket(school.stack.ws_url, school.token(parent)) as socket:
        await subscribe(socket, learner)
        await asyncio.to_thread(
            request, school.stack, "DELETE", f"/api/learners/{learner}/data", None, admin
        )
        await socket.expect(type="unsubscribed", learner_id=learner)
        answer = await eventually(
            lambda: socket.ask("get_state", learner_id=learner),
            lambda frame: frame["type"] == "error",
        )

    assert answer["code"] == "forbidden"
    assert learner not in str(request(school.stack, "GET", "/api/learners", token=admin)[1])


# Tokens that expire


async def test_an_expired_token_closes_its_socket_and_a_renewed_one_lives_on_with_its_subscriptions(
    school: School, learner: str
) -> None:
    long = school.token("teacher")
    async with contextlib.AsyncExitStack() as open_ones:
        pupil = await open_ones.enter_async_context(
            open_socket(school.stack.ws_url, school.token(learner))
        )
        short = await asyncio.to_thread(
            auth_command, school, "mint-token", school.user_id("teacher"), "--ttl-s", "5"
        )
        school.secrets.add(short)
        expiring, renewed = [
            await open_ones.enter_async_context(open_socket(school.stack.ws_url, short))
            for _ in range(2)
        ]
        answer = await renewed.ask("authenticate", token=long)
        await subscribe(renewed, learner)
        assert answer["type"] == "authenticated"
        await assert_closed(expiring, 4401, "unauthenticated")
        assert _until(expiring.frames[0]) <= datetime.now(UTC)
        assert _until(answer) > datetime.now(UTC)
        await pupil.interact(learner)
        await renewed.until_revision(learner, 1)

    async with open_socket(f"{school.stack.ws_url}?token={short}") as late:
        await assert_closed(late, 4401, "unauthenticated")


async def test_a_bad_token_in_place_leaves_the_good_one_in_force(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("teacher")) as socket:
        refused = await socket.ask("authenticate", token="nonsense")
        await assert_alive(socket)

    assert refused["code"] == "unauthenticated"


def _until(frame: Frame) -> datetime:
    return datetime.fromisoformat(frame["expires_at"])


async def test_a_session_that_fell_while_auth_was_down_ends_when_it_is_back(
    own_school: School,
) -> None:
    stack = own_school.stack
    teacher = own_school.token("teacher")
    async with (
        open_socket(stack.ws_url, teacher) as fallen,
        open_socket(stack.ws_url, own_school.token("ada")) as other,
    ):
        await asyncio.to_thread(stack.kill, "auth")
        await asyncio.to_thread(auth_command, own_school, "disable", "teacher@school.example")
        await asyncio.to_thread(stack.start, "auth")

        assert await fallen.until_closed() == 4403
        assert (await other.ask("ping"))["type"] == "pong"
