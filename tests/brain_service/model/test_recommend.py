"""Recommendations as claims: each threshold, the order, at most three, and no flicker."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Statistics, apply, interaction_from_context
from brain_service.model.recommend import ADVICE, MOST, Situation, Urgency, recommend

CALM = Situation(
    tank=0.1,
    active_s=600.0,
    frustration=0.4,
    load=0.6,
    failures=0,
    expect=0.7,
    haste=0.03,
    idle=0.05,
    review=None,
)


def codes(situation: Situation, before: int = 0) -> list[str]:
    return [found.code for found in recommend(situation, before)[0]]


CASES = [
    ("take_break", {"tank": 0.51}, {"tank": 0.5}),
    ("take_break", {"active_s": 45 * 60.0 + 1}, {"active_s": 45 * 60.0}),
    ("scaffold", {"frustration": 0.71, "failures": 3}, {"frustration": 0.71, "failures": 2}),
    ("scaffold", {"frustration": 0.71, "failures": 3}, {"frustration": 0.7, "failures": 3}),
    ("worked_example", {"load": 0.81, "failures": 3}, {"load": 0.8, "failures": 3}),
    ("worked_example", {"load": 0.81, "failures": 3}, {"load": 0.81, "failures": 2}),
    ("harder", {"expect": 0.91, "load": 0.54}, {"expect": 0.9, "load": 0.54}),
    ("harder", {"expect": 0.91, "load": 0.54}, {"expect": 0.91, "load": 0.55}),
    ("slow_down", {"haste": 0.11}, {"haste": 0.1}),
    ("re_engage", {"idle": 0.51}, {"idle": 0.5}),
    ("spaced_review", {"review": ("add", 0.79, 8.0)}, {"review": ("add", 0.8, 8.0)}),
]


@pytest.mark.parametrize(("code", "beyond", "at"), CASES)
def test_advice_starts_beyond_its_threshold(
    code: str, beyond: dict[str, float], at: dict[str, float]
) -> None:
    assert codes(CALM._replace(**beyond)) == [code]  # type: ignore[arg-type]
    assert code not in codes(CALM._replace(**at))  # type: ignore[arg-type]


HELD = [
    ("take_break", {"tank": 0.51}, {"tank": 0.46}, {"tank": 0.45}),
    ("take_break", {"active_s": 2701.0}, {"active_s": 2566.0}, {"active_s": 2564.0}),
    (
        "scaffold",
        {"frustration": 0.71, "failures": 3},
        {"frustration": 0.66},
        {"frustration": 0.64},
    ),
    ("worked_example", {"load": 0.81, "failures": 3}, {"load": 0.76}, {"load": 0.74}),
    ("harder", {"expect": 0.91, "load": 0.54}, {"expect": 0.86, "load": 0.59}, {"expect": 0.84}),
    ("harder", {"expect": 0.91, "load": 0.54}, {"load": 0.59}, {"load": 0.61}),
    ("slow_down", {"haste": 0.11}, {"haste": 0.06}, {"haste": 0.04}),
    ("re_engage", {"idle": 0.51}, {"idle": 0.46}, {"idle": 0.44}),
    (
        "spaced_review",
        {"review": ("add", 0.79, 8.0)},
        {"review": ("add", 0.84, 8.0)},
        {"review": ("add", 0.86, 8.0)},
    ),
]


@pytest.mark.parametrize(("code", "on", "within", "off"), HELD)
def test_advice_stays_until_its_value_is_well_on_the_other_side(
    code: str, on: dict[str, float], within: dict[str, float], off: dict[str, float]
) -> None:
    situation = CALM._replace(**on)  # type: ignore[arg-type]
    bits = recommend(situation, 0)[1]
    inside = situation._replace(**within)  # type: ignore[arg-type]

    assert code in codes(inside, bits)
    assert code not in codes(inside, 0)
    assert code not in codes(inside._replace(**off), bits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expect", "urgency", "shift"),
    [
        (0.59, Urgency.LOW, -1),
        (0.60, Urgency.NONE, 0),
        (0.85, Urgency.NONE, 0),
        (0.86, Urgency.LOW, 1),
    ],
)
def test_otherwise_the_target_zone_says_which_way_to_go(
    expect: float, urgency: Urgency, shift: int
) -> None:
    (found,), _ = recommend(CALM._replace(expect=expect), 0)

    assert (found.code, found.urgency, found.advice.shift) == ("target_zone", urgency, shift)


situations = st.builds(
    Situation,
    st.floats(0, 1),
    st.floats(0, 7200),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 8),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.none() | st.tuples(st.just("add"), st.floats(0, 1), st.floats(7, 90)),
)
masks = st.integers(0, 2 ** len(ADVICE) - 1)


@given(situations, masks)
def test_asking_again_changes_nothing(situation: Situation, before: int) -> None:
    first, bits = recommend(situation, before)

    assert recommend(situation, bits) == (first, bits)


@given(situations, masks)
def test_there_are_one_to_three_most_urgent_first_each_with_its_drivers(
    situation: Situation, before: int
) -> None:
    found, _ = recommend(situation, before)

    assert 1 <= len(found) <= MOST
    assert [f.urgency for f in found] == sorted((f.urgency for f in found), reverse=True)
    assert [f.advice.number for f in found] == sorted({f.advice.number for f in found})
    assert all(len(f.reasons) == len(f.values) > 0 and f.sentence.endswith(".") for f in found)


@given(st.floats(0.46, 0.54), st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=50))
def test_a_value_that_trembles_around_a_threshold_switches_advice_at_most_once(
    middle: float, tremble: list[float]
) -> None:
    bits, shown = 0, []
    for noise in tremble:
        found, bits = recommend(
            CALM._replace(tank=0.475 + (middle - 0.5) * 0.1 + noise, active_s=0.0), bits
        )
        shown.append(any(f.code == "take_break" for f in found))

    assert sum(a != b for a, b in pairwise(shown)) <= 1


def test_the_place_of_an_advice_is_its_number() -> None:
    """Numbers stand in stored bytes."""
    assert [advice.number for advice in ADVICE] == list(range(len(ADVICE)))
    assert [advice.code for advice in ADVICE[:7]] == [
        "take_break", "scaffold", "worked_example", "harder", "slow_down", "re_engage",
        "spaced_review",
    ]  # fmt: skip


def answers(*given: bool, gap: float = 30.0, **context: object) -> list[list[str]]:
    state, shown = None, []
    for i, correct in enumerate(given):
        step = interaction_from_context(
            "practice", f"q{i}", {"correct": correct, "skill": "add", **context}
        )
        state, assessment, _ = apply(state, Statistics(), step, gap * i)
        shown.append([found.code for found in assessment.recommendations])
    return shown


def test_three_hard_failures_ask_for_a_scaffold_and_a_right_answer_ends_it() -> None:
    shown = answers(False, False, False, False, True, difficulty=5)

    assert ["scaffold" in found for found in shown] == [False, False, True, True, False]


def test_one_hasty_wrong_answer_asks_to_slow_down() -> None:
    assert "slow_down" in answers(False, time_taken=1.0)[-1]
    assert "slow_down" not in answers(True, time_taken=1.0)[-1]


def test_a_skill_left_for_a_week_is_named_for_review_until_it_is_practised() -> None:
    state = None
    for i in range(4):
        step = interaction_from_context("practice", "q", {"correct": False, "skill": "fractions"})
        state = apply(state, Statistics(), step, 60.0 * i).state
    other = interaction_from_context("practice", "q2", {"correct": True, "skill": "add"})
    week = apply(state, Statistics(), other, 8 * 86_400.0)
    (review,) = [
        found for found in week.assessment.recommendations if found.code == "spaced_review"
    ]

    assert review.skill == "fractions"
    assert "fractions" in review.sentence
    practised = interaction_from_context("practice", "q", {"correct": False, "skill": "fractions"})
    after = apply(week.state, Statistics(), practised, 8 * 86_400.0 + 60)
    assert "spaced_review" not in [found.code for found in after.assessment.recommendations]
