"""Loose fields from outside: what is accepted, what is bounded, what is refused and how it
is said.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model.interaction import (
    ANONYMOUS_SKILL,
    BadInteractionError,
    check_carried,
    content_key,
    interaction_from_context,
)


def context(**fields: Any) -> Any:
    return interaction_from_context("question_response", "2 + 2?", fields)


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("difficulty", 99, 5.0),
        ("difficulty", -3, 1.0),
        ("difficulty", 2.5, 2.5),
        ("difficulty", 10**400, 5.0),
        ("time_taken", 0, 0.0),
        ("time_taken", 7200, 3600.0),
        ("hints", 10**9, 1000),
        ("hints", 2.0, 2),
        ("attempts", 0, 0),
        ("correct", None, None),
        ("subject", None, None),
    ],
)
def test_odd_values_are_bounded(field: str, sent: object, kept: object) -> None:
    assert getattr(context(**{field: sent}), field) == kept


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("correct", 1),
        ("correct", "true"),
        ("difficulty", float("nan")),
        ("difficulty", float("inf")),
        ("difficulty", True),
        ("difficulty", "3"),
        ("time_taken", -0.1),
        ("time_taken", 7 * 86_400),
        ("time_taken", float("nan")),
        ("time_taken", False),
        ("time_taken", [1]),
        ("hints", -1),
        ("hints", 1.5),
        ("hints", True),
        ("attempts", float("-inf")),
        ("attempts", "two"),
        ("subject", ""),
        ("subject", "x" * 129),
        ("subject", 7),
        ("skill", ""),
        ("skill", "two\nlines"),
        ("skill", "nul\0"),
        ("skill", "\ud800"),
        ("skill", 7),
        ("skill", ["add", 7]),
        ("skill", ["add", ""]),
        ("skill", [f"s{i}" for i in range(10_000)]),
        ("skill", {"add": 1}),
        ("item_id", ""),
        ("item_id", 42),
        ("item_id", "x" * 129),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_field(field: str, sent: object) -> None:
    with pytest.raises(BadInteractionError, match=rf"^context\.{field} must .*\.$"):
        context(**{field: sent})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadInteractionError, match="type must be one of"):
        interaction_from_context("quiz", "2 + 2?", {})


@pytest.mark.parametrize("content", ["", "x" * 16_385])
def test_content_that_names_nothing_or_is_endless_is_refused(content: str) -> None:
    with pytest.raises(BadInteractionError, match="content"):
        interaction_from_context("content_view", content, {})


def test_an_item_id_takes_the_place_of_content() -> None:
    assert interaction_from_context("content_view", "", {"item_id": "page-1"}).item == "page-1"


def test_content_names_its_item_the_same_on_every_machine() -> None:
    assert context().item == content_key("2 + 2?") == "~72f7de589a1c2b09e9722399"


@pytest.mark.parametrize("sent", [None, []])
def test_no_skill_means_one_anonymous_skill(sent: object) -> None:
    assert context(skill=sent).skills == (ANONYMOUS_SKILL,)


def test_a_skill_named_twice_stays_twice() -> None:
    assert context(skill=["add", "sub", "add"]).skills == ("add", "sub", "add")


@pytest.mark.parametrize("kind", ["content_view", "hint_request"])
def test_correct_is_kept_only_where_it_is_an_answer(kind: str) -> None:
    assert interaction_from_context(kind, "x", {"correct": True}).correct is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = [
    "correct",
    "difficulty",
    "subject",
    "skill",
    "time_taken",
    "hints",
    "attempts",
    "item_id",
    "other",
]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_anything_is_either_refused_with_a_sentence_or_within_bounds(
    fields: dict[str, object],
) -> None:
    try:
        context(**fields)
    except BadInteractionError as refusal:
        sentence = str(refusal)
    else:
        sentence = ""
    if sentence:
        assert sentence.startswith("context.")
        assert sentence.endswith(".")
        return
    found = context(**fields)
    assert found.difficulty is None or 1 <= found.difficulty <= 5
    assert found.time_taken is None or 0 <= found.time_taken <= 3600
    assert all(count is None or 0 <= count <= 1000 for count in (found.hints, found.attempts))
    assert 1 <= len(found.skills) <= 8


CARRIED: Any = {
    "learner_id": "ada",
    "interaction_id": "i-1",
    "content": "2 + 2?",
    "response": "4",
    "context_json": b'{"z": 1}',
    "occurred_at_ms": 0,
    "received_at_ms": 1,
}


def test_what_can_be_stored_may_be_carried() -> None:
    check_carried(**CARRIED)
    check_carried(**CARRIED | {"response": None, "context_json": b""})


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        pytest.param({"learner_id": ""}, "learner_id", id="no learner"),
        pytest.param({"learner_id": "a b"}, "learner_id", id="a learner with a space"),
        pytest.param({"learner_id": "ada\n"}, "learner_id", id="a learner with a line end"),
        pytest.param({"interaction_id": "x" * 129}, "interaction_id", id="a long id"),
        pytest.param({"interaction_id": "é"}, "interaction_id", id="an id beyond ASCII"),
        pytest.param({"response": "\ud800"}, "response", id="half a character"),
        pytest.param({"response": "a\0b"}, "response", id="NUL"),
        pytest.param({"response": "x" * 16_385}, "response", id="a long response"),
        pytest.param({"content": "\udfff"}, "content", id="half a character in content"),
        pytest.param({"context_json": b"[]"}, "context_json", id="a context that is a list"),
        pytest.param({"occurred_at_ms": -1}, "occurred_at", id="before 1970"),
        pytest.param({"occurred_at_ms": 1 << 80}, "occurred_at", id="beyond all time"),
        pytest.param({"received_at_ms": 1 << 80}, "received_at", id="received beyond all time"),
    ],
)
def test_what_can_never_be_stored_is_refused_with_its_reason(
    fields: dict[str, object], word: str
) -> None:
    with pytest.raises(BadInteractionError, match=word):
        check_carried(**CARRIED | fields)
