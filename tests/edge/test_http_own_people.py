"""The doors for a school's own people and records: who comes in, what is refused, and how."""

from __future__ import annotations

from typing import Any

import pytest

from edge.ports import UpstreamError
from tests.edge.test_http_sign_in import CALLBACK, Providing
from tests.edge.test_xapi import HOME, statement
from tests.support.http_api import Api, problem

STATEMENTS = ("POST", "/api/xapi/statements")
AS_XAPI = ("GET", "/api/learners/ada/export?format=xapi")
AS_CSV = ("GET", "/api/learners/ada/export?format=csv")
START = ("GET", "/api/auth/providers/school/start")
LEAVE = ("GET", "/api/auth/providers/school/logout")
BACK = ("GET", CALLBACK)
OPEN = (
    ("GET", "/api/auth/providers"), START, LEAVE, BACK, ("GET", "/docs/asyncapi.json"),
)  # fmt: skip


@pytest.fixture
def api() -> Api:
    api = Api(auth=Providing(), xapi_homepages=(HOME,))
    for user, action in (("u-ada", "interact"), ("u-admin", "interact"), ("u-teacher", "watch")):
        api.auth.decisions[user, action, "ada"] = True
    return api


@pytest.mark.parametrize(
    ("door", "token", "status", "code"),
    [
        *((door, "", 401, "unauthenticated") for door in (STATEMENTS, AS_XAPI, AS_CSV)),
        *((door, "forged", 401, "unauthenticated") for door in (STATEMENTS, AS_XAPI, AS_CSV)),
        *((AS_XAPI, name, 403, "forbidden") for name in ("ada", "ben", "teacher")),
        *((AS_CSV, name, 403, "forbidden") for name in ("ada", "ben", "teacher")),
    ],
)
async def test_who_may_not_gets_a_problem_and_nothing_happens(
    api: Api, door: tuple[str, str], token: str, status: int, code: str
) -> None:
    answer = await api(*door, token=token, **({"json": [statement()]} if door[0] == "POST" else {}))
    problem(answer, status, code)
    assert api.brain.sent == []


@pytest.mark.parametrize(
    ("token", "became"),
    [
        ("ada", "stored"),  # of herself
        ("admin", "stored"),
        ("teacher", "forbidden"),  # may watch her, not answer for her
        ("ben", "forbidden"),
    ],
)
async def test_statements_are_taken_of_the_learner_and_of_administrators(
    api: Api, token: str, became: str
) -> None:
    answer = (await api(*STATEMENTS, token=token, json=[statement()])).json()["results"][0]
    assert (answer["code"] or answer["status"]) == became
    assert len(api.brain.sent) == (became == "stored")


COUNTS = ("stored", "duplicates", "refused")


@pytest.mark.parametrize(
    ("token", "numbers", "bad", "learners", "counts"),
    [
        ("ada", [1], [], ["ada"], (1, 0, 0)),
        ("admin", [1, 2, 3], [], ["ada"], (3, 0, 0)),
        ("admin", [1], [{}, "no statement", 7], ["ada"], (1, 0, 3)),
        ("admin", [], [statement(9, actor={"name": "Ada King"})], [], (0, 0, 1)),
        ("ada", [1], [{}], ["ada"], (1, 0, 1)),
        ("ada", [], [{}], [], None),  # nobody fills the log with what is refused
        ("teacher", [1, 2], [], [], None),
        ("admin", [], [], [], None),
    ],
)
async def test_the_audit_log_has_who_sent_how_many_of_whom(
    api: Api,
    token: str,
    numbers: list[int],
    bad: list[Any],
    learners: list[str],
    counts: tuple[int, int, int] | None,
) -> None:
    given = [statement(number) for number in numbers] + bad
    answer = await api(*STATEMENTS, token=token, json=given)

    assert answer.status_code == 200
    expected = counts and [(f"u-{token}", learners, dict(zip(COUNTS, counts, strict=True)))]
    assert api.auth.noted == (expected or [])


async def test_without_an_audit_log_what_is_stored_is_stored_and_a_warning_says_so(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.auth.fault = UpstreamError("unavailable", "Not now.")
    answer = await api(*STATEMENTS, token="ada", json=[statement()])

    assert answer.json()["stored"] == 1
    [warning] = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "audit log" in warning.message


@pytest.mark.parametrize("door", OPEN)
async def test_doors_without_a_token_are_few_and_each_address_has_its_share(
    door: tuple[str, str],
) -> None:
    api = Api(auth=Providing(), address_requests_per_s=0.5)  # ten at once, and one more soon
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    answers = [(await api(*door)).status_code for _ in range(30)]
    first = next(place for place, status in enumerate(answers) if status == 429)
    assert 1 <= first <= 12
    assert set(answers[:first]) <= {200, 303}
    assert set(answers[first:]) == {429}
    assert (await api("GET", "/api/me", token="ada")).status_code == 200


@pytest.mark.parametrize("door", [START, LEAVE, BACK])
async def test_a_provider_is_asked_so_much_at_once_for_an_address_and_no_more(
    api: Api, door: tuple[str, str]
) -> None:
    turns = api.services.door.logins
    while turns.take("127.0.0.1"):
        pass
    asked: list[Any] = api.auth.calls
    answer = await api(*door, headers={"Cookie": "aivo_flow=flow-1"})
    if door is BACK:  # a browser is on its way: it gets a page
        assert answer.headers["location"] == "/#sign-in-failed=rate_limited"
    else:
        problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1
    assert asked == []


@pytest.mark.parametrize("door", [START, LEAVE])
@pytest.mark.parametrize(
    ("fault", "status"), [("not_found", 404), ("unavailable", 503)], ids=["unknown", "down"]
)
async def test_a_provider_that_is_unknown_or_down_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, door: tuple[str, str], fault: str, status: int
) -> None:
    async def refuse(*_: str) -> Any:
        raise UpstreamError(fault, "Not this one.")

    monkeypatch.setattr(api.auth, "begin_sign_in", refuse)
    monkeypatch.setattr(api.auth, "logout_address", refuse)
    problem(await api(*door), status, fault)


@pytest.mark.parametrize("host", ["[", "[:::]", "x y", "a/b", "a?b", "u@x", "a,b", "a\\b"])
@pytest.mark.parametrize("door", [START, BACK, LEAVE, ("GET", "/")])
async def test_no_address_is_made_of_a_host_that_is_none(
    api: Api, caplog: pytest.LogCaptureFixture, door: tuple[str, str], host: str
) -> None:
    answer = await api(*door, headers={"Host": host, "Cookie": "aivo_flow=flow-1"})
    problem(answer, 400, "bad_request")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert api.auth.calls == []
    assert not [record for record in caplog.records if record.exc_info]


async def test_what_was_taken_is_logged_by_user_and_count_and_by_nothing_else(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="edge.http.xapi")
    bad = statement(2, actor={"name": "Ada Lane", "mbox": "mailto:ada@school.example"})
    await api(*STATEMENTS, token="admin", json=[statement(), bad | {"verb": {"id": "x"}}])
    [record] = [one for one in caplog.records if one.name == "edge.http.xapi"]
    told = vars(record)
    assert (told["user_id"], told["stored"], told["duplicate"], told["refused"]) == (
        *("u-admin", 1, 0, 1),
    )
    assert not [word for word in ("Lane", "school.example", "7/8", "ada") if word in str(told)]
