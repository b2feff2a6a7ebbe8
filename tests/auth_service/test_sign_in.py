"""Signing in at a provider: a real one, which a test starts, and a browser that goes there."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import grpc
import httpx
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service.__main__ import main
from auth_service.settings import Settings
from auth_service.trusted_issuers import TrustError, read_trusted
from tests.auth_service.harness import Client, running
from tests.support.provider import running_provider

BACK = "http://127.0.0.1:9/api/auth/callback"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A provider for all tests here."""
    with running_provider() as address:
        yield address


def configured(provider: str) -> str:
    return (
        f'[[issuers]]\nissuer = "{provider}"\naudiences = ["aivo-api"]\n'
        f'jwks = "{provider}/jwks"\ndefault_role = "teacher"\ncreate = true\n'
        '[issuers.sign_in]\nid = "school"\nlabel = "Sign in with school"\nclient_id = "aivo"\n'
        'client_secret_file = "client.secret"\n'
    )


@pytest.fixture
async def client(settings: Settings, provider: str, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "client.secret").write_text("a secret of the client\n")
    path = tmp_path / "issuers.toml"
    path.write_text(configured(provider))
    async with running(settings, trusted_issuers=path, passwords=False) as client:
        yield client


@dataclass
class Back:
    """What a browser brings back."""

    flow: str
    state: str
    code: str
    address: str

    def request(self, **changes: str) -> pb.FinishSignInRequest:
        fields = {"flow": self.flow, "state": self.state, "code": self.code, "redirect_uri": BACK}
        return pb.FinishSignInRequest(**(fields | changes))


async def go(client: Client, subject: str = "tess@school.example") -> Back:
    """Begin, and let somebody sign in at the provider."""
    begun = await client.BeginSignIn(pb.BeginSignInRequest(provider_id="school", redirect_uri=BACK))
    async with httpx.AsyncClient() as browser:
        answer = await browser.post(begun.address, data={"sub": subject})
    assert answer.status_code in (302, 303), answer.text
    brought = parse_qs(urlsplit(answer.headers["location"]).query)
    return Back(begun.flow, brought["state"][0], brought["code"][0], begun.address)


async def refused(client: Client, request: pb.FinishSignInRequest) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await client.FinishSignIn(request)
    assert "tess" not in str(told.value.details())
    return told.value.code()


async def test_somebody_signs_in_at_the_provider_and_has_a_session_of_ours(client: Client) -> None:
    back = await go(client)
    granted = await client.FinishSignIn(back.request())

    [answer] = await client.authenticate(granted.tokens.access_token)
    assert answer.identity.user_id == granted.user.user_id
    assert answer.identity.role == pb.ROLE_TEACHER
    assert granted.provider_id == "school"
    renewed = await client.Refresh(pb.RefreshRequest(refresh_token=granted.tokens.refresh_token))
    assert renewed.user == granted.user
    again = await client.FinishSignIn((await go(client)).request())
    assert again.user.user_id == granted.user.user_id


async def test_every_sign_in_is_in_the_audit_log_and_no_refusal(
    client: Client, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    granted = await client.FinishSignIn((await go(client)).request())
    await refused(client, (await go(client)).request(code="guessed"))

    environ = {
        "AUTH_DATABASE_URL": settings.database_url,
        "AUTH_KEY_FILE": str(settings.key_file),
    }
    printed = io.StringIO()
    await asyncio.to_thread(main, ["audit", "--sign-ins"], environ, io.StringIO(), printed)
    [entry] = [json.loads(line) for line in printed.getvalue().splitlines()]
    assert (entry["actor"], entry["action"], entry["detail"]) == (
        *(granted.user.user_id, "sign-in", "provider school"),
    )


async def test_the_browser_is_sent_with_state_nonce_and_a_challenge(client: Client) -> None:
    one, other = (await go(client)).address, (await go(client)).address
    first, second = (parse_qs(urlsplit(each).query) for each in (one, other))
    assert first["response_type"] == ["code"]
    assert first["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert re.fullmatch(r"[\w-]{32,}", first[name][0])


async def test_what_was_not_begun_here_is_refused(client: Client) -> None:
    mine, other = await go(client), await go(client)
    provider_id, state, until, seal = mine.flow.split(".")
    for request in (
        mine.request(flow=""),
        mine.request(flow="a.b.c.d"),
        mine.request(flow=other.flow),  # a code slipped to another browser
        mine.request(state=other.state),
        mine.request(state=""),
        mine.request(flow=f"{provider_id}.{state}.{int(until) + 60}.{seal}"),
        other.request(flow=mine.flow, state=mine.state),  # the verifier is another's
        other.request(code="guessed"),
    ):
        assert await refused(client, request) is grpc.StatusCode.UNAUTHENTICATED
    await client.FinishSignIn(mine.request())
    assert await refused(client, mine.request()) is grpc.StatusCode.UNAUTHENTICATED  # used up


async def test_the_disabled_do_not_come_in(client: Client) -> None:
    granted = await client.FinishSignIn((await go(client)).request())
    await client.SetUserDisabled(
        pb.SetUserDisabledRequest(user_id=granted.user.user_id, disabled=True)
    )
    assert await refused(client, (await go(client)).request()) is grpc.StatusCode.UNAUTHENTICATED


async def test_passwords_can_be_switched_off(client: Client, settings: Settings) -> None:
    listed = await client.ListProviders(pb.ListProvidersRequest())
    assert (listed.passwords, [one.label for one in listed.providers]) == (
        False,
        ["Sign in with school"],
    )
    with pytest.raises(grpc.aio.AioRpcError, match="passwords are switched off"):
        await client.login(
            str(settings.bootstrap_admin_email), str(settings.bootstrap_admin_password)
        )


async def test_logout_leads_to_the_provider(client: Client, provider: str) -> None:
    request = pb.GetLogoutAddressRequest(provider_id="school", return_to="http://127.0.0.1:9/")
    address = (await client.GetLogoutAddress(request)).address
    assert address.startswith(provider)
    assert parse_qs(urlsplit(address).query)["client_id"] == ["aivo"]
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await client.GetLogoutAddress(pb.GetLogoutAddressRequest(provider_id="other"))
    assert told.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_provider_that_is_down_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "client.secret").write_text("secret")
    path = tmp_path / "issuers.toml"
    path.write_text(configured("http://localhost:9"))
    async with running(settings, trusted_issuers=path) as client:
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await client.BeginSignIn(pb.BeginSignInRequest(provider_id="school"))
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('id = "school"', 'id = "The School"', "`id` must be"),
        ('client_id = "aivo"', "", "`client_id` is missing"),
        ("client.secret", "nowhere", "there is no `client_secret_file`"),
    ],
)
def test_a_file_that_cannot_work_is_refused(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    (tmp_path / "client.secret").write_text("secret")
    path = tmp_path / "issuers.toml"
    path.write_text(configured("https://id.school.example").replace(old, new))
    with pytest.raises(TrustError, match=sentence):
        read_trusted(path, own_issuer="aivo")
