"""The HTTP API: who gets in, what they may read, and how every error looks."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from edge.http.auth import Tokens, User
from edge.http.learners import Learners
from tests.support.eventually import eventually
from tests.support.ledger import history
from tests.support.school import School, request
from tests.support.socket import WAIT_S, open_socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer with its headers."""

    status: int
    headers: http.client.HTTPMessage
    text: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


def call(
    school: School,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Make a request; a body that is not bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", school.stack.ports.edge, timeout=WAIT_S)
    try:
        connection.request(
            method, path, data, {"Content-Type": "application/json", **(headers or {})}
        )
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=answer.headers, text=answer.read())
    finally:
        connection.close()


def bearer(school: School, name: str) -> dict[str, str]:
    """Return the header of someone's request."""
    return {"Authorization": f"Bearer {school.token(name)}"}


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """Check that an error is problem details (RFC 9457) that say no more than needed."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in problem["detail"]


# Reading


def test_me_is_whoever_asks(school: School) -> None:
    me = call(school, "GET", "/api/me", headers=bearer(school, "parent")).json

    assert (me["id"], me["role"], me["email"]) == (
        school.user_id("parent"),
        "guardian",
        "parent@school.example",
    )


@pytest.mark.parametrize(
    ("who", "mine", "not_mine"),
    [
        ("ada", {"ada"}, {"ben"}),
        ("parent", {"ada"}, {"ben"}),
        ("teacher", {"ada", "ben"}, set()),
        ("admin", {"ada", "ben"}, set()),
        ("stranger", set(), {"ada", "ben"}),
    ],
)
def test_learners_are_those_that_one_may_watch(
    school: School, who: str, mine: set[str], not_mine: set[str]
) -> None:
    listed = {
        one["learner_id"]
        for one in call(school, "GET", "/api/learners", headers=bearer(school, who)).json[
            "learners"
        ]
    }

    assert mine <= listed
    assert not listed & not_mine
    for learner in ("ada", "ben"):
        status = call(
            school, "GET", f"/api/learners/{learner}/state", headers=bearer(school, who)
        ).status
        assert status == (200 if learner in mine else 403)


async def test_state_and_history_tell_what_happened_page_by_page(school: School) -> None:
    learner = school.new_learner()
    token = school.token("teacher")
    path = f"/api/learners/{learner}/history"
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        responses = [
            await socket.interact(learner, content=f"question {number}") for number in range(25)
        ]

    def get(query: str = "") -> dict[str, Any]:
        status, page = request(school.stack, "GET", path + query, token=token)
        assert status == 200, page
        return dict(page)

    first, second, last = get("?limit=10"), get("?after=10&limit=10"), get("?after=20&limit=10")
    newest = get("?newest=true&limit=5")
    entries = history(school, learner, token)
    state = request(school.stack, "GET", f"/api/learners/{learner}/state", token=token)[1]

    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert [one["revision"] for page in (first, second, last) for one in page["entries"]] == list(
        range(1, 26)
    )
    assert [one["revision"] for one in newest["entries"]] == list(range(21, 26))
    assert [one["interaction_id"] for one in entries] == [
        one["interaction_id"] for one in responses
    ]
    assert [one["state"] for one in entries] == [one["result"]["state"] for one in responses]
    assert [one["content"] for one in entries] == [f"question {number}" for number in range(25)]
    assert (state["state"], state["revision"]) == (responses[-1]["result"]["state"], 25)
    assert state["epoch"] == first["epoch"]


async def test_metrics_are_the_guides_json_and_for_administrators(school: School) -> None:
    admin = bearer(school, "admin")
    async with open_socket(school.stack.ws_url, school.token("teacher")) as socket:
        await socket.ask("subscribe_learner", learner_id="ada")
        await socket.ask("join_room", room_id="class:5a")
        metrics = await eventually(
            lambda: asyncio.to_thread(
                lambda: call(school, "GET", "/api/websocket/metrics", headers=admin).json
            ),
            lambda told: told["learners"]["subscribed"] >= 1 and told["rooms"]["active"] >= 1,
        )
        status = call(school, "GET", "/api/websocket/status", headers=bearer(school, "ada")).json

    assert metrics.keys() >= {
        "connections", "users", "learners", "rooms", "messages", "performance", "errors", "uptime"
    }  # fmt: skip
    assert metrics["connections"].keys() >= {"active", "total", "disconnections"}
    assert metrics["users"].keys() >= {"connected"}
    assert metrics["learners"].keys() >= {"subscribed"}
    assert metrics["rooms"].keys() >= {"active"}
    assert metrics["messages"].keys() >= {"sent", "received", "per_second"}
    assert metrics["performance"].keys() >= {
        "average_latency_ms",
        "min_latency_ms",
        "max_latency_ms",
    }
    assert metrics["errors"].keys() >= {"total"}
    assert metrics["uptime"].keys() >= {"seconds", "started_at"}
    assert metrics["connections"]["active"] >= 1
    assert (
        metrics["connections"]["total"]
        == metrics["connections"]["active"] + metrics["connections"]["disconnections"]
    )
    assert status["active_connections"] >= 1
    for who in ("teacher", "parent", "ada"):
        assert_problem(
            call(school, "GET", "/api/websocket/metrics", headers=bearer(school, who)),
            403,
            "forbidden",
        )


def test_an_administrator_exports_everything_of_a_learner(school: School) -> None:
    answer = call(school, "GET", "/api/learners/ada/export", headers=bearer(school, "admin"))
    lines = [json.loads(line) for line in answer.text.splitlines()]

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert lines[0]["learner_id"] == "ada"


def test_health_says_alive_and_ready(school: School) -> None:
    assert call(school, "GET", "/healthz").json == {"status": "ok"}
    assert call(school, "GET", "/readyz").json == {"status": "ready", "missing": []}


# Errors and headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/me"),
        ("GET", "/api/learners"),
        ("GET", "/api/learners/ada/state"),
        ("GET", "/api/learners/ada/history"),
        ("GET", "/api/learners/ada/export"),
        ("DELETE", "/api/learners/ada/data"),
        ("GET", "/api/websocket/metrics"),
        ("GET", "/api/websocket/status"),
    ],
)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer nonsense", "Bearer nonsénse", "Basic dTpw", "Bearer"]
)
def test_nothing_is_told_to_nobody(
    school: School, method: str, path: str, authorization: str | None
) -> None:
    answer = call(
        school, method, path, headers={"Authorization": authorization} if authorization else {}
    )

    assert_problem(answer, 401, "unauthenticated")
    assert "nonsense" not in answer.text.decode()


@pytest.mark.parametrize("who", ["teacher", "parent", "ada"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/learners/ada/export"), ("DELETE", "/api/learners/ada/data")]
)
def test_only_administrators_export_and_erase(
    school: School, who: str, method: str, path: str
) -> None:
    assert_problem(call(school, method, path, headers=bearer(school, who)), 403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/auth/login", b"{", 422, "bad_request"),
        ("POST", "/api/auth/login", b"\xff\xfe", 422, "bad_request"),
        ("POST", "/api/auth/login", {}, 422, "bad_request"),
        ("POST", "/api/auth/login", {"email": 5, "password": []}, 422, "bad_request"),
        (
            "POST",
            "/api/auth/login",
            {"email": "x" * 400, "password": "secret words"},
            422,
            "bad_request",
        ),
        (
            "POST",
            "/api/auth/login",
            {"email": "\ud800@school.example", "password": "secret words"},
            422,
            "bad_request",
        ),
        (
            "POST",
            "/api/auth/login",
            {"email": "a@school.example", "password": "\ud800"},
            422,
            "bad_request",
        ),
        ("POST", "/api/auth/refresh", {"refresh_token": "\ud800"}, 422, "bad_request"),
        ("POST", "/api/auth/refresh", {}, 401, "unauthenticated"),
        ("POST", "/api/auth/refresh", {"refresh_token": "nonsense"}, 401, "unauthenticated"),
        ("GET", "/api/nothing", None, 404, "not_found"),
        ("PUT", "/api/auth/login", None, 405, "bad_request"),
        ("GET", "/ws", None, 426, "bad_request"),
        ("GET", "/ws/", None, 404, "not_found"),
        ("GET", "/api/learners/a%20b/state", None, 422, "bad_request"),
        ("GET", "/api/learners/ada/history?limit=0", None, 422, "bad_request"),
        ("GET", "/api/learners/ada/history?limit=1001", None, 422, "bad_request"),
        ("GET", "/api/learners/ada/history?after=-1", None, 422, "bad_request"),
        (
            "GET",
            "/api/learners/ada/history?after=99999999999999999999999",
            None,
            422,
            "bad_request",
        ),
        ("GET", "/api/learners/no-such-learner/state", None, 403, "forbidden"),
        ("GET", "/api/learners/no-such-learner/history", None, 403, "forbidden"),
    ],
)
def test_every_error_is_problem_details(
    school: School, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = call(school, method, path, body, bearer(school, "parent"))

    assert_problem(answer, status, code)
    assert "secret words" not in answer.text.decode()


@pytest.mark.parametrize("path", ["/api/me", "/api/nothing", "/healthz", "/readyz", "/", "/ws/"])
def test_every_answer_has_the_security_headers(school: School, path: str) -> None:
    headers = call(school, "GET", path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers
    if path.startswith("/api/"):
        assert headers["Cache-Control"] == "no-store"


def test_answers_are_as_the_description_says(school: School) -> None:
    tokens = school.login("ada")
    me = call(school, "GET", "/api/me", headers=bearer(school, "ada")).json
    mine = call(school, "GET", "/api/learners", headers=bearer(school, "ada")).json

    assert (Tokens.model_fields.keys(), User.model_fields.keys()) == (tokens.keys(), me.keys())
    assert User(**tokens["user"]) == User(**me)
    assert Learners(**mine).model_dump() == mine


def test_the_api_describes_itself(school: School) -> None:
    described = call(school, "GET", "/openapi.json").json

    assert set(described["paths"]) >= {
        "/api/auth/login",
        "/api/me",
        "/api/learners/{learner_id}/history",
    }
    assert call(school, "GET", "/docs").status == 200


async def test_what_failed_leaves_no_token_in_any_log(school: School) -> None:
    """The fixture looks for tokens in all logs at the end of the run; this adds the ways in which
    they fail.
    """
    token = school.token("ada")
    for broken in (token[:-4] + "AAAA", token + "x"):
        school.secrets.add(broken)
        call(
            school, "GET", f"/api/me?token={broken}", headers={"Authorization": f"Bearer {broken}"}
        )
        call(school, "GET", f"/no/such/page?token={token}")
        call(school, "POST", "/api/auth/refresh", {"refresh_token": broken})
        call(
            school,
            "POST",
            "/api/auth/logout",
            {"refresh_token": broken},
            {"Authorization": f"Bearer {broken}"},
        )
        async with open_socket(f"{school.stack.ws_url}?token={broken}") as socket:
            assert await socket.until_closed() == 4401
    call(
        school,
        "GET",
        f"/ws?token={token}",
        headers={"Connection": "Upgrade", "Upgrade": "websocket"},
    )
    call(
        school,
        "GET",
        f"/ws/?token={token}",
        headers={"Connection": "Upgrade", "Upgrade": "websocket"},
    )

    for log in school.stack.logs.iterdir():
        text = log.read_text(encoding="utf-8")
        assert not [secret for secret in school.secrets if secret in text], log.name
