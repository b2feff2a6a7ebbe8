"""Tokens of other issuers: who is let in, as whom, and everybody else is refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service import asking
from auth_service.settings import Settings
from auth_service.tokens import BadTokenError
from auth_service.tokens import remote_keys as remote_keys_module
from auth_service.tokens.remote_keys import REFRESH_S, RETRY_S, RemoteKeys
from auth_service.trusted_issuers import TrustError, read_trusted
from tests.auth_service.harness import Client, Clock, running
from tests.auth_service.issuer import NAME, Issuer, serving


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(Issuer()) as issuer:
        yield issuer


@dataclass
class School:
    client: Client
    issuer: Issuer

    async def whose(self, token: str) -> pb.Identity:
        [answer] = await self.client.authenticate(token)
        assert answer.HasField("identity"), answer.error
        return answer.identity

    async def refused(self, token: str) -> str:
        [answer] = await self.client.authenticate(token)
        assert not answer.HasField("identity")
        return answer.error


@pytest.fixture
async def school(settings: Settings, issuer: Issuer, tmp_path: Path) -> AsyncIterator[School]:
    path = tmp_path / "issuers.toml"
    path.write_text(issuer.configured())
    async with running(settings, trusted_issuers=path) as client:
        yield School(client, issuer)


def _unsigned(token: str, **header: Any) -> str:
    _, body, signature = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def _confused(issuer: Issuer) -> str:
    """Return a token whose shared secret is the public key that everybody knows."""
    secret = base64.urlsafe_b64decode(issuer.jwks[0]["x"] + "=")
    content = {
        "iss": NAME,
        "aud": "aivo-api",
        "sub": "u-1",
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
    }
    return jwt.encode(content, secret, "HS256", headers={"kid": "ed", "typ": "at+jwt"})


NOW = int(time.time())

REFUSED = {
    "another audience": lambda issuer: issuer.token(aud="another-api"),
    "no audience": lambda issuer: issuer.token(without=("aud",)),
    "another issuer": lambda issuer: issuer.token(iss="https://elsewhere.example"),
    "no end": lambda issuer: issuer.token(without=("exp",)),
    "over": lambda issuer: issuer.token(exp=NOW - 60),
    "not yet": lambda issuer: issuer.token(nbf=NOW + 3600),
    "issued tomorrow": lambda issuer: issuer.token(iat=NOW + 86_400, exp=NOW + 90_000),
    "milliseconds": lambda issuer: issuer.token(exp=(NOW + 600) * 1000),
    "an end in text": lambda issuer: issuer.claiming(exp=str(NOW + 600)),
    "an end that is true": lambda issuer: issuer.claiming(exp=True),
    "no number": lambda issuer: issuer.claiming(exp=float("nan")),
    "half a character": lambda issuer: issuer.claiming(sub="u-\ud800"),
    "no character": lambda issuer: issuer.token("u-\0"),
    "an unknown extension": lambda issuer: issuer.token(header={"crit": ["x"], "x": 1}),
    "a key of its own": lambda issuer: issuer.token(header={"jwk": issuer.jwks[0], "kid": "x"}),
    "no subject": lambda issuer: issuer.token(without=("sub",)),
    "empty subject": lambda issuer: issuer.token(""),
    "endless subject": lambda issuer: issuer.token("x" * 256),
    "an ID token by type": lambda issuer: issuer.token(header={"typ": "JWT"}),
    "an ID token by nonce": lambda issuer: issuer.token(nonce="abc"),
    "no type": lambda issuer: issuer.token(header={"typ": None}),
    "no key id": lambda issuer: issuer.token(header={"kid": ""}),
    "unknown key": lambda issuer: issuer.token(header={"kid": "unheard"}),
    "algorithm none": lambda issuer: _unsigned(issuer.token(), alg="none", kid="ed", typ="at+jwt"),
    "a public key as secret": _confused,
    "algorithm of another key": lambda issuer: _unsigned(
        issuer.token(), alg="RS256", kid="ed", typ="at+jwt"
    ),
    "signature of another": lambda issuer: (
        issuer.token("u-1").rsplit(".", 1)[0] + "." + issuer.token("u-2").rsplit(".", 1)[1]
    ),
    "an id that is none": lambda issuer: issuer.token(school={"learners": ["no good id"]}),
    "too many ids": lambda issuer: issuer.token(school={"learners": [f"l{n}" for n in range(65)]}),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_is_refused_and_nobody_appears(
    school: School, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = REFUSED[what](school.issuer)

    error = await school.refused(token)

    users = await school.client.ListUsers(pb.ListUsersRequest())
    assert len(users.users) == 1
    assert token.split(".")[1] not in error + caplog.text


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_tokens_of_each_algorithm_are_accepted(
    settings: Settings, issuer: Issuer, tmp_path: Path, algorithm: str
) -> None:
    issuer.add("another", algorithm)
    (tmp_path / "keys.jwks").write_text(json.dumps({"keys": issuer.jwks}))
    path = tmp_path / "issuers.toml"
    path.write_text(issuer.configured(jwks="keys.jwks"))
    async with running(settings, trusted_issuers=path) as client:
        [answer] = await client.authenticate(issuer.token(kid="another"))
    assert answer.identity.role == pb.ROLE_LEARNER
    assert issuer.fetches == 0


async def test_people_appear_with_what_their_claims_give_and_no_more(school: School) -> None:
    for class_id in ("maths", "music"):
        await school.client.CreateClass(pb.CreateClassRequest(class_id=class_id))
    pupil = await school.whose(
        school.issuer.token(
            "pupil",
            groups=["pupils"],
            name="Ada",
            school={"learners": ["l-ada"], "classes": ["maths", "unheard"]},
        )
    )
    teacher = await school.whose(
        school.issuer.token("teacher", groups=["staff"], school={"classes": ["maths"]})
    )
    guardian = await school.whose(
        school.issuer.token("parent", groups=["parents"], school={"learners": ["l-ada", "l-x"]})
    )
    stranger = await school.whose(school.issuer.token("other", groups=["cleaners"]))

    may = school.client.allowed
    assert list(pupil.own_learners) == ["l-ada"]
    assert pupil.display_name == "Ada"
    assert await may(teacher.user_id, pb.ACTION_WATCH, "l-ada")
    assert not await may(teacher.user_id, pb.ACTION_INTERACT, "l-ada")
    assert await may(guardian.user_id, pb.ACTION_WATCH, "l-ada")
    assert not await may(guardian.user_id, pb.ACTION_WATCH, "l-x")
    assert not await may(stranger.user_id, pb.ACTION_WATCH, "l-ada")
    assert not await may(teacher.user_id, pb.ACTION_ADMINISTER, "")


async def test_a_later_token_takes_back_what_it_no_longer_says(school: School) -> None:
    now = int(time.time())
    await school.client.CreateLearner(pb.CreateLearnerRequest(learner_id="l-1"))
    first = school.issuer.token("p", iat=now - 20, groups=["parents"], school={"learners": ["l-1"]})
    later = school.issuer.token("p", iat=now - 10, groups=["parents"], school={"learners": []})
    who = await school.whose(first)
    assert await school.client.allowed(who.user_id, pb.ACTION_WATCH, "l-1")

    async with school.client.revocations() as following:
        assert (await school.whose(later)).user_id == who.user_id
        assert [one.user_id for one in await following()] == [who.user_id]

    assert not await school.client.allowed(who.user_id, pb.ACTION_WATCH, "l-1")
    await school.whose(first)  # the older one, shown again
    assert not await school.client.allowed(who.user_id, pb.ACTION_WATCH, "l-1")


async def test_a_later_token_takes_the_role_along(school: School) -> None:
    now = int(time.time())
    assert (
        await school.whose(school.issuer.token("t", iat=now - 20, groups=["staff"]))
    ).role == pb.ROLE_TEACHER
    later = await school.whose(school.issuer.token("t", iat=now - 10, groups=["pupils"]))
    assert later.role == pb.ROLE_LEARNER


async def test_the_disabled_and_those_who_left_are_refused(school: School) -> None:
    token, other = school.issuer.token("u"), school.issuer.token("u", jti="another")
    who = await school.whose(token)
    async with school.client.revocations() as following:
        await school.client.Logout(pb.LogoutRequest(access_token=token))
        [revoked] = await following()
    assert revoked.session_id == who.session_id
    assert await school.refused(token) == "the session of the access token is over"

    assert (await school.whose(other)).session_id != who.session_id
    await school.client.SetUserDisabled(
        pb.SetUserDisabledRequest(user_id=who.user_id, disabled=True)
    )
    assert await school.refused(other) == "the session of the access token is over"


async def test_renewals_stay_in_the_providers_session(school: School) -> None:
    first = await school.whose(school.issuer.token("u", sid="s-1"))
    renewed = await school.whose(school.issuer.token("u", sid="s-1", exp=int(time.time()) + 1200))
    another = await school.whose(school.issuer.token("u", sid="s-2"))
    assert first.session_id == renewed.session_id != another.session_id
    assert renewed.expires_at_ms > first.expires_at_ms


async def test_only_the_known_come_in_where_nobody_is_made(
    settings: Settings, issuer: Issuer, tmp_path: Path
) -> None:
    path = tmp_path / "issuers.toml"
    path.write_text(issuer.configured(create=False, link_by_email=True))
    async with running(settings, trusted_issuers=path) as client:
        user_id = await client.user("ada@school.example", pb.ROLE_GUARDIAN)
        school = School(client, issuer)

        known = await school.whose(issuer.token("u-1", email="ADA@school.example"))
        assert (known.user_id, known.role) == (user_id, pb.ROLE_GUARDIAN)
        assert "belongs to nobody known here" in await school.refused(
            issuer.token("u-2", email="eve@school.example")
        )
        # A provider where anybody may claim an address makes nobody an administrator.
        await school.refused(issuer.token("u-3", email=settings.bootstrap_admin_email))
        for number, verified in enumerate((False, "false", "False", "no", 0, None, [])):
            await school.refused(
                issuer.token(f"v-{number}", email="ada@school.example", email_verified=verified)
            )
        told = issuer.token("u-5", email="ada@school.example", email_verified="true")
        assert (await school.whose(told)).user_id == user_id


async def test_nobodys_password_opens_who_appeared(school: School) -> None:
    await school.whose(school.issuer.token("u", email="ada@school.example"))
    with pytest.raises(Exception, match="the e-mail address or the password is wrong"):
        await school.client.login("ada@school.example", "")


class TestKeys:
    async def test_new_ones_are_fetched_but_not_at_every_call(
        self, issuer: Issuer, clock: Clock
    ) -> None:
        keys = RemoteKeys(issuer.address, clock)
        await keys.key("ed", "EdDSA")
        for _ in range(50):
            with pytest.raises(BadTokenError):
                await keys.key("unheard", "EdDSA")
        assert issuer.fetches == 1
        issuer.add("new", "ES256")
        clock.now_s += RETRY_S
        await keys.key("new", "ES256")
        assert issuer.fetches == 2

    async def test_known_ones_go_on_while_the_provider_is_down(
        self, issuer: Issuer, clock: Clock
    ) -> None:
        keys = RemoteKeys(issuer.address, clock)
        await keys.load()
        issuer.up = False
        clock.now_s += REFRESH_S
        await keys.load()
        assert issuer.fetches == 2
        await keys.key("ed", "EdDSA")

    async def test_those_taken_back_are_forgotten(self, issuer: Issuer, clock: Clock) -> None:
        issuer.add("other", "ES256")
        keys = RemoteKeys(issuer.address, clock)
        await keys.key("ed", "EdDSA")
        issuer.drop("ed")
        await keys.load()
        with pytest.raises(BadTokenError):
            await keys.key("ed", "EdDSA")

    async def test_a_slow_provider_holds_nobody_up_for_long(
        self, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote_keys_module, "_WAIT_S", 0.01)
        release = threading.Event()
        issuer.behaves = lambda _: release.wait(20) and None
        keys = RemoteKeys(issuer.address, clock)
        with pytest.raises(BadTokenError):
            await keys.key("ed", "EdDSA")
        assert not release.is_set()
        release.set()
        await keys.load()

    async def test_an_answer_that_never_ends_is_given_up_and_asked_for_again(
        self, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asking, "PATIENCE_S", 0.2)
        over = threading.Event()

        def drip(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            with contextlib.suppress(OSError):
                while not over.wait(0.01):
                    handler.wfile.write(b" ")

        issuer.behaves = drip
        keys = RemoteKeys(issuer.address, clock)
        async with asyncio.timeout(10):
            await keys.load()
        over.set()
        issuer.behaves = None
        monkeypatch.undo()
        clock.now_s += RETRY_S
        await keys.key("ed", "EdDSA")

    @pytest.mark.parametrize("what", ["elsewhere", "endless", "a list", "no keys", "nothing"])
    async def test_other_answers_leave_those_known(
        self, issuer: Issuer, clock: Clock, what: str
    ) -> None:
        keys = RemoteKeys(issuer.address, clock)
        await keys.load()
        followed: list[str] = []

        def behave(handler: BaseHTTPRequestHandler) -> None:
            followed.append(handler.path)
            handler.send_response(302 if what == "elsewhere" else 200)
            handler.send_header("Location", "/others")
            handler.end_headers()
            body = {
                "endless": b" " * (asking.MOST_BYTES + 1) + b'{"keys": []}',
                "a list": b"[1]",
                "no keys": b'{"keys": [{"kty": "oct", "kid": "ed", "k": "c2VjcmV0"}]}',
            }
            with contextlib.suppress(OSError):
                handler.wfile.write(body.get(what, b""))

        issuer.behaves = behave
        await keys.load()
        assert followed == ["/jwks"]
        assert (await keys.key("ed", "EdDSA")).key_type == "OKP"

    @pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
    async def test_one_serves_its_own_algorithm_only(
        self, issuer: Issuer, clock: Clock, algorithm: str
    ) -> None:
        keys = RemoteKeys(issuer.address, clock)
        with pytest.raises(BadTokenError):
            await keys.key("ed", algorithm)

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"issuer": "aivo"}, "a name of its own, other than AUTH_ISSUER"),
        ({"jwks": "http://id.school.example/jwks"}, "must be an https address"),
        ({"algorithms": ["HS256"]}, "`algorithms` must be of"),
        ({"algorithms": []}, "`algorithms` must be of"),
        ({"default_role": "admin"}, "another issuer cannot make administrators"),
        ({"default_role": "king"}, "a role must be one of"),
        ({"audiences": []}, "`audiences` is missing"),
        ({"audiences": "aivo"}, "`audiences` must be a list of strings"),
        ({"create": "yes"}, "`create` must be a bool"),
        ({"colour": "red"}, "`colour` is unknown"),
        ({"leeway_s": 3600}, "`leeway_s` must be"),
    ],
)
def test_a_file_that_cannot_work_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "issuers.toml"
    path.write_text(Issuer().configured(**{"jwks": "keys.jwks", **change}))
    with pytest.raises(TrustError, match=sentence):
        read_trusted(path, own_issuer="aivo")
