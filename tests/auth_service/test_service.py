"""The whole service on a free port, with a real client."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import jwt
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from aivo.auth.v1 import auth_pb2_grpc
from auth_service.passwords import Passwords
from auth_service.settings import Settings
from service_runtime.settings import SettingsError
from tests.auth_service.harness import ADMIN, PASSWORD, PATIENCE_S, Client, running

OVER = "the session of the access token is over"
SCHOOL = "192.0.2.1"


async def status(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Return how a call that must fail has failed."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_the_first_start_makes_the_administrator_and_later_ones_do_not(
    settings: Settings,
) -> None:
    async with running(settings) as client:
        first = (await client.login(*ADMIN)).user
        await client.SetPassword(
            pb.SetPasswordRequest(user_id=first.user_id, password="another password")
        )
    async with running(settings) as client:
        again = (await client.login(ADMIN[0], "another password")).user
        users = (await client.ListUsers(pb.ListUsersRequest())).users

    assert (first.role, first.email) == (pb.ROLE_ADMIN, ADMIN[0])
    assert first == again
    assert len(users) == 1


async def test_without_bootstrap_settings_nobody_can_sign_in_and_the_log_says_what_to_do(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(
        settings, bootstrap_admin_email=None, bootstrap_admin_password=None
    ) as client:
        assert list((await client.ListUsers(pb.ListUsersRequest())).users) == []

    assert "there is no administrator: set AUTH_BOOTSTRAP_ADMIN_EMAIL" in caplog.text


async def test_a_weak_bootstrap_password_stops_the_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="at least 12 characters"):
        async with running(settings, bootstrap_admin_password="admin"):
            pass


async def test_without_a_credential_it_makes_neither_database_nor_keys(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="AUTH_CREDENTIAL"):
        async with running(settings, credential=None):
            pass

    assert os.listdir(tmp_path) == []


async def test_tokens_of_a_login_tell_who_it_is_and_verify_with_the_published_keys(
    client: Client,
) -> None:
    user_id = await client.user("Ann@School.Example", pb.ROLE_TEACHER)

    response = await client.login("ann@SCHOOL.example")
    jwks = jwt.PyJWKSet.from_json((await client.GetJwks(pb.GetJwksRequest())).jwks_json)
    token = response.tokens.access_token
    claims = jwt.decode(
        token, jwks[jwt.get_unverified_header(token)["kid"]], algorithms=["EdDSA"], issuer="aivo"
    )
    (answer,) = await client.authenticate(token)

    assert response.user.user_id == user_id == claims["sub"] == answer.identity.user_id
    assert response.user.email == "ann@school.example"
    assert answer.identity.role == pb.ROLE_TEACHER
    assert answer.identity.session_id == claims["sid"]
    assert answer.identity.expires_at_ms == claims["exp"] * 1000
    assert claims["exp"] - claims["iat"] == response.tokens.expires_in_s == 900


async def test_every_way_to_fail_a_login_sounds_the_same(client: Client) -> None:
    user_id = await client.user("ann@school.example", pb.ROLE_TEACHER)
    await client.user("bob@school.example", pb.ROLE_TEACHER)
    await client.SetUserDisabled(pb.SetUserDisabledRequest(user_id=user_id, disabled=True))

    failures = [
        await status(client.login(*pair))
        for pair in (
            ("ann@school.example", PASSWORD),
            ("bob@school.example", "not the password"),
            ("bob@school.example", ""),
            ("eve@school.example", PASSWORD),
            ("no address", PASSWORD),
            ("", ""),
        )
    ]

    assert set(failures) == {
        (grpc.StatusCode.UNAUTHENTICATED, "the e-mail address or the password is wrong")
    }


async def test_every_way_to_fail_a_login_costs_the_same_work(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await client.user("ann@school.example", pb.ROLE_TEACHER)
    await client.user("bob@school.example", pb.ROLE_TEACHER)
    await client.SetUserDisabled(pb.SetUserDisabledRequest(user_id=user_id, disabled=True))
    verified: list[str] = []

    async def verify(self: Passwords, password: str, encoded: str | None) -> bool:
        verified.append(password)
        return await original(self, password, encoded)

    original = Passwords.verify
    monkeypatch.setattr(Passwords, "verify", verify)
    for email in ("ann@school.example", "bob@school.example", "eve@school.example", "no address"):
        await status(client.login(email, f"wrong for {email}"))
        assert verified.pop() == f"wrong for {email}"


async def test_an_oversized_password_is_refused_as_such(client: Client) -> None:
    code, _ = await status(client.login("ann@school.example", "x" * 1025))

    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_guessing_is_slowed_per_account_and_says_for_how_long(settings: Settings) -> None:
    async with running(settings, login_free_attempts=2, login_max_wait_s=1000.0) as client:
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        for _ in range(2):
            assert (await status(client.login("ann@school.example", "wrong")))[
                0
            ] is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.login("Ann@School.example", PASSWORD)
        await client.login(*ADMIN)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0 < int(dict(caught.value.trailing_metadata())["retry-after-ms"]) <= 1000


async def test_whoever_knows_the_password_may_have_mistyped_it_before(settings: Settings) -> None:
    async with running(settings, login_free_attempts=3, login_max_wait_s=1000.0) as client:
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        for _ in range(2):
            for _ in range(2):
                assert (await status(client.login("ann@school.example", "wrong")))[
                    0
                ] is grpc.StatusCode.UNAUTHENTICATED
            await client.login("ann@school.example")


async def test_guessing_is_slowed_per_address_whatever_the_account(settings: Settings) -> None:
    async def guess(client: Client, number: int, address: str) -> grpc.StatusCode:
        request = pb.LoginRequest(
            email=f"u{number}@school.example", password="x", client_address=address
        )
        return (await status(client.Login(request)))[0]

    async with running(settings, login_free_attempts_per_address=3) as client:
        codes = [await guess(client, number, "192.0.2.1") for number in range(4)]
        elsewhere = await guess(client, 9, "192.0.2.2")

    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert elsewhere is grpc.StatusCode.UNAUTHENTICATED


async def test_who_signed_in_here_before_is_let_in_while_names_are_sprayed(
    settings: Settings,
) -> None:
    """From a school's one address, by a program that keeps no device token."""

    async def sign_in(client: Client, email: str, password: str, address: str) -> grpc.StatusCode:
        request = pb.LoginRequest(email=email, password=password, client_address=address)
        try:
            await client.Login(request)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async with running(
        settings, login_free_attempts_per_address=3, login_free_attempts_per_account=3
    ) as client:
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        await client.user("bob@school.example", pb.ROLE_LEARNER)
        assert await sign_in(client, "ann@school.example", PASSWORD, SCHOOL) is grpc.StatusCode.OK
        for number in range(6):
            await sign_in(client, f"u{number}@school.example", "x", SCHOOL)
            await sign_in(client, "ann@school.example", "x", f"198.51.100.{number}")
        known = await sign_in(client, "ann@school.example", PASSWORD, SCHOOL)
        new = await sign_in(client, "bob@school.example", PASSWORD, SCHOOL)
        elsewhere = await sign_in(client, "ann@school.example", PASSWORD, "203.0.113.7")

    assert known is grpc.StatusCode.OK
    assert new is elsewhere is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_known_device_and_place_get_a_turn_while_the_account_is_guessed(
    settings: Settings,
) -> None:
    """From ever new addresses, so fast that all places of the account are always taken."""
    addresses, full, over = itertools.count(), asyncio.Event(), asyncio.Event()

    async def guess(client: Client) -> None:
        while not over.is_set():
            number = next(addresses)
            address = f"198.51.{number // 256 % 256}.{number % 256}"
            request = pb.LoginRequest(
                email="ann@school.example", password="x", client_address=address
            )
            code, _ = await status(client.Login(request))
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                full.set()

    async with running(
        settings, login_free_attempts_per_account=1_000_000, password_threads=1
    ) as client:
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        right = pb.LoginRequest(
            email="ann@school.example", password=PASSWORD, client_address=SCHOOL
        )
        device_token = (await client.Login(right)).device_token
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(guess(client))
            await full.wait()
            try:
                for _ in range(5):
                    await client.Login(right)
                    right.device_token, right.client_address = device_token, "203.0.113.7"
            finally:
                over.set()


async def test_refresh_tokens_rotate_and_reuse_ends_the_session_and_its_sockets(
    client: Client,
) -> None:
    first = (await client.login(*ADMIN)).tokens
    second = (await client.Refresh(pb.RefreshRequest(refresh_token=first.refresh_token))).tokens
    identity = (await client.authenticate(second.access_token))[0].identity

    async with client.revocations() as following:
        failure = await status(client.Refresh(pb.RefreshRequest(refresh_token=first.refresh_token)))
        told = await following()
    after = await client.authenticate(first.access_token, second.access_token)

    assert failure == (grpc.StatusCode.UNAUTHENTICATED, "the session is over; sign in again")
    assert told == [pb.Revocation(user_id=identity.user_id, session_id=identity.session_id)]
    assert [answer.error for answer in after] == [OVER, OVER]
    assert (
        await status(client.Refresh(pb.RefreshRequest(refresh_token=second.refresh_token)))
    ) == failure


REQUEST_ID = "0198f3a2-7c1d-7000-8000-000000000001"


async def test_a_lost_answer_is_given_again_to_whoever_knows_what_was_asked(client: Client) -> None:
    first = (await client.login(*ADMIN)).tokens
    asked = pb.RefreshRequest(refresh_token=first.refresh_token, request_id=REQUEST_ID)
    lost, again = [(await client.Refresh(asked)).tokens for _ in range(2)]
    answers = await client.authenticate(lost.access_token, again.access_token)

    assert again.refresh_token == lost.refresh_token != first.refresh_token
    assert [answer.error for answer in answers] == ["", ""]
    await client.Refresh(pb.RefreshRequest(refresh_token=again.refresh_token))


@pytest.mark.parametrize("request_id", ["", REQUEST_ID[:-1] + "2"])
@pytest.mark.parametrize("first_id", ["", REQUEST_ID])
async def test_a_used_token_without_the_same_request_id_is_reuse(
    client: Client, first_id: str, request_id: str
) -> None:
    first = (await client.login(*ADMIN)).tokens
    asked = pb.RefreshRequest(refresh_token=first.refresh_token, request_id=first_id)
    second = (await client.Refresh(asked)).tokens
    stolen = pb.RefreshRequest(refresh_token=first.refresh_token, request_id=request_id)
    failure = await status(client.Refresh(stolen))

    assert failure == (grpc.StatusCode.UNAUTHENTICATED, "the session is over; sign in again")
    assert [answer.error for answer in await client.authenticate(second.access_token)] == [OVER]


async def test_a_lost_answer_is_not_given_again_where_that_is_switched_off(
    settings: Settings,
) -> None:
    async with running(settings, refresh_retry_s=0.0) as client:
        first = (await client.login(*ADMIN)).tokens
        asked = pb.RefreshRequest(refresh_token=first.refresh_token, request_id=REQUEST_ID)
        await client.Refresh(asked)

        assert (await status(client.Refresh(asked)))[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("request_id", ["short", "x" * 129])
async def test_a_request_id_easily_guessed_is_refused_and_uses_nothing_up(
    client: Client, request_id: str
) -> None:
    first = (await client.login(*ADMIN)).tokens
    asked = pb.RefreshRequest(refresh_token=first.refresh_token, request_id=request_id)

    assert (await status(client.Refresh(asked)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    await client.Refresh(pb.RefreshRequest(refresh_token=first.refresh_token))


@pytest.mark.parametrize("garbage", ["", "x", "A" * 70, "\x00", "é" * 99, "x" * 100_000])
async def test_garbage_tokens_are_refused_without_being_repeated(
    client: Client, garbage: str
) -> None:
    good = (await client.login(*ADMIN)).tokens.access_token

    refresh = await status(client.Refresh(pb.RefreshRequest(refresh_token=garbage)))
    answers = await client.authenticate(garbage, good, garbage)
    await client.Logout(pb.LogoutRequest(refresh_token=garbage, access_token=garbage))

    assert refresh == (grpc.StatusCode.UNAUTHENTICATED, "the session is over; sign in again")
    assert [answer.WhichOneof("outcome") for answer in answers] == ["error", "identity", "error"]
    assert answers[0].error == "the access token is not valid"


@pytest.mark.parametrize("by", ["refresh_token", "access_token"])
async def test_logout_ends_one_session_everywhere_and_no_other(client: Client, by: str) -> None:
    one, other = (await client.login(*ADMIN)).tokens, (await client.login(*ADMIN)).tokens
    identity = (await client.authenticate(one.access_token))[0].identity

    async with client.revocations() as first, client.revocations() as second:
        await client.Logout(pb.LogoutRequest(**{by: getattr(one, by)}))
        told = [await first(), await second()]
    answers = await client.authenticate(one.access_token, other.access_token)

    assert told == [[pb.Revocation(user_id=identity.user_id, session_id=identity.session_id)]] * 2
    assert [answer.error for answer in answers] == [OVER, ""]


async def test_disabling_and_new_passwords_end_all_sessions(client: Client) -> None:
    user_id = await client.user("ann@school.example", pb.ROLE_TEACHER)
    everything = [pb.Revocation(user_id=user_id, all_sessions=True)]

    async with client.revocations() as following:
        tokens = (await client.login("ann@school.example")).tokens
        await client.SetPassword(pb.SetPasswordRequest(user_id=user_id, password="a new password"))
        assert await following() == everything
        assert [answer.error for answer in await client.authenticate(tokens.access_token)] == [OVER]

        tokens = (await client.login("ann@school.example", "a new password")).tokens
        await client.SetUserDisabled(pb.SetUserDisabledRequest(user_id=user_id, disabled=True))
        assert await following() == everything
        assert not await client.allowed(user_id, pb.ACTION_JOIN, "lobby")

        await client.SetUserDisabled(pb.SetUserDisabledRequest(user_id=user_id, disabled=False))
        assert [answer.error for answer in await client.authenticate(tokens.access_token)] == [OVER]
        assert await client.allowed(user_id, pb.ACTION_JOIN, "lobby")


async def test_sessions_stay_ended_over_a_restart(settings: Settings) -> None:
    async with running(settings) as client:
        ended, open_ = (await client.login(*ADMIN)).tokens, (await client.login(*ADMIN)).tokens
        await client.Logout(pb.LogoutRequest(access_token=ended.access_token))
    async with running(settings) as client:
        answers = await client.authenticate(ended.access_token, open_.access_token)

        assert [answer.error for answer in answers] == [OVER, ""]
        await client.Refresh(pb.RefreshRequest(refresh_token=open_.refresh_token))


async def test_rights_follow_relations_at_once_and_the_stream_tells_all_concerned(
    client: Client,
) -> None:
    teacher = await client.user("teacher@school.example", pb.ROLE_TEACHER)
    parent = await client.user("parent@school.example", pb.ROLE_GUARDIAN)
    await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea", display_name="Lea"))
    await client.CreateClass(pb.CreateClassRequest(class_id="maths", display_name="Mathematics"))
    await client.relate(pb.RELATION_KIND_TEACHES, teacher, "maths")
    await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
    assert not await client.allowed(teacher, pb.ACTION_WATCH, "lea")

    async def told(following: Callable[[], Awaitable[list[pb.Revocation]]]) -> set[str]:
        return {each.user_id or each.learner_id for each in await following()}

    async with client.revocations() as following:
        await client.relate(pb.RELATION_KIND_ENROLLED, "lea", "maths")
        assert await told(following) == {"lea", parent, teacher}
        assert await client.allowed(teacher, pb.ACTION_WATCH, "lea")
        assert await client.allowed(parent, pb.ACTION_JOIN, "class:maths")
        learners = (await client.ListLearners(pb.ListLearnersRequest(user_id=teacher))).learners
        lea = {
            "learner_id": "lea",
            "display_name": "Lea",
            "class_ids": ["maths"],
            "class_names": {"maths": "Mathematics"},
        }
        assert learners == [pb.Learner(**lea)]

        await client.unrelate(pb.RELATION_KIND_ENROLLED, "lea", "maths")
        assert await told(following) == {"lea", parent, teacher}
        assert not await client.allowed(teacher, pb.ACTION_WATCH, "lea")
        assert not await client.allowed(parent, pb.ACTION_JOIN, "class:maths")

        await client.unrelate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
        assert await told(following) == {parent}
        assert not await client.allowed(parent, pb.ACTION_WATCH, "lea")

        await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
        assert await told(following) == {parent}
        await client.DeleteLearner(pb.DeleteLearnerRequest(learner_id="lea"))
        assert await told(following) == {"lea", parent}
        assert not await client.allowed(parent, pb.ACTION_WATCH, "lea")


async def test_seeding_twice_changes_nothing(client: Client) -> None:
    user_id = await client.user("ann@school.example", pb.ROLE_TEACHER)
    await client.CreateClass(pb.CreateClassRequest(class_id="maths"))
    await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))
    taken = [
        await status(client.user("ANN@school.example", pb.ROLE_ADMIN)),
        await status(client.CreateClass(pb.CreateClassRequest(class_id="maths"))),
        await status(client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))),
    ]
    for _ in range(2):
        await client.relate(pb.RELATION_KIND_TEACHES, user_id, "maths")
        await client.DeleteLearner(pb.DeleteLearnerRequest(learner_id="lea"))
        await client.unrelate(pb.RELATION_KIND_TEACHES, "nobody", "nothing")

    assert {code for code, _ in taken} == {grpc.StatusCode.ALREADY_EXISTS}
    assert not any("ann" in details for _, details in taken)


async def test_users_come_in_pages(client: Client) -> None:
    for number in range(4):
        await client.user(f"u{number}@school.example", pb.ROLE_TEACHER)
    token, ids = "", []
    while True:
        page = await client.ListUsers(pb.ListUsersRequest(page_size=2, page_token=token))
        ids += [user.user_id for user in page.users]
        token = page.next_page_token
        if not token:
            break

    assert len(ids) == 5
    assert ids == sorted(ids)
    for bad in (pb.ListUsersRequest(page_size=1001), pb.ListUsersRequest(page_token="no token")):
        assert (await status(client.ListUsers(bad)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_that_lags_too_far_is_cut_and_others_live(settings: Settings) -> None:
    async with running(settings, revocation_backlog=2) as client, client.revocations() as following:
        call = client.stub.WatchRevocations(pb.WatchRevocationsRequest(), metadata=client.metadata)
        await call.read()
        await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))
        await following()
        for number in range(3):
            parent = await client.user(f"p{number}@school.example", pb.ROLE_GUARDIAN)
            await following()
            await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
            await following()
        await client.DeleteLearner(
            pb.DeleteLearnerRequest(learner_id="lea")
        )  # four changes at once

        async def read_on() -> None:
            while await call.read() is not grpc.aio.EOF:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(read_on(), PATIENCE_S)
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        async with client.revocations():
            pass


async def test_stopping_ends_open_streams_without_waiting_for_them(settings: Settings) -> None:
    async with running(settings, drain_s=1000.0) as client:
        call = client.stub.WatchRevocations(pb.WatchRevocationsRequest(), metadata=client.metadata)
        await call.read()
        loop_task = asyncio.create_task(call.read())
    await asyncio.wait([loop_task], timeout=PATIENCE_S)

    assert loop_task.done()
    loop_task.cancelled() or loop_task.exception()


async def test_nobody_is_served_without_the_service_credential(client: Client) -> None:
    channel_stub: auth_pb2_grpc.AuthServiceAsyncStub = client.stub

    code, _ = await status(channel_stub.GetJwks(pb.GetJwksRequest(), timeout=PATIENCE_S))

    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_no_secret_and_no_address_reaches_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(settings) as client:
        tokens = (await client.login(*ADMIN)).tokens
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        await status(client.user("ann@school.example", pb.ROLE_TEACHER))
        await status(client.login("ann@school.example", "a wrong secret"))
        await client.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token))
        await status(client.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token)))
        await client.authenticate(tokens.access_token, "garbage.garbage.garbage")

    logged = caplog.text + json.dumps([record.__dict__ for record in caplog.records], default=str)
    secrets = (
        ADMIN[0], ADMIN[1], PASSWORD, "ann@", "a wrong secret", tokens.access_token,
        tokens.refresh_token, "garbage",
    )  # fmt: skip
    assert [secret for secret in secrets if secret in logged] == []
    assert "used refresh token" in logged
