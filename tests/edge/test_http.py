"""The HTTP API: who gets in, what is answered, and how it is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.frames.codes import RETRYABLE
from edge.http import STATUSES, requests
from edge.http.requests import MAX_BODY_BYTES
from edge.ports import UpstreamError
from tests.support.http_api import Api, problem


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder with a built page."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>Hello</h1>")
    return folder


GUARDED = [
    ("GET", "/api/me"),
    ("GET", "/api/learners"),
    ("GET", "/api/learners/ada/state"),
    ("GET", "/api/learners/ada/history"),
    ("GET", "/api/learners/ada/export"),
    ("DELETE", "/api/learners/ada/data"),
    ("GET", "/api/websocket/metrics"),
    ("GET", "/api/websocket/status"),
    ("GET", "/api/websocket/analytics"),
    ("GET", "/api/websocket/metrics/stream"),
    ("POST", "/api/xapi/statements"),
]
ADMINISTRATIVE = [GUARDED[4], GUARDED[5], GUARDED[6], *GUARDED[8:10]]


def test_every_path_of_the_api_is_guarded_or_known_to_be_open(api: Api) -> None:
    open_paths = {
        "/api/auth/login",
        "/api/auth/refresh",
        "/api/auth/logout",
        "/api/auth/providers",
        "/api/auth/providers/{provider_id}/start",
        "/api/auth/providers/{provider_id}/logout",
        "/api/auth/callback",
    }
    paths = {path for path in api.transport.app.openapi()["paths"] if path.startswith("/api/")}  # type: ignore[attr-defined]

    assert paths == {path.replace("/ada/", "/{learner_id}/") for _, path in GUARDED} | open_paths


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer nobody", "nobody"]
)
async def test_nobody_gets_in_without_a_good_token(
    api: Api, method: str, path: str, header: str
) -> None:
    response = await api(method, path, headers={"Authorization": header} if header else {})

    problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "nobody" not in response.text


@pytest.mark.parametrize(("method", "path"), [*ADMINISTRATIVE, GUARDED[2], GUARDED[3]])
async def test_nobody_does_what_is_not_allowed(api: Api, method: str, path: str) -> None:
    problem(await api(method, path, token="ben"), 403, "forbidden")
    assert api.auth.calls == []


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_who_may_is_answered(api: Api, method: str, path: str) -> None:
    body = {"json": []} if method == "POST" else {}
    response = await api(method, path, token="admin", **body)

    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"


async def test_answers_say_what_the_frames_say(api: Api) -> None:
    api.brain.revisions["ada"] = 3
    state = (await api("GET", "/api/learners/ada/state", token="ada")).json()
    history = (
        await api("GET", "/api/learners/ada/history?newest=true&limit=5", token="ada")
    ).json()
    brief = (await api("GET", "/api/learners/ada/history?brief=true", token="ada")).json()
    export = await api("GET", "/api/learners/ada/export", token="admin")
    erased = (await api("DELETE", "/api/learners/ada/data", token="admin")).json()

    assert (state["revision"], state["state"]["fatigue_level"]) == (3, 0.4)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", state["timestamp"])
    assert history["entries"][0]["state"] == state["state"]
    assert history["entries"][0]["crossings"][0]["name"] == "load"
    assert brief["entries"] == [
        {
            "revision": 1,
            "type": "practice",
            "occurred_at": history["entries"][0]["occurred_at"],
            "correct": True,
            "accuracy": state["performance"]["accuracy"],
        }
    ]
    assert export.text == '{"a":1}\n{"a":2}\n'
    assert export.headers["content-disposition"] == 'attachment; filename="ada.jsonl"'
    assert erased == {"learner_id": "ada", "interactions_erased": 7, "records_erased": 3}
    assert api.metrics.erased == ["ada"]


async def test_an_erasure_that_stopped_halfway_can_be_repeated(api: Api) -> None:
    api.metrics.fault = UpstreamError("unavailable", "One sentence.", retry_after_ms=1000)
    first = await api("DELETE", "/api/learners/ada/data", token="admin")
    api.metrics.fault = None
    api.auth.fault = UpstreamError("not_found", "There is no such learner.")
    second = await api("DELETE", "/api/learners/ada/data", token="admin")

    problem(first, 503, "unavailable")
    assert (second.status_code, second.json()["records_erased"]) == (200, 3)


async def test_an_erasure_says_when_auth_fails(api: Api) -> None:
    api.auth.fault = UpstreamError("unavailable", "One sentence.")

    problem(await api("DELETE", "/api/learners/ada/data", token="admin"), 503, "unavailable")


# Errors


@pytest.mark.parametrize("code", sorted(set(RETRYABLE) - {"unknown_type"}))
async def test_every_error_of_the_protocol_becomes_a_problem(api: Api, code: str) -> None:
    api.brain.fault = UpstreamError(code, "One sentence.", retry_after_ms=1500)
    response = await api("GET", "/api/learners/ada/export", token="admin")

    assert problem(response, STATUSES[code], code)["detail"] == "One sentence."
    assert response.headers["retry-after"] == "2"


async def test_a_fault_says_nothing_of_itself(api: Api) -> None:
    api.auth.fault = ZeroDivisionError("hunter2")
    response = await api("POST", "/api/auth/login", json={"email": "a", "password": "b"})

    problem(response, 500, "internal")
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/api/me/", 404, "not_found"),
        ("PUT", "/api/me", 405, "bad_request"),
        ("GET", "/ws", 426, "bad_request"),
        ("GET", "/ws/", 404, "not_found"),
        ("GET", "/api/learners/a%20b/state", 422, "bad_request"),
        ("GET", f"/api/learners/{'x' * 129}/state", 422, "bad_request"),
        ("GET", "/api/learners/ada/history?limit=0", 422, "bad_request"),
        ("GET", "/api/learners/ada/history?after=-1", 422, "bad_request"),
    ],
)
async def test_bad_requests_are_problems_too(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    problem(await api(method, path, token="ada"), status, code)


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"email":"hunter2"}', '{"email":["hunter2"],"password":"hunter2"}']
)
async def test_a_bad_login_is_explained_without_repeating_it(api: Api, body: str) -> None:
    response = await api(
        "POST", "/api/auth/login", content=body, headers={"Content-Type": "application/json"}
    )

    problem(response, 422, "bad_request")
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/api/auth/login", "POST"), ("POST", "/healthz", "GET, HEAD")],
)
async def test_a_wrong_method_is_told_as_such_with_the_page_there_too(
    page: Path, method: str, path: str, allowed: str
) -> None:
    response = await Api(page)(method, path)

    problem(response, 405, "bad_request")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_what_is_not_called_json_is_refused_for_that(api: Api, kind: str) -> None:
    body = '{"email":"a@b","password":"hunter2"}'
    response = await api("POST", "/api/auth/login", content=body, headers={"Content-Type": kind})

    assert "application/json" in problem(response, 415, "bad_request")["detail"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/auth/refresh", "/api/auth/logout"])
async def test_a_body_is_read_as_far_as_it_may_be_large(api: Api, path: str) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 4096
            yield b" " * 4096

    response = await api(
        "POST", path, content=endless(), headers={"Content-Type": "application/json"}
    )

    problem(response, 413, "bad_request")
    assert MAX_BODY_BYTES < read <= MAX_BODY_BYTES + 8192


async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "BODY_S", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with asyncio.timeout(20):
        response = await api(
            "POST", "/api/auth/login", content=stuck(), headers={"Content-Type": "application/json"}
        )

    problem(response, 408, "bad_request")


# The description


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_the_description_says_where_the_token_goes_and_how_errors_look(
    api: Api, method: str, path: str
) -> None:
    described = api.transport.app.openapi()  # type: ignore[attr-defined]
    route = described["paths"][path.replace("/ada/", "/{learner_id}/")][method.lower()]

    assert route["security"] == [{"access_token": []}]
    assert described["components"]["securitySchemes"]["access_token"]["scheme"] == "bearer"
    assert "authorization" not in [
        one["name"] for one in route.get("parameters", [])
    ]  # tools leave that name out
    errors = route["responses"]["default"]["content"]["application/problem+json"]["schema"]
    assert set(errors["properties"]) == {"type", "title", "status", "detail", "code"}
    assert "422" not in route["responses"]


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("post", "/api/auth/login", "Tokens"),
        ("post", "/api/auth/refresh", "Tokens"),
        ("get", "/api/me", "User"),
        ("get", "/api/learners", "Learners"),
    ],
)
def test_the_description_says_what_comes_back(api: Api, method: str, path: str, model: str) -> None:
    described = api.transport.app.openapi()  # type: ignore[attr-defined]
    content = described["paths"][path][method]["responses"]["200"]["content"]

    assert content["application/json"]["schema"] == {"$ref": f"#/components/schemas/{model}"}


# Headers, health and the page


@pytest.mark.parametrize("path", ["/", "/api/me", "/healthz", "/nothing"])
async def test_every_answer_is_hardened(api: Api, path: str) -> None:
    headers = (await api("GET", path)).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )

    assert policy["default-src"] == "'self'"
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == (
        "nosniff",
        "no-referrer",
    )


async def test_readiness_says_what_is_missing(api: Api) -> None:
    async def ready() -> tuple[int, Any]:
        response = await api("GET", "/readyz")
        return response.status_code, response.json()

    assert await ready() == (200, {"status": "ready", "missing": []})
    api.brain.ready = False
    api.auth.is_open.clear()
    assert await ready() == (
        503,
        {"status": "unready", "missing": ["brain", "auth"]},
    )
    api.draining = True
    assert (await ready())[1]["status"] == "draining"
    assert (await api("GET", "/healthz")).json() == {"status": "ok"}


async def test_readiness_tells_of_clocks_that_differ_and_serves_all_the_same(api: Api) -> None:
    async def ready() -> tuple[int, Any]:
        response = await api("GET", "/readyz")
        return response.status_code, response.json()

    differ = (200, {"status": "ready", "missing": [], "clocks": "differ"})
    api.auth.skew.note(-6.0)
    assert await ready() == differ
    api.auth.skew.note(4.0)
    assert "clocks" not in (await ready())[1]
    api.brain.clocks_agree = False
    assert await ready() == differ


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/.well-known/jwks.json", "/", "/docs", "/nothing"]
)
async def test_head_is_get_without_the_body(page: Path, path: str) -> None:
    api = Api(page)
    got, headed = await api("GET", path), await api("HEAD", path)

    assert (headed.status_code, headed.headers, headed.content) == (
        got.status_code,
        got.headers,
        b"",
    )


async def test_the_description_of_the_api_needs_no_other_site(page: Path) -> None:
    api = Api(page)
    shown = await api("GET", "/docs")
    assets = re.findall(r'(?:href|src)="([^"]+)"', shown.text)

    assert len(assets) == 3
    assert [(await api("GET", asset)).status_code for asset in assets] == [200, 200, 200]
    assert re.findall(r"https?://[^\s\"']+", shown.text) == []
    assert "default-src 'self'" in shown.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in (await api("GET", "/")).headers["Content-Security-Policy"]


async def test_the_page_is_served_and_nothing_beside_it(page: Path) -> None:
    (page.parent / "secret.txt").write_text("secret")
    api = Api(page)

    assert (await api("GET", "/")).text == "<h1>Hello</h1>"
    problem(await api("GET", "/%2e%2e/secret.txt"), 404, "not_found")
    problem(await api("GET", "/api/nothing"), 404, "not_found")
    assert (await api("GET", "/.well-known/jwks.json")).json() == {"keys": []}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_the_page_is_compressed_for_who_takes_that(
    page: Path, accepted: str, coding: str | None
) -> None:
    (page / "page.js").write_text("let aivo = 1;\n" * 500)
    (page / "picture.png").write_bytes(b"\x89PNG" * 500)
    api, headers = Api(page), {"Accept-Encoding": accepted}
    script = await api("GET", "/page.js", headers=headers)
    picture = await api("GET", "/picture.png", headers=headers)

    assert script.text == "let aivo = 1;\n" * 500
    assert script.headers.get("content-encoding") == coding
    assert "Accept-Encoding" in script.headers["vary"]
    assert (int(script.headers["content-length"]) < 200) is (coding == "gzip")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "content-encoding" not in picture.headers

    again = await api(
        "GET", "/page.js", headers=headers | {"If-None-Match": script.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    (page / "page.js").write_text("let aivo = 2;\n" * 501)
    changed = await api(
        "GET", "/page.js", headers=headers | {"If-None-Match": script.headers["etag"]}
    )
    assert (changed.status_code, changed.text) == (200, "let aivo = 2;\n" * 501)
