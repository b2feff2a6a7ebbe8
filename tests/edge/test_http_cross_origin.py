"""Pages of other origins: who is on the list may ask, who is not learns how to get on it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.support.http_api import Api

ELSEWHERE = "https://front.example"
OWN = "http://edge.example"


async def _preflight(api: Api, path: str, method: str, wanted: str, origin: str = ELSEWHERE) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": wanted,
    }
    return await api("OPTIONS", path, headers=headers)


@pytest.mark.parametrize(
    ("path", "method", "wanted"),
    [
        ("/api/auth/login", "POST", "content-type"),
        ("/api/auth/refresh", "POST", "content-type,idempotency-key"),
        ("/api/learners/ada/state", "GET", "authorization"),
        ("/api/learners/ada/data", "DELETE", "authorization"),
    ],
)
@pytest.mark.parametrize("allowed", [ELSEWHERE, "*"])
async def test_a_listed_page_may_ask(path: str, method: str, wanted: str, allowed: str) -> None:
    api = Api(allowed_origins=(allowed,))
    before = await _preflight(api, path, method, wanted)
    answer = await api("GET", "/api/me", token="ada", headers={"Origin": ELSEWHERE})

    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == allowed
    assert method in before.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == allowed
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("allowed", [(), ("https://other.example",)])
async def test_any_other_page_is_told_what_to_set(
    allowed: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    api = Api(allowed_origins=allowed)
    refused = [await _preflight(api, "/api/auth/login", "POST", "content-type") for _ in range(3)]
    answer = await api("GET", "/healthz", headers={"Origin": ELSEWHERE})

    for one in refused:
        assert one.status_code == 403
        assert "EDGE_ALLOWED_ORIGINS" in one.json()["detail"]
    for one in (*refused, answer):
        assert "access-control-allow-origin" not in one.headers
    (told,) = caplog.messages
    assert ELSEWHERE in told
    assert "EDGE_ALLOWED_ORIGINS" in told


async def test_the_edges_own_page_is_no_other(caplog: pytest.LogCaptureFixture) -> None:
    answer = await Api()("GET", "/healthz", headers={"Origin": OWN})

    assert answer.status_code == 200
    assert [one for one in caplog.records if one.name.startswith("edge")] == []


@pytest.mark.parametrize("path", ["/api/auth/refresh", "/api/auth/logout"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, None), (OWN, None), (ELSEWHERE, None), ("https://evil.example", 403), ("null", 403)],
)
async def test_no_other_page_renews_or_ends_a_session(
    path: str, origin: str | None, status: int | None
) -> None:
    api = Api(allowed_origins=(ELSEWHERE,))
    headers = {"Cookie": "aivo_refresh=refresh-1"} | ({"Origin": origin} if origin else {})
    answer = await api("POST", path, headers=headers)

    assert answer.status_code == (status or (200 if path.endswith("refresh") else 204))
    assert len(api.auth.calls) == (status is None)


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 200), (OWN, 200), (ELSEWHERE, 200), ("https://evil.example", 403)]
)
async def test_no_other_page_signs_its_visitor_in(origin: str | None, status: int) -> None:
    api = Api(allowed_origins=(ELSEWHERE,))
    pair = {"email": "evil@b.example", "password": "p", "cookie": True}
    answer = await api(
        "POST", "/api/auth/login", json=pair, headers={"Origin": origin} if origin else {}
    )

    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) is (status == 200)
    assert len(api.auth.calls) == (status == 200)


@pytest.mark.parametrize(
    ("scheme", "headers", "trusted", "secure"),
    [
        ("http", {}, (), False),
        ("https", {}, (), True),
        ("http", {"X-Forwarded-Proto": "https"}, (), False),
        ("http", {"X-Forwarded-Proto": "https"}, ("127.0.0.1",), True),
        ("https", {"X-Forwarded-Proto": "http"}, ("127.0.0.1",), False),
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/me", "/docs", "/nothing"])
async def test_browsers_remember_that_there_is_tls_and_connect_to_this_host_alone(
    path: str, scheme: str, headers: dict[str, str], trusted: tuple[str, ...], secure: bool
) -> None:
    api = Api(trusted_proxies=trusted)
    answer = await api("GET", path, scheme=scheme, headers=headers)
    policy = answer.headers["content-security-policy"]
    (sources,) = [one for one in policy.split("; ") if one.startswith("connect-src ")]

    assert ("strict-transport-security" in answer.headers) is secure
    assert sources == f"connect-src 'self' {'wss' if secure else 'ws'}://edge.example"


@pytest.mark.parametrize("host", ["evil.example; script-src *", "a b", "x/y", "[", ""])
async def test_no_host_that_is_none_gets_into_a_policy(host: str) -> None:
    answer = await Api()("GET", "/healthz", headers={"Host": host})

    assert answer.headers["content-security-policy"].endswith("connect-src 'self'")
