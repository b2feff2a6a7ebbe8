"""xAPI statements become interactions, each by itself; interactions become statements again."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from edge import xapi
from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_server import exchange, running_edge
from tests.support.http_api import Api

HOME = "https://lms.school.example"
VERBS = "http://adlnet.gov/expapi/verbs/"
ID = "0192f3a4-0000-7000-8000-00000000000"


def statement(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return an answer of ada's; a change to None leaves the field out."""
    whole = {
        "id": f"{ID}{number}",
        "actor": {"account": {"homePage": HOME, "name": "ada"}},
        "verb": {"id": VERBS + "answered"},
        "object": {
            "id": f"{HOME}/items/17",
            "definition": {"description": {"en": "3/4 + 1/8 = ?"}},
        },
        "result": {"success": True, "response": "7/8", "duration": "PT1M2.5S"},
        "context": {
            "contextActivities": {
                "grouping": [{"id": f"{HOME}/c", "definition": {"name": {"en": "fractions"}}}]
            },
            "extensions": {f"{HOME}/x/difficulty": 3, f"{HOME}/x/skill": ["add"]},
        },
        "timestamp": "2026-11-27T08:15:00+01:00",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


@pytest.fixture
def api() -> Api:
    api = Api(xapi_homepages=(HOME,))
    for user in ("u-ada", "u-admin"):
        api.auth.decisions[user, "interact", "ada"] = True
    return api


async def sent(api: Api, *statements: Any, token: str = "admin") -> dict[str, Any]:
    body = json.dumps(statements).encode()  # half characters, too
    response = await api("POST", "/api/xapi/statements", token=token, content=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_statement_becomes_the_interaction_that_it_tells_of(api: Api) -> None:
    answer = await sent(api, statement())

    assert answer["results"] == [
        {"id": f"{ID}1", "status": "stored", "revision": 1, "code": "", "detail": ""}
    ]
    [one] = api.brain.sent
    assert (one.interaction_id, one.data.learner_id, one.data.type) == (
        f"{ID}1",
        "ada",
        "question_response",
    )
    assert (one.data.content, one.data.response) == ("3/4 + 1/8 = ?", "7/8")
    assert one.data.occurred_at is not None
    assert one.data.occurred_at.isoformat() == "2026-11-27T08:15:00+01:00"
    read = one.context
    assert (read.correct, read.time_taken, read.subject) == (True, 62.5, "fractions")
    assert (read.skill, read.difficulty, read.item_id) == (["add"], 3.0, f"{HOME}/items/17")


TEST = {"id": "t", "definition": {"type": "http://adlnet.gov/expapi/activities/assessment"}}


@pytest.mark.parametrize(
    ("changes", "kind", "correct"),
    [
        ({"result": {"success": False}}, "question_response", False),
        ({"result": {"score": {"scaled": 0.5}}}, "question_response", True),
        ({"result": {"score": {"scaled": 0.4}}}, "question_response", False),
        ({"result": {"success": True, "score": {"scaled": 0}}}, "question_response", True),
        ({"context": {"contextActivities": {"parent": TEST}}}, "assessment", True),
        ({"verb": {"id": VERBS + "attempted"}}, "practice", True),
        ({"verb": {"id": VERBS + "attempted"}, "result": None}, "content_view", None),
        ({"verb": {"id": VERBS + "completed"}, "object": TEST}, "assessment", True),
        ({"verb": {"id": VERBS + "completed"}, "result": None}, "content_view", None),
        ({"verb": {"id": VERBS + "experienced"}, "result": None}, "content_view", None),
        ({"verb": {"id": f"{HOME}/verbs/asked-for-hint"}, "result": None}, "hint_request", None),
        ({"verb": {"id": xapi.HINT_VERB}, "result": None}, "hint_request", None),
    ],
)
async def test_verbs_and_results_say_what_it_was(
    api: Api, changes: dict[str, Any], kind: str, correct: bool | None
) -> None:
    answer = await sent(api, statement(**changes))
    assert answer["refused"] == 0, answer
    assert (api.brain.sent[0].data.type, api.brain.sent[0].context.correct) == (kind, correct)


REFUSED = {
    "no statement": (7, "the statement"),
    "no actor": (statement(actor=None), "actor"),
    "a mailbox": (statement(actor={"mbox": "mailto:ada@x.example"}), "actor.mbox"),
    "another system": (
        statement(actor={"account": {"homePage": "https://x.example", "name": "ada"}}),
        "EDGE_XAPI_HOMEPAGES",
    ),
    "a name that is no id": (
        statement(actor={"account": {"homePage": HOME, "name": "Ada Lane"}}),
        "actor.account.name",
    ),
    "another verb": (statement(verb={"id": VERBS + "voided"}), "verb.id"),
    "no verb": (statement(verb=None), "verb"),
    "an answer without right or wrong": (statement(result=None), "result"),
    "an agent as object": (statement(object={"objectType": "Agent", "id": "x"}), "object"),
    "no object": (statement(object=None), "object"),
    "a score beyond": (statement(result={"score": {"scaled": 2}}), "result.score.scaled"),
    "a duration of no length": (statement(result={"duration": "soon"}), "result.duration"),
    "an id that is none": (statement(id="seventeen"), "id"),
    "a time without zone": (statement(timestamp="2026-11-27T08:15:00"), "timestamp"),
    "a time before time": (statement(timestamp="1850-11-27T08:15:00Z"), "timestamp"),
    "a time as a number": (statement(timestamp=1_795_780_800), "timestamp"),
    "a time as digits": (statement(timestamp="1795780800"), "timestamp"),
    "a duration as a number": (statement(result={"success": True, "duration": 5}), "duration"),
    "a duration as a clock": (statement(result={"success": True, "duration": "00:01"}), "duration"),
    "a duration without anything": (
        statement(result={"success": True, "duration": "PT"}),
        "result.duration",
    ),
    "a duration with more after it": (
        statement(result={"success": True, "duration": "PT5S\n"}),
        "result.duration",
    ),
    "digits of another script": (
        statement(result={"success": True, "duration": "PT٣S"}),
        "result.duration",
    ),
    "less than no time": (statement(result={"success": True, "duration": "-PT5S"}), "duration"),
    "a word for right": (statement(result={"success": "yes"}), "result.success"),
    "a number for right": (statement(result={"success": 1}), "result.success"),
    "a score in words": (statement(result={"score": {"scaled": "0.5"}}), "result.score.scaled"),
    "a score that is yes": (statement(result={"score": {"scaled": True}}), "result.score.scaled"),
    "a group": (
        statement(
            actor={"objectType": "Group", "account": {"homePage": HOME, "name": "ada"}},
        ),
        "actor.objectType",
    ),
    "two names for one": (
        statement(
            actor={
                "mbox": "mailto:ada@school.example",
                "account": {"homePage": HOME, "name": "ada"},
            }
        ),
        "actor",
    ),
    "an address without scheme": (statement(actor={"mbox": "ada@school.example"}), "actor.mbox"),
    "half a character": (statement(result={"success": True, "response": "\ud800"}), ""),
    "endless content": (
        statement(object={"id": "x", "definition": {"name": {"en": "x" * 20_000}}}),
        "object.definition",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_bad_one_is_refused_by_field_and_spoils_no_other(api: Api, what: str) -> None:
    bad, place = REFUSED[what]
    answer = await sent(api, statement(1), bad, statement(2))

    assert [one["status"] for one in answer["results"]] == ["stored", "refused", "stored"]
    assert (answer["stored"], answer["refused"], answer["duplicates"]) == (2, 1, 0)
    refusal = answer["results"][1]
    assert refusal["code"] == "bad_request"
    assert place in refusal["detail"]
    assert "Ada Lane" not in refusal["detail"]


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("Brüche und\xa0Dezimalzahlen", "Brüche und Dezimalzahlen"),
        ("line\nbreak", "line break"),
        ("zero\u200bwidth", "zero width"),
        ("half \ud800", "half"),
        ("\x00", None),
        ("", None),
    ],
)
async def test_a_name_that_no_model_keeps_does_not_cost_the_answer(
    api: Api, name: str, subject: str | None
) -> None:
    grouping = {"id": f"{HOME}/c", "definition": {"name": {"en": name}}}
    told = statement(context={"contextActivities": {"grouping": [grouping]}})
    assert (await sent(api, told))["stored"] == 1
    [one] = api.brain.sent
    assert one.context.subject == subject


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("PT0.5S", 0.5),
        ("PT1H30M", 5_400.0),
        ("PT24H", 86_400.0),
        ("P1DT2H", None),
        ("P3W", None),
        ("P1Y2M3DT4H5M6.7S", None),
        ("PT1795780800000S", None),  # a moment in milliseconds
        ("PT1000000000000000S", None),
        ("P99999999999Y", None),
        (f"PT{'9' * 400}S", None),
        ("PT0,5S", 0.5),
        ("P1DT", 86_400.0),
    ],
)
async def test_what_took_days_is_taken_without_its_time(
    api: Api, duration: str, seconds: float | None
) -> None:
    assert (await sent(api, statement(result={"success": True, "duration": duration})))["stored"]
    [one] = api.brain.sent
    assert one.context.time_taken == seconds


@pytest.mark.parametrize("letter", ["a", "é", "分", "🦉"])
async def test_what_is_too_long_is_cut_to_the_bytes_that_the_model_keeps(
    api: Api, letter: str
) -> None:
    long = letter * 200
    told = statement(
        object={"id": "https://lms.example/" + long},
        context={
            "contextActivities": {
                "grouping": [{"id": "https://lms.example/c", "definition": {"name": {"en": long}}}]
            }
        },
    )
    assert (await sent(api, told))["stored"] == 1
    [one] = api.brain.sent
    for kept in (one.context.subject, one.context.item_id):
        assert kept is not None
        assert set(kept) == {letter}
        assert 124 < len(kept.encode()) <= 128


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("hints", 3, 3),
        ("hints", -5, None),
        ("hints", 10**9, None),
        ("hints", True, None),
        ("attempts", 0, 0),
        ("attempts", "3", None),
        ("attempts", {"first": [1, [2]]}, None),
        ("difficulty", 1e400, None),
        ("difficulty", 70, None),
        ("difficulty", 10**400, None),
        ("difficulty", 4.5, 4.5),
        ("subject", "s" * 500, "s" * 128),
        ("subject", ["fractions"], None),
        ("skill", "add", "add"),
        ("skill", ["é" * 500, "", 7, ["deep"], "add"], ["é" * 64, "add"]),
        ("skill", [f"s{number}" for number in range(500)], [f"s{number}" for number in range(8)]),
        ("skill", [{}], None),
    ],
)
async def test_an_extension_that_does_not_fit_does_not_cost_the_answer(
    api: Api, name: str, value: Any, kept: Any
) -> None:
    body = json.dumps(statement(context={"extensions": {f"{HOME}/x/{name}": value}}))
    body = body.replace("Infinity", "1e400")  # JSON has numbers that Python has not
    response = await api("POST", "/api/xapi/statements", token="admin", content=body.encode())
    assert response.json()["stored"] == 1, response.text
    assert getattr(api.brain.sent[0].context, name) == kept


async def test_nobody_tells_of_learners_that_are_not_theirs(api: Api) -> None:
    own = await sent(api, statement(), token="ada")
    strangers = await sent(api, statement(2), token="ben")
    assert (own["stored"], strangers["stored"]) == (1, 0)
    assert strangers["results"][0]["code"] == "forbidden"
    assert len(api.brain.sent) == 1


async def test_a_mailbox_is_a_learner_whose_user_has_it_for_administrators_only(api: Api) -> None:
    by_mail = statement(actor={"mbox": "mailto:ada@school.example"})
    assert (await sent(api, by_mail))["stored"] == 1
    assert api.brain.sent[0].data.learner_id == "ada"
    answer = await sent(api, by_mail, token="ada")
    assert answer["results"][0]["detail"] == "actor.mbox: does not belong to a learner."


async def test_only_administrators_fill_in_last_year(api: Api) -> None:
    await sent(api, statement(), token="ada")
    await sent(api, statement())
    assert [one.max_age_s for one in api.brain.sent] == [0, 366 * 86_400]


async def test_the_order_of_a_learner_is_kept_and_failures_are_told_one_by_one(api: Api) -> None:
    ids = [f"0192f3a4-0000-7000-8000-{number:012}" for number in range(1_000)]
    answer = await sent(api, *(statement(id=one) for one in ids))
    assert [one.interaction_id for one in api.brain.sent] == ids
    assert [one["revision"] for one in answer["results"]] == list(range(1, 1_001))

    api.brain.answer = lambda done, _: done(UpstreamError("overloaded", "Too much."))  # type: ignore[method-assign]
    failed = await sent(api, statement())
    assert failed["results"][0]["code"] == "overloaded"


async def test_a_call_that_cannot_be_read_changes_nothing(api: Api) -> None:
    path = "/api/xapi/statements"
    many = await api("POST", path, token="admin", json=[statement()] * 1_001)
    broken = await api("POST", path, token="admin", content=b"[{")
    no_number = await api("POST", path, token="admin", content=b'[{"result": NaN}]')
    assert no_number.status_code == 400
    large = await api("POST", path, token="admin", content=b" " * (4 * 1024 * 1024 + 1))
    assert (many.status_code, broken.status_code, large.status_code) == (413, 400, 413)
    parts = {"content-type": 'multipart/mixed; boundary="b"'}
    attached = await api("POST", path, token="admin", content=b"--b\r\n", headers=parts)
    assert attached.status_code == 415
    assert "Attachments" in attached.json()["detail"]
    assert api.brain.sent == []


async def test_a_call_as_large_as_may_be_comes_through_the_listener(api: Api) -> None:
    body = json.dumps([statement(result={"success": True, "response": "x" * 3_000_000})]).encode()
    head = (
        b"POST /api/xapi/statements HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    async with running_edge(EdgeSettings(), api.app) as running:
        answer = await exchange(running, head, body)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"refused":1' in answer, "it is heard, and the text is too long"


async def test_who_sends_too_much_waits(api: Api) -> None:
    api = Api(xapi_homepages=("*",), user_units_per_s=10.0, user_units_burst=100)
    path = "/api/xapi/statements"
    first = await api("POST", path, token="admin", json=[statement()] * 200)
    second = await api("POST", path, token="admin", json=[statement()])
    assert (first.status_code, second.status_code) == (200, 429)
    assert int(second.headers["retry-after"]) > 1


LINE = {
    "type": "interaction",
    "revision": 3,
    "interaction_id": f"{ID}1",
    "kind": "question_response",
    "content": "=1+1",
    "response": "zwei",
    "context": {
        "correct": True,
        "time_taken": 62.5,
        "verb": VERBS + "answered",
        "activity": f"{HOME}/items/17",
    },
    "occurred_at": "2026-11-27T07:15:00.000Z",
    "received_at": "2026-11-27T07:15:01.000Z",
}


def _export(api: Api) -> None:
    text = b'{"type":"learner"}\n' + json.dumps(LINE).encode() + b"\n"

    async def export(learner_id: str, *, requested_by: str) -> Any:
        for start in range(0, len(text), 7):  # lines come in pieces
            yield text[start : start + 7]

    api.brain.export = export  # type: ignore[method-assign]


async def test_a_statement_stays_on_one_line_whatever_a_learner_wrote(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LINE, "response", "a\u2028b\u2029c\x85d")
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    assert told["result"]["response"] == "a\u2028b\u2029c\x85d"


async def test_a_log_comes_out_as_statements_that_can_be_read_again(api: Api) -> None:
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    assert (told["id"], told["verb"]["id"]) == (f"{ID}1", VERBS + "answered")
    assert told["result"] == {"success": True, "response": "zwei", "duration": "PT62.5S"}
    data, context = xapi.read(told, {"http://edge.example/"})
    assert (data.interaction_id, data.learner_id, data.type) == (
        f"{ID}1",
        "ada",
        "question_response",
    )
    assert (context.correct, context.time_taken) == (True, 62.5)


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
async def test_a_log_comes_out_as_csv_that_no_spreadsheet_computes(
    api: Api, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    monkeypatch.setitem(LINE, "content", f"{begins}1+1")
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=csv", token="admin")
    [row] = csv.DictReader(io.StringIO(response.text, newline=""))
    assert (row["content"], row["correct"], row["revision"]) == (f"'{begins}1+1", "True", "3")


IRI = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20<>"{}|\\^`]+')
SECONDS = re.compile(r"PT[0-9]+(\.[0-9]+)?S")


@pytest.mark.parametrize(
    "context",
    [
        {"verb": {"a": ":"}, "activity": ["a:b", {"c": 1}]},
        {"verb": "no address", "activity": ": : "},
        {"verb": 7, "activity": 12_345},
        {"activity": 'x:\0\n\u2028"<>', "item_id": "a\x85b"},
        {"activity": "x:" + "y" * 60_000, "item_id": " "},
        {"item_id": "\ud800"},
        {"item_id": ["a"]},
        {"item_id": "seven eighths, 7/8"},
    ],
)
async def test_a_statement_names_verb_and_object_by_iris_whatever_a_learner_sent(
    api: Api, monkeypatch: pytest.MonkeyPatch, context: dict[str, Any]
) -> None:
    monkeypatch.setitem(LINE, "context", context)
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    assert IRI.fullmatch(told["verb"]["id"])
    assert IRI.fullmatch(told["object"]["id"])


@pytest.mark.parametrize("seconds", [0, 1e-7, -0.0, 5e-324, 86_399.999_99, 12_345.678, 86_400])
async def test_a_statement_has_a_duration_that_can_be_read(
    api: Api, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setitem(LINE, "context", {"time_taken": seconds})
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    duration = told["result"]["duration"]
    assert SECONDS.fullmatch(duration)
    assert float(duration[2:-1]) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize("seconds", [True, "5", -1, 2**1024 - 1, [5]])
async def test_a_statement_has_no_duration_where_none_was_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, seconds: Any
) -> None:
    monkeypatch.setitem(LINE, "context", {"time_taken": seconds})
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    assert "result" not in told or "duration" not in told["result"]


async def test_a_statement_without_a_moment_has_none(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LINE, "occurred_at", None)
    _export(api)
    response = await api("GET", "/api/learners/ada/export?format=xapi", token="admin")
    [told] = [json.loads(line) for line in response.text.splitlines()]
    assert "timestamp" not in told
