"""Adapting content as claims: only what the state asks for, every change told, everything
reversible.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Assessment, Statistics, apply, interaction_from_context
from brain_service.model.adapt import (
    LONG_TEXT,
    Adapted,
    ContentAdapter,
    Request,
    RuleAdapter,
    original,
)
from brain_service.model.levels import NAMES
from brain_service.model.recommend import ADVICE, Recommendation

ADAPTER: ContentAdapter = RuleAdapter()
LONG = " ".join(f"Sentence number {i} tells one more thing about fractions." for i in range(20))
NUMBER = {advice.code: advice.number for advice in ADVICE[:8]}


def assessment(*advised: int, **levels: float) -> Assessment:
    base = apply(
        None, Statistics(), interaction_from_context("content_view", "x", {}), 0.0
    ).assessment
    values = {name: 0.5 for name in NAMES} | levels
    given = tuple(Recommendation(ADVICE[n], (0.6,) * len(ADVICE[n].reasons)) for n in advised)
    estimates = base.estimates._replace(levels=tuple(values[name] for name in NAMES))
    return base._replace(
        estimates=estimates, recommendations=given or (Recommendation(ADVICE[7], (0.7,)),)
    )


def adapt(
    content: str, found: Assessment | None, content_type: str = "question", **asked: Any
) -> Adapted:
    return ADAPTER.adapt(Request(content, content_type, **asked), found)


@pytest.mark.parametrize("found", [None, assessment()])
def test_where_nothing_is_needed_the_content_stays_as_it_is(found: Assessment | None) -> None:
    assert adapt(LONG, found) == Adapted(LONG, ())


@pytest.mark.parametrize(
    ("found", "code", "reason"),
    [
        (assessment(cognitive_load=0.84), "chunked", "cognitive_load 0.84 above 0.70"),
        (assessment(fatigue_level=0.75), "chunked", "fatigue_level 0.75 above 0.70"),
        (
            assessment(frustration_level=0.65, confidence_level=0.3),
            "scaffolded",
            "frustration_level 0.65 above 0.60",
        ),
        (assessment(NUMBER["scaffold"]), "scaffolded", "recommended: scaffold"),
        (assessment(NUMBER["worked_example"]), "scaffolded", "recommended: worked_example"),
        (assessment(NUMBER["harder"]), "harder", "expect 0.60"),
        (assessment(8), "easier", "expect 0.60"),
        (assessment(9), "harder", "expect 0.60"),
        (assessment(NUMBER["take_break"]), "break_suggested", "fatigue tank 0.60"),
    ],
)
def test_each_need_makes_its_one_change_and_says_why(
    found: Assessment, code: str, reason: str
) -> None:
    adapted = adapt(LONG, found)
    (change,) = adapted.changes

    assert change.code == code
    assert reason in change.reason
    assert change.description.endswith(".")
    assert change.undo.endswith(".")
    assert adapted.content != LONG
    assert change.added in adapted.content


def test_what_the_caller_asks_for_is_done_without_any_state() -> None:
    adapted = adapt(
        "What is ½ + ¼?", None, target_difficulty=2.0, focus_areas=("fractions", "adding")
    )

    assert [change.code for change in adapted.changes] == ["focus", "target_difficulty"]
    assert (
        adapted.content
        == "Focus: fractions, adding.\n\nTarget difficulty: 2 of 5.\n\nWhat is ½ + ¼?"
    )


def test_a_wished_difficulty_takes_precedence_over_the_models_own() -> None:
    codes = [
        change.code
        for change in adapt("Why?", assessment(NUMBER["harder"]), target_difficulty=1.0).changes
    ]

    assert codes == ["target_difficulty"]


def test_steps_are_put_above_tasks_only() -> None:
    assert adapt(LONG, assessment(NUMBER["scaffold"]), "explanation").changes == ()


def test_chunks_change_no_word_and_short_texts_are_left_alone() -> None:
    loaded = assessment(cognitive_load=0.9)

    assert adapt(LONG, loaded).content.split() == LONG.split()
    assert adapt(LONG, loaded).content.count("\n\n") > 1
    assert adapt("Short. Text.", loaded).changes == ()


text = st.lists(
    st.sampled_from(
        ["One.", "Two words?", "a", "\n\n", "\n", " ", "  ", "Why! " * 20, "Focus: x.", "…"]
    )
).map("".join) | st.text(max_size=LONG_TEXT * 2)


@given(
    text,
    st.lists(st.sampled_from(range(len(ADVICE))), max_size=3),
    st.fixed_dictionaries({}, optional={name: st.floats(0, 1) for name in NAMES}),
    st.sampled_from(["question", "explanation"]),
    st.none() | st.floats(1, 5),
    st.lists(st.text(min_size=1, max_size=10), max_size=3),
)
def test_every_adaptation_can_be_undone_exactly(
    content: str,
    advised: list[int],
    levels: dict[str, float],
    kind: str,
    target: float | None,
    focus: list[str],
) -> None:
    adapted = adapt(
        content,
        assessment(*advised, **levels),
        kind,
        target_difficulty=target,
        focus_areas=tuple(focus),
    )

    assert original(adapted) == content
    assert bool(adapted.changes) == (adapted.content != content)
