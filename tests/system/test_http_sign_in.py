"""The HTTP API of a real stack: signing in, staying signed in, signing out."""

from __future__ import annotations

import time
import uuid
from http.cookies import SimpleCookie
from typing import Any

import jwt
import pytest

from tests.support.school import PASSWORD, School, request
from tests.system.test_http import Answer, assert_problem, call


def refresh_cookie(answer: Answer) -> Any:
    """Return the cookie that an answer sets for renewing the session."""
    return SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie")))["aivo_refresh"]


def test_login_answers_with_both_tokens(school: School) -> None:
    credentials = {"email": "Teacher@school.example", "password": PASSWORD}
    answer = call(school, "POST", "/api/auth/login", credentials)
    tokens = answer.json
    school.secrets.update((tokens["access_token"], tokens["refresh_token"]))

    assert answer.status == 200
    assert set(tokens) >= {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "email", ["teacher@school.example", "nobody@school.example", "not an address"]
)
def test_a_wrong_pair_is_refused_with_the_same_words(school: School, email: str) -> None:
    answer = call(school, "POST", "/api/auth/login", {"email": email, "password": "wrong password"})

    assert_problem(answer, 401, "unauthenticated")
    assert answer.json["detail"] == "The address or password is wrong."
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(school: School) -> None:
    first = school.login("stranger")
    second = call(
        school, "POST", "/api/auth/refresh", {"refresh_token": first["refresh_token"]}
    ).json
    school.secrets.update((second["access_token"], second["refresh_token"]))
    third = call(
        school, "POST", "/api/auth/refresh", {"refresh_token": second["refresh_token"]}
    ).json
    school.secrets.update((third["access_token"], third["refresh_token"]))

    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert request(school.stack, "GET", "/api/me", token=third["access_token"])[0] == 200
    for stale in (first, third):  # the thief's, and from then on the newest of the session too
        answer = call(
            school, "POST", "/api/auth/refresh", {"refresh_token": stale["refresh_token"]}
        )
        assert_problem(answer, 401, "unauthenticated")
    assert request(school.stack, "GET", "/api/me", token=third["access_token"])[0] == 401


def test_a_page_keeps_its_refresh_token_in_a_cookie_that_scripts_cannot_read(
    school: School,
) -> None:
    credentials = {"email": "stranger@school.example", "password": PASSWORD, "cookie": True}
    opened = call(school, "POST", "/api/auth/login", credentials)
    cookie = refresh_cookie(opened)
    renewed = call(
        school, "POST", "/api/auth/refresh", headers={"Cookie": f"aivo_refresh={cookie.value}"}
    )
    next_cookie = refresh_cookie(renewed)
    reused = call(
        school, "POST", "/api/auth/refresh", headers={"Cookie": f"aivo_refresh={cookie.value}"}
    )
    school.secrets.update((cookie.value, next_cookie.value, renewed.json["access_token"]))

    assert "refresh_token" not in opened.json
    assert "refresh_token" not in renewed.json
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (
        True,
        "strict",
        "/api/auth",
    )
    assert next_cookie.value != cookie.value
    assert_problem(reused, 401, "unauthenticated")
    assert refresh_cookie(reused).value == ""


def test_a_logout_ends_the_session_and_takes_the_cookie(school: School) -> None:
    credentials = {"email": "stranger@school.example", "password": PASSWORD, "cookie": True}
    opened = call(school, "POST", "/api/auth/login", credentials)
    cookie = {"Cookie": f"aivo_refresh={refresh_cookie(opened).value}"}
    left = call(school, "POST", "/api/auth/logout", headers=cookie)

    assert left.status == 204
    assert refresh_cookie(left).value == ""
    assert_problem(
        call(school, "POST", "/api/auth/refresh", headers=cookie), 401, "unauthenticated"
    )
    assert request(school.stack, "GET", "/api/me", token=opened.json["access_token"])[0] == 401


def test_guessing_passwords_is_slowed_with_the_time_to_wait(school: School) -> None:
    name = f"u-{uuid.uuid4().hex[:12]}"
    school.registry.add_user(f"{name}@school.example", PASSWORD, "guardian")
    answers = [
        call(
            school,
            "POST",
            "/api/auth/login",
            {"email": f"{name}@school.example", "password": f"guess {number}"},
        )
        for number in range(12)
    ]

    assert [answer.status for answer in answers[:10]] == [401] * 10
    assert_problem(answers[-1], 429, "rate_limited")
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_the_published_keys_verify_tokens(school: School) -> None:
    token = school.token("teacher")
    answer = call(school, "GET", "/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(answer.json)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token, key.key, algorithms=["EdDSA"], issuer="aivo", options={"verify_aud": False}
    )

    assert claims["sub"] == school.user_id("teacher")
    assert 0 < claims["exp"] - time.time() <= 900
    assert all("d" not in one for one in answer.json["keys"])
    head, body, signature = token.split(".")
    forged = f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, key.key, algorithms=["EdDSA"], options={"verify_aud": False})
