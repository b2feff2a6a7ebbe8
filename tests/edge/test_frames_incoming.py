"""Client frames: every field's limits; bad input is explained by naming the field and never repeats
what was sent.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.frames import incoming, outgoing
from edge.frames.codes import RETRYABLE
from edge.frames.incoming import BadFrameError

SECRET = "zQ7secretZq"

GOOD: dict[str, dict[str, Any]] = {
    "authenticate": {"token": "t"},
    "subscribe_learner": {"learner_id": "ada"},
    "unsubscribe_learner": {"learner_id": "ada"},
    "virtual_brain_interact": {"data": {"learner_id": "ada", "type": "practice", "content": "x"}},
    "get_state": {"learner_id": "ada"},
    "adapt_content": {"data": {"learner_id": "ada", "content": "x", "content_type": "question"}},
    "join_room": {"room_id": "r"},
    "leave_room": {"room_id": "r"},
    "room_message": {"room_id": "r", "data": {}},
    "ping": {},
}


def frame(type: str, path: str = "", value: Any = None) -> bytes:
    """Return a good frame of this type with one field (a dotted path) changed."""
    body = json.loads(json.dumps({"type": type, **GOOD[type]}))
    if path:
        *parents, name = path.split(".")
        place = body
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return json.dumps(body).encode()


def test_there_is_a_good_frame_of_every_type() -> None:
    assert set(GOOD) == incoming.CLIENT_TYPES


@pytest.mark.parametrize("type", GOOD)
def test_the_least_frame_of_each_type_is_understood_and_unknown_fields_are_ignored(
    type: str,
) -> None:
    decoded = incoming.decode(frame(type, "unheard_of", {"x": [1]}))

    assert decoded.__struct_config__.tag == type
    assert decoded.id is None


ID_FIELDS = [
    ("subscribe_learner", "learner_id"),
    ("unsubscribe_learner", "learner_id"),
    ("virtual_brain_interact", "data.learner_id"),
    ("virtual_brain_interact", "data.interaction_id"),
    ("get_state", "learner_id"),
    ("adapt_content", "data.learner_id"),
    ("join_room", "room_id"),
    ("leave_room", "room_id"),
    ("room_message", "room_id"),
]


@pytest.mark.parametrize(("type", "path"), ID_FIELDS)
@pytest.mark.parametrize("value", ["a", "x" * 128, "A-z_0.9:@-"])
def test_good_ids_are_taken(type: str, path: str, value: str) -> None:
    incoming.decode(frame(type, path, value))


@pytest.mark.parametrize(("type", "path"), ID_FIELDS)
@pytest.mark.parametrize(
    "value", ["", "x" * 129, "a b", "a\n", "é", "a/b", "a\x00", 5, [], {}, True]
)
def test_bad_ids_are_refused_by_name(type: str, path: str, value: Any) -> None:
    with pytest.raises(BadFrameError) as refused:
        incoming.decode(frame(type, path, value))

    assert refused.value.code == "bad_request"
    assert refused.value.message_type == type
    assert str(refused.value).startswith(f"{path}: ")


LIMITS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("authenticate", "token", ["", "x" * 8192], ["x" * 8193, None, 1]),
    ("subscribe_learner", "mode", ["latest", "every"], ["", SECRET, None, 1]),
    ("subscribe_learner", "min_interval_ms", [0, 600_000], [-1, 600_001, 1.5, "1", None]),
    ("subscribe_learner", "resume.epoch", [], ["x" * 65, 1, None]),
    (
        "subscribe_learner",
        "resume",
        [{"epoch": "e", "revision": 0}, {"epoch": "", "revision": 2**53}, None],
        [1, []],
    ),
    ("subscribe_learner", "resume.revision", [], [-1, 2**53 + 1, "1", None]),
    (
        "virtual_brain_interact",
        "data.type",
        ["question_response", "content_view", "hint_request", "assessment", "practice"],
        [SECRET, "", None, 3],
    ),
    (
        "virtual_brain_interact",
        "data.content",
        ["", "x" * 16_384, "é" * 16_384],
        ["x" * 16_385, None, 1],
    ),
    ("virtual_brain_interact", "data.response", [None, "", "x" * 16_384], ["x" * 16_385, 1]),
    (
        "virtual_brain_interact",
        "data.occurred_at",
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+02:00", None],
        ["2026-01-01T00:00:00", "yesterday", 1_700_000_000, SECRET],
    ),
    ("virtual_brain_interact", "data.traceparent", ["", "x" * 256], ["x" * 257, None]),
    ("adapt_content", "data.content", ["x", "x" * 16_384], ["", "x" * 16_385, None]),
    ("adapt_content", "data.content_type", ["", "x" * 64], ["x" * 65, None]),
    ("adapt_content", "data.target_difficulty", [1, 2.5, 5, None], [0.99, 5.01, "3"]),
    (
        "adapt_content",
        "data.focus_areas",
        [[], ["x" * 128] * 8, None],
        [["x"] * 9, ["x" * 129], SECRET, [1]],
    ),
    ("ping", "sent_at", [None, 1, 1.5, -3, "x" * 64], ["x" * 65, [], {}, True]),
    (
        "ping",
        "id",
        [None, 0, -1, 2**63 - 1, 1 - 2**63, "x" * 128, ""],
        ["x" * 129, 1.5, [], {}, True, 2**63, -(2**63), 10**100],
    ),
]


@pytest.mark.parametrize(
    ("type", "path", "value"),
    [(type, path, value) for type, path, good, _ in LIMITS for value in good],
)
def test_values_at_the_limits_are_taken(type: str, path: str, value: Any) -> None:
    incoming.decode(frame(type, path, value))


@pytest.mark.parametrize(
    ("type", "path", "value"),
    [(type, path, value) for type, path, _, bad in LIMITS for value in bad],
)
def test_values_beyond_the_limits_are_refused_by_name(type: str, path: str, value: Any) -> None:
    with pytest.raises(BadFrameError) as refused:
        incoming.decode(frame(type, path, value))

    sentence = str(refused.value)
    assert refused.value.code == "bad_request"
    assert refused.value.message_type == type
    assert path.split(".")[0] in sentence
    assert SECRET not in sentence
    assert "xxxx" not in sentence
    assert "`" not in sentence
    assert "$" not in sentence


CONTEXT: list[tuple[str, list[Any], list[Any]]] = [
    ("correct", [True, False, None], ["yes", 1, SECRET]),
    ("difficulty", [1, 5.0, None], ["3", [], True]),
    ("subject", ["", "x" * 128, None], ["x" * 129, 1]),
    (
        "skill",
        ["", "x" * 128, [], ["x"] * 8, ["x" * 128], None],
        ["x" * 129, ["x"] * 9, [""], ["x" * 129], 1, [1]],
    ),
    ("time_taken", [0, 8.5, None], ["8", []]),
    ("hints", [0, 1_000_000, None], [-1, 1_000_001, 0.5, "1"]),
    ("attempts", [0, 1_000_000, None], [-1, 1_000_001, 0.5, "1"]),
    ("item_id", ["", "x" * 128, None], ["x" * 129, 1]),
    ("anything_else", [SECRET, {"deep": [1]}, None], []),
]


def _context(name: str, value: Any) -> Any:
    decoded = incoming.decode(frame("virtual_brain_interact", f"data.context.{name}", value))
    assert isinstance(decoded, incoming.VirtualBrainInteract)
    return incoming.decode_context(decoded.data.context)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, good, _ in CONTEXT for value in good]
)
def test_good_contexts_are_taken(name: str, value: Any) -> None:
    _context(name, value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, _, bad in CONTEXT for value in bad]
)
def test_bad_contexts_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadFrameError) as refused:
        _context(name, value)

    assert str(refused.value).startswith(f"data.context.{name}")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("context", [None, [], 1, "x", [SECRET]])
def test_a_context_that_is_no_object_is_refused(context: Any) -> None:
    decoded = incoming.decode(frame("virtual_brain_interact", "data.context", context))
    assert isinstance(decoded, incoming.VirtualBrainInteract)
    with pytest.raises(BadFrameError, match=r"data\.context"):
        incoming.decode_context(decoded.data.context)


@pytest.mark.parametrize("data", [None, [], 1, "x", [SECRET]])
def test_a_rooms_message_must_be_an_object(data: Any) -> None:
    decoded = incoming.decode(frame("room_message", "data", data))
    assert isinstance(decoded, incoming.SendRoomMessage)
    with pytest.raises(BadFrameError, match="data must be a JSON object"):
        incoming.check_object(decoded.data, "data")


@pytest.mark.parametrize(
    ("payload", "code", "id"),
    [
        (b"", "bad_request", None),
        (b"{", "bad_request", None),
        (b"nonsense", "bad_request", None),
        (b"[]", "bad_request", None),
        (b"5", "bad_request", None),
        (b"null", "bad_request", None),
        (b'"ping"', "bad_request", None),
        (b"{}", "bad_request", None),
        (b'{"id":7}', "bad_request", 7),
        (b'{"type":5,"id":"q"}', "bad_request", "q"),
        (b'{"type":null}', "bad_request", None),
        (b'{"type":"teleport","id":"q"}', "unknown_type", "q"),
        (b'{"type":"teleport","id":[1]}', "unknown_type", None),
        (b'{"type":"teleport","id":true}', "unknown_type", None),
        (b'{"type":"teleport","id":"' + b"x" * 129 + b'"}', "unknown_type", None),
        (b'{"type":"teleport","id":' + b"9" * 5000 + b"}", "bad_request", None),
        (b'{"type":"ping","id":' + b"9" * 5000 + b"}", "bad_request", None),
        (b'{"type":"ping","sent_at":1e999}', "bad_request", None),
        (b'{"type":"ping","id":"q","sent_at":[]}', "bad_request", "q"),
        (b'{"type":"ping"} {"type":"ping"}', "bad_request", None),
        (b'{"type":"ping",}', "bad_request", None),
        (b'{"type":"ping","sent_at":NaN}', "bad_request", None),
        (b'{"type":"ping","id":"\\ud800"}', "bad_request", None),
        (b'{"type":"ping","id":"\xff"}', "bad_request", None),
        (b'{"type":"room_message","room_id":"r","data":{"x":"\xff"}}', "bad_request", None),
        (b"\xef\xbb\xbf{}", "bad_request", None),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "bad_request", None),
    ],
)
def test_what_is_no_frame_is_refused_with_the_id_where_it_can_be_read(
    payload: bytes, code: str, id: Any
) -> None:
    with pytest.raises(BadFrameError) as refused:
        incoming.decode(payload)

    assert (refused.value.code, refused.value.id) == (code, id)
    assert "teleport" not in str(refused.value)


def test_a_frame_as_deep_as_a_frame_can_be_is_refused_without_a_crash() -> None:
    deep = b"[" * 30_000 + b"]" * 30_000
    for payload in (
        b'{"type":"room_message","room_id":"r","data":' + deep + b"}",
        b'{"type":"ping","x":' + deep + b"}",
        b'{"type":"virtual_brain_interact","data":{"learner_id":"a","type":"practice","content":"","context":{"x":'
        + deep
        + b"}}}",
    ):
        with pytest.raises(BadFrameError):
            incoming.decode(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_become_a_frame_or_an_error_that_can_be_sent(payload: bytes) -> None:
    try:
        outcome: Any = incoming.decode(payload)
    except BadFrameError as error:
        outcome = error
    if isinstance(outcome, BadFrameError):
        assert outcome.code in RETRYABLE
        outgoing.encode(
            outgoing.error(
                outcome.code, str(outcome), id=outcome.id, message_type=outcome.message_type
            )
        )
    else:
        assert outcome.__struct_config__.tag in incoming.CLIENT_TYPES


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_wrong_field_never_finds_its_way_into_the_explanation(
    type: str, data: st.DataObject
) -> None:
    paths = [path for which, path in ID_FIELDS if which == type] + [
        path for which, path, *_ in LIMITS if which == type
    ]
    path = data.draw(st.sampled_from([*paths, "id"]))
    value = data.draw(st.sampled_from([{SECRET: SECRET}, SECRET * 1500, [[SECRET]]]))
    with pytest.raises(BadFrameError) as refused:
        incoming.decode(frame(type, path, value))

    assert SECRET not in str(refused.value)
    assert refused.value.message_type == type
