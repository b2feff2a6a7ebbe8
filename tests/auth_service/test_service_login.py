"""Signing in at the running service: how it fails, and how guessing is slowed."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import grpc
import jwt
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service.passwords import Passwords
from auth_service.settings import Settings
from tests.auth_service.harness import ADMIN, PASSWORD, PATIENCE_S, SCHOOL, Client, running, status


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

    async def verify(self: Passwords, password: str, *rest: Any, **how: Any) -> bool:
        verified.append(password)
        return await original(self, password, *rest, **how)

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
