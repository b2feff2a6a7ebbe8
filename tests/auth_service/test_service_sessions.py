"""Sessions at the running service: refreshed, lost, and ended everywhere."""

from __future__ import annotations

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service.settings import Settings
from tests.auth_service.harness import ADMIN, OVER, Client, running, status

REQUEST_ID = "0198f3a2-7c1d-7000-8000-000000000001"


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
