"""Every value through every door: taken, or refused by a sentence; and whatever was taken can be
read back through every way out.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from tests.support.commands import auth_command
from tests.support.school import School
from tests.support.socket import open_socket
from tests.system.test_http import bearer, call

MOMENTS = (
    *("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"),
    *("1970-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z"),
)
NUMBERS = (0, 1, -1, 2**31, 2**53, 2**63 - 1, 253_402_300_800_000, 1_790_000_000_000_000)


@pytest.fixture(scope="module")
def brain(wide_school: School) -> Iterator[brain_pb2_grpc.BrainServiceStub]:
    with grpc.insecure_channel(wide_school.stack.address("brain")) as channel:
        yield brain_pb2_grpc.BrainServiceStub(channel)


def strictly(text: bytes) -> Any:
    """Parse JSON as the strictest of readers does."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    value = json.loads(text.decode("utf-8"), parse_constant=refuse)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


def assert_readable(school: School, learner: str) -> int:
    """Read a learner through every way out of HTTP; return the revision."""
    admin = bearer(school, "admin")
    state = call(school, "GET", f"/api/learners/{learner}/state", headers=admin)
    assert state.status == 200, state.text
    history = call(school, "GET", f"/api/learners/{learner}/history?limit=1000", headers=admin)
    assert history.status == 200, history.text
    revisions = [entry["revision"] for entry in strictly(history.text)["entries"]]
    assert revisions == list(range(1, len(revisions) + 1))
    export = call(school, "GET", f"/api/learners/{learner}/export", headers=admin)
    *lines, last = export.text.splitlines(keepends=True)
    assert [one["revision"] for one in map(strictly, lines) if one["type"] == "interaction"] == (
        revisions
    )
    end = strictly(last)
    assert (end["type"], end["lines"]) == ("end", len(lines))
    assert end["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
    assert strictly(state.text)["revision"] == len(revisions)
    return len(revisions)


contexts = st.one_of(
    st.sampled_from(
        [
            *(b"", b"{}", b"[]", b"null", b'{"a":NaN}', b'{"a":1e999}', rb'{"a":"\ud800"}'),
            *(b'{"a":' * levels + b"1" + b"}" * levels for levels in (16, 17, 985)),
            *('{"a":1}'.encode(code) for code in ("utf-16", "utf-32", "utf-8-sig")),
            b'{"a":' + b"9" * 5_000 + b"}",
            b'{"a":"\\u0000"}',
        ]
    ),
    st.binary(max_size=40),
    st.dictionaries(st.text(), st.floats() | st.text() | st.integers(), max_size=3).map(
        lambda value: json.dumps(value).encode()
    ),
)
texts = st.text(max_size=30) | st.sampled_from(["\0", "\x7f", "\u2028", "\ufeff", "\U0010ffff"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    context_json=contexts,
    content=texts,
    response=st.none() | texts,
    occurred=st.sampled_from(NUMBERS),
    received=st.sampled_from(NUMBERS),
    time_taken=st.sampled_from([None, 0.0, -1.0, float("nan"), float("inf"), 1e308, 86_401.0]),
    skill=st.none() | texts,
    item=texts,
)
def test_whatever_grpc_takes_is_readable(
    wide_school: School, brain: brain_pb2_grpc.BrainServiceStub, **fields: Any
) -> None:
    learner = "extremes"
    if f"{learner}@school.example" not in wide_school.users:
        wide_school.add_learner(learner)
    message = brain_pb2.Interaction(
        learner_id=learner,
        interaction_id=uuid.uuid4().hex,
        kind=brain_pb2.INTERACTION_KIND_QUESTION_RESPONSE,
        content=fields["content"],
        response=fields["response"],
        context_json=fields["context_json"],
        occurred_at_ms=fields["occurred"],
        received_at_ms=fields["received"],
        context=brain_pb2.Context(
            correct=True,
            time_taken_s=fields["time_taken"],
            skills=[] if fields["skill"] is None else [fields["skill"]],
            item_id=fields["item"],
        ),
    )
    try:
        brain.RecordInteraction(
            brain_pb2.RecordInteractionRequest(interaction=message),
            metadata=wide_school.stack.metadata,
            timeout=10,
        )
    except grpc.RpcError as error:
        # Taking it would be as right.
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()  # noqa: PT017
        assert error.details().endswith(".")  # noqa: PT017
    assert_readable(wide_school, learner)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_time_that_cannot_be_is_refused_by_the_socket(
    wide_school: School, moment: str
) -> None:
    async with open_socket(wide_school.stack.ws_url, wide_school.token("ada")) as socket:
        data = {
            "learner_id": "ada",
            "type": "content_view",
            "content": "x",
            "occurred_at": moment,
        }
        told = await socket.ask("virtual_brain_interact", data=data)
    assert (told["type"], told["code"]) == ("error", "bad_request")
    assert "occurred_at" in told["error"]


@pytest.mark.parametrize(
    "context",
    [
        '{"a":' * 17 + "1" + "}" * 17,
        '{"a":' * 985 + "1" + "}" * 985,
        '{"a":1e999}',
        '{"a":' + "9" * 400 + "}",
        r'{"a":"\ud800"}',
        '{"a":NaN}',
        "[]",
    ],
)
async def test_json_that_readers_choke_on_is_refused_by_the_socket(
    wide_school: School, context: str
) -> None:
    learner = wide_school.new_learner()
    async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as socket:
        for kind, data in (
            (
                "virtual_brain_interact",
                f'{{"learner_id":"{learner}","type":"content_view","content":"x","context":'
                + context
                + "}",
            ),
            ("room_message", context),
        ):
            seen = len(socket.frames)
            frame = f'{{"type":"{kind}","room_id":"learner:{learner}","data":{data}}}'
            await socket.send(frame)
            told = await socket.expect(type="error", _after=seen)
            assert told["code"] == "bad_request", told
        assert (await socket.interact(learner))["revision"] == 1
    assert assert_readable(wide_school, learner) == 1


@pytest.mark.parametrize("learner", [".", "..", "%2e%2e", "a%00b", "%ff", "a" * 129, "a%2Fb"])
@pytest.mark.parametrize("what", ["state", "history", "export"])
def test_an_id_that_is_none_is_the_clients_error(
    wide_school: School, learner: str, what: str
) -> None:
    path = f"/api/learners/{learner}/{what}"
    answer = call(wide_school, "GET", path, headers=bearer(wide_school, "admin"))
    assert 400 <= answer.status < 500, answer.text


@pytest.mark.parametrize(
    "query",
    [
        *(f"from={moment}" for moment in MOMENTS[:-1]),
        *(f"to={moment}" for moment in MOMENTS[:-1]),
        *("from=1e400", "from=-1e18", "from=99999999999999999999", "interval=1e3", "interval=-60"),
        *("interval=999999999999999999999", "from=NaN", "to=Infinity", "type=%00", "role=%ff"),
    ],
)
def test_moments_that_cannot_be_are_the_clients_error_in_analytics(
    wide_school: School, query: str
) -> None:
    path = f"/api/websocket/analytics?{query.replace('+', '%2B')}"
    answer = call(wide_school, "GET", path, headers=bearer(wide_school, "admin"))
    assert answer.status == 422, answer.text


@pytest.mark.parametrize(
    "query", ["after=-1", "after=1e3", f"after={2**64}", "limit=0", "limit=NaN", "newest=perhaps"]
)
def test_pages_that_cannot_be_are_the_clients_error(wide_school: School, query: str) -> None:
    path = f"/api/learners/ada/history?{query}"
    answer = call(wide_school, "GET", path, headers=bearer(wide_school, "admin"))
    assert answer.status == 422, answer.text


def recorded(school: School, learner: str, **changes: Any) -> brain_pb2.Interaction:
    """Return an answer of a learner's, as another service would send it."""
    fields: dict[str, Any] = {
        "learner_id": learner,
        "interaction_id": uuid.uuid4().hex,
        "kind": brain_pb2.INTERACTION_KIND_PRACTICE,
        "content": "1 + 1",
        **changes,
    }
    return brain_pb2.Interaction(**fields)


@pytest.mark.parametrize(
    ("credential", "count", "code", "says"),
    [
        (None, 1, grpc.StatusCode.UNAUTHENTICATED, "credential"),
        ("Bearer forged", 1, grpc.StatusCode.UNAUTHENTICATED, "credential"),
        ("a user's token", 1, grpc.StatusCode.UNAUTHENTICATED, "credential"),
        ("the service's", 1_025, grpc.StatusCode.INVALID_ARGUMENT, "interactions"),
    ],
)
def test_who_may_not_record_a_batch_is_told_and_nothing_of_it_is_kept(
    wide_school: School,
    brain: brain_pb2_grpc.BrainServiceStub,
    credential: str | None,
    count: int,
    code: grpc.StatusCode,
    says: str,
) -> None:
    learner = wide_school.add_learner(f"l-{uuid.uuid4().hex[:12]}")
    metadata = {
        None: (),
        "the service's": wide_school.stack.metadata,
        "a user's token": (("authorization", f"Bearer {wide_school.token('admin')}"),),
    }.get(credential, (("authorization", str(credential)),))
    batch = [recorded(wide_school, learner)] * count
    with pytest.raises(grpc.RpcError) as refused:
        brain.RecordInteractions(
            brain_pb2.RecordInteractionsRequest(interactions=batch), metadata=metadata, timeout=10
        )
    assert refused.value.code() is code
    assert says in refused.value.details()
    assert assert_readable(wide_school, learner) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learner_id": ""}, "learner_id"),
        ({"learner_id": "a b"}, "learner_id"),
        ({"interaction_id": "\n"}, "interaction_id"),
        ({"kind": 99}, "kind"),
        ({"content": "x" * 65_537}, "content"),
        ({"context_json": b"[]"}, "context"),
        ({"occurred_at_ms": 1}, "occurred_at"),
        ({"occurred_at_ms": 4_000_000_000_000}, "occurred_at"),
        ({"max_age_s": 86_400, "occurred_at_ms": 1}, "occurred_at"),
        ({"context": brain_pb2.Context(time_taken_s=-1.0)}, "time_taken"),
    ],
)
def test_one_bad_interaction_of_a_batch_is_refused_by_field_and_spoils_no_other(
    wide_school: School,
    brain: brain_pb2_grpc.BrainServiceStub,
    changes: dict[str, Any],
    says: str,
) -> None:
    learner = wide_school.add_learner(f"l-{uuid.uuid4().hex[:12]}")
    batch = [
        recorded(wide_school, learner, request_id=1),
        recorded(wide_school, learner, request_id=2, **changes)
        if "learner_id" not in changes
        else recorded(wide_school, changes["learner_id"], request_id=2),
        recorded(wide_school, learner, request_id=3),
    ]
    answer = brain.RecordInteractions(
        brain_pb2.RecordInteractionsRequest(interactions=batch),
        metadata=wide_school.stack.metadata,
        timeout=10,
    )
    assert [one.request_id for one in answer.outcomes] == [1, 2, 3]
    assert [one.applied.revision for one in answer.outcomes] == [1, 0, 2]
    failure = answer.outcomes[1].failure
    assert failure.code == brain_pb2.FAILURE_CODE_INVALID
    assert says in failure.message
    assert failure.message.endswith(".")
    assert assert_readable(wide_school, learner) == 2


def test_a_service_says_itself_who_sent_a_batch(
    wide_school: School, brain: brain_pb2_grpc.BrainServiceStub
) -> None:
    learner = wide_school.add_learner(f"l-{uuid.uuid4().hex[:12]}")
    sender = f"import-{uuid.uuid4().hex[:12]}"
    batch = [recorded(wide_school, learner), recorded(wide_school, "a b")]
    answer = brain.RecordInteractions(
        brain_pb2.RecordInteractionsRequest(interactions=batch, requested_by=sender),
        metadata=wide_school.stack.metadata,
        timeout=10,
    )
    refused = sum(one.HasField("failure") for one in answer.outcomes)
    note = auth_pb2.NoteRecordsRequest(
        user_id=sender, learner_ids=[learner], stored=len(batch) - refused, refused=refused
    )
    with grpc.insecure_channel(wide_school.stack.address("auth")) as channel:
        auth = auth_pb2_grpc.AuthServiceStub(channel)
        auth.NoteRecords(note, metadata=wide_school.stack.metadata, timeout=10)
    lines = map(json.loads, auth_command(wide_school, "audit", "--records").splitlines())
    [entry] = [one for one in lines if one["actor"] == sender]
    assert (entry["subject"], entry["detail"]) == (learner, "stored 1, duplicates 0, refused 1")
