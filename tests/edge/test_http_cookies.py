"""Signing in from a page and from a program: where the tokens of a session go."""

from __future__ import annotations

import logging

import pytest

from edge.ports import UpstreamError
from tests.support.http_api import Api, problem


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_page_gets_its_refresh_token_in_a_strict_cookie_only(api: Api, scheme: str) -> None:
    body = {"email": "a@b", "password": "p", "cookie": True}
    response = await api("POST", "/api/auth/login", json=body, scheme=scheme)
    device, cookie = (one.lower() for one in response.headers.get_list("set-cookie"))

    assert not {"refresh_token", "device_token"} & response.json().keys()
    assert cookie.startswith("aivo_refresh=refresh-2;")
    assert device.startswith("aivo_device=device-1;")
    assert "max-age=3600" in cookie.split("; ")
    for one in (device, cookie):
        assert {"httponly", "path=/api/auth", "samesite=strict"} <= set(one.split("; "))
        assert ("secure" in one.split("; ")) is (scheme == "https")
    assert response.headers["cache-control"] == "no-store"


async def test_a_program_gets_its_refresh_token_in_the_answer(api: Api) -> None:
    response = await api("POST", "/api/auth/login", json={"email": "a@b", "password": "p"})

    assert response.json()["refresh_token"] == "refresh-2"
    assert response.json()["device_token"] == "device-1"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("way", ["cookie", "body"])
async def test_a_device_shows_that_it_was_here_before(api: Api, way: str) -> None:
    body = {"email": "a@b", "password": "p"} | ({"device_token": "old"} if way == "body" else {})
    headers = {"Cookie": "aivo_device=old"} if way == "cookie" else {}
    await api("POST", "/api/auth/login", json=body, headers=headers)

    assert api.auth.calls[-1][-1] == "old"


async def test_a_refresh_goes_the_way_it_came(api: Api) -> None:
    by_cookie = await api("POST", "/api/auth/refresh", headers={"Cookie": "aivo_refresh=one"})
    by_body = await api("POST", "/api/auth/refresh", json={"refresh_token": "two"})

    assert "refresh_token" not in by_cookie.json()
    assert "aivo_refresh=refresh-2" in by_cookie.headers["set-cookie"]
    assert by_body.json()["refresh_token"] == "refresh-2"
    assert "set-cookie" not in by_body.headers
    assert api.auth.calls == [("refresh", "one", ""), ("refresh", "two", "")]


@pytest.mark.parametrize("debug", [True, False])
async def test_for_debugging_every_request_is_logged_without_its_query(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await Api(debug=debug)("GET", "/healthz?token=secret")

    told = [
        (line.method, line.path, line.status)
        for line in caplog.records
        if line.name == "edge.http.debug"
    ]
    assert told == ([("GET", "/healthz", 200)] if debug else [])
    assert "secret" not in str(
        [line.__dict__ for line in caplog.records if line.name.startswith("edge")]
    )


async def test_a_refresh_is_known_again_by_a_key_that_cannot_be_guessed(api: Api) -> None:
    key = "0198f3a2-7c1d-7000-8000-000000000001"
    cookie = {"Cookie": "aivo_refresh=one"}
    assert (
        await api("POST", "/api/auth/refresh", headers=cookie | {"Idempotency-Key": key})
    ).status_code == 200
    problem(
        await api("POST", "/api/auth/refresh", headers=cookie | {"Idempotency-Key": "1"}),
        422,
        "bad_request",
    )

    assert api.auth.calls == [("refresh", "one", key)]


async def test_a_refresh_token_that_does_not_work_is_taken_from_the_browser(api: Api) -> None:
    problem(await api("POST", "/api/auth/refresh"), 401, "unauthenticated")
    api.auth.fault = UpstreamError("unauthenticated", "Log in again.")
    response = await api("POST", "/api/auth/refresh", headers={"Cookie": "aivo_refresh=old"})
    problem(response, 401, "unauthenticated")
    assert "max-age=0" in response.headers["set-cookie"].lower()
    api.auth.fault = UpstreamError("unavailable", "Later.")
    kept = await api("POST", "/api/auth/refresh", headers={"Cookie": "aivo_refresh=good"})

    assert "set-cookie" not in kept.headers


async def test_logging_out_ends_the_session_and_the_cookie(api: Api) -> None:
    response = await api(
        "POST", "/api/auth/logout", token="t", headers={"Cookie": "aivo_refresh=r"}
    )

    assert (response.status_code, api.auth.calls) == (204, [("logout", "r", "t")])
    assert "max-age=0" in response.headers["set-cookie"].lower()
