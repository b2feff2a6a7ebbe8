"""Recommendations as claims: each threshold, the order, at most three, and no flicker."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Statistics, apply, interaction_from_context
from brain_service.model.attention import Attention
from brain_service.model.habits import Band
from brain_service.model.population import START
from brain_service.model.recommend import ADVICE, MOST, Situation, Urgency, contradicts, recommend

USUAL = bytes([Band.AS_USUAL] * 6)
QUIET = Situation(
    tank=0.1,
    active_s=600.0,
    load=0.6,
    failures=0,
    expect=0.7,
    accuracy=0.8,
    haste=0.03,
    idle=0.05,
    struggle=-1.0,
    attention=0,
    bands=USUAL,
    review=None,
)
LOUD = {"attention": 2, "failures": 3}


def with_band(level: int, band: Band) -> bytes:
    """Six levels as usual, but one."""
    return bytes(band if place == level else Band.AS_USUAL for place in range(6))


HARD = with_band(0, Band.HIGHER)


def codes(situation: Situation, before: int = 0) -> list[str]:
    return [found.code for found in recommend(situation, before)[0]]


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("take_break", {"tank": 0.51}, {"tank": 0.5}),
    ("take_break", {"active_s": 45 * 60.0 + 1}, {"active_s": 45 * 60.0}),
    ("scaffold", LOUD, LOUD | {"failures": 2}),
    ("scaffold", LOUD, LOUD | {"attention": 0}),
    ("check_in", {"attention": 1}, {"attention": 0}),
    ("harder", {"expect": 0.91}, {"expect": 0.9}),
    ("harder", {"expect": 0.91}, {"expect": 0.91, "accuracy": 0.75}),
    ("harder", {"expect": 0.91}, {"expect": 0.91, "bands": HARD}),
    ("slow_down", {"haste": 0.11}, {"haste": 0.1}),
    ("re_engage", {"idle": 0.51}, {"idle": 0.5}),
]


@pytest.mark.parametrize(("code", "beyond", "at"), CASES)
def test_advice_starts_beyond_its_threshold(
    code: str, beyond: dict[str, Any], at: dict[str, Any]
) -> None:
    assert codes(QUIET._replace(**beyond)) == [code]
    assert code not in codes(QUIET._replace(**at))


def test_a_worked_example_is_added_where_the_work_is_harder_than_usual() -> None:
    assert codes(QUIET._replace(**LOUD, bands=HARD)) == ["scaffold", "worked_example"]
    assert codes(QUIET._replace(**LOUD)) == ["scaffold"]


def test_a_review_is_a_quiet_hint_that_pushes_nothing_aside() -> None:
    due = QUIET._replace(review=("add", 0.79, 8.0))
    urgent = due._replace(tank=0.6, haste=0.2, idle=0.6)

    assert codes(due) == ["target_zone", "spaced_review"]
    assert codes(urgent) == ["take_break", "slow_down", "spaced_review"]
    assert codes(due._replace(**LOUD)) == ["scaffold"]
    assert recommend(due, 0)[0][-1].urgency is Urgency.NONE
    assert "spaced_review" not in codes(due._replace(review=("add", 0.8, 8.0)))


def test_nothing_is_said_to_be_right_where_half_of_the_answers_are_wrong() -> None:
    assert codes(QUIET._replace(accuracy=0.5)) == ["keep_watch"]
    assert codes(QUIET._replace(bands=with_band(1, Band.HIGHER))) == ["keep_watch"]
    assert codes(QUIET) == ["target_zone"]


@pytest.mark.parametrize("attention", [1, 2])
def test_only_who_needs_help_now_gets_advice_of_high_urgency(attention: int) -> None:
    for failures in (0, 3):
        found, _ = recommend(QUIET._replace(attention=attention, failures=failures, tank=0.9), 0)
        assert found[0].urgency is (Urgency.HIGH if attention == 2 else Urgency.MEDIUM)
        assert all(each.urgency < Urgency.HIGH for each in found[1:])


HELD = [
    ("take_break", {"tank": 0.51}, {"tank": 0.46}, {"tank": 0.45}),
    ("take_break", {"active_s": 2701.0}, {"active_s": 2566.0}, {"active_s": 2564.0}),
    ("harder", {"expect": 0.91}, {"expect": 0.86}, {"expect": 0.84}),
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
    situation = QUIET._replace(**on)  # type: ignore[arg-type]
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
    (found,), _ = recommend(QUIET._replace(expect=expect), 0)

    assert (found.code, found.urgency, found.advice.shift) == ("target_zone", urgency, shift)


situations = st.builds(
    Situation,
    tank=st.floats(0, 1),
    active_s=st.floats(0, 7200),
    load=st.floats(0, 1),
    failures=st.integers(0, 8),
    expect=st.floats(0, 1),
    accuracy=st.floats(0, 1),
    haste=st.floats(0, 1),
    idle=st.floats(0, 1),
    struggle=st.floats(-9, 9),
    attention=st.sampled_from(list(map(int, Attention))),
    bands=st.one_of(
        st.just(bytes([Band.TOO_EARLY] * 6)),
        st.lists(st.integers(1, 5), min_size=6, max_size=6).map(bytes),
    ),
    review=st.none() | st.tuples(st.just("add"), st.floats(0, 1), st.floats(7, 90)),
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
    assert len({f.code for f in found}) == len(found)
    assert all(f.because and all(one.words for one in f.because) for f in found)
    assert all(len(f.reasons) == len(f.values) > 0 and f.sentence.endswith(".") for f in found)


@given(situations, masks)
def test_no_advice_contradicts_what_it_stands_beside(situation: Situation, before: int) -> None:
    found, _ = recommend(situation, before)

    assert not [
        each.code
        for each in found
        if contradicts(each.advice.number, situation.bands, situation.attention)
    ]
    assert bool(situation.attention) == any(each.code in HELP for each in found)
    assert (found[0].urgency is Urgency.HIGH) == (situation.attention == Attention.NOW)


HELP = {"check_in", "scaffold"}
BAD_FOR_KEEPING_ON = [
    *((level, band) for level in (0, 1, 4) for band in (Band.HIGHER, Band.MUCH_HIGHER)),
    *((level, band) for level in (2, 3, 5) for band in (Band.LOWER, Band.MUCH_LOWER)),
]


@pytest.mark.parametrize(("level", "band"), BAD_FOR_KEEPING_ON)
def test_the_difficulty_is_never_about_right_beside_a_level_that_says_otherwise(
    level: int, band: Band
) -> None:
    """The table, told again by hand: what a teacher would call a contradiction."""
    assert contradicts(7, with_band(level, band), 0)
    assert codes(QUIET._replace(bands=with_band(level, band))) == ["keep_watch"]


@given(st.floats(0.46, 0.54), st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=50))
def test_a_value_that_trembles_around_a_threshold_switches_advice_at_most_once(
    middle: float, tremble: list[float]
) -> None:
    bits, shown = 0, []
    for noise in tremble:
        found, bits = recommend(
            QUIET._replace(tank=0.475 + (middle - 0.5) * 0.1 + noise, active_s=0.0), bits
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


def answers(
    *given: bool, gap: float = 30.0, known: Statistics | None = None, **context: object
) -> list[list[str]]:
    state, shown = None, []
    for i, correct in enumerate(given):
        step = interaction_from_context(
            "practice", f"q{i}", {"correct": correct, "skill": "add", **context}
        )
        state, assessment, _ = apply(state, known or Statistics(), step, gap * i)
        shown.append([found.code for found in assessment.recommendations])
    return shown


def test_failures_ask_for_a_scaffold_and_two_right_answers_end_it() -> None:
    known = Statistics(population=START._replace(look=0.0, now=1.0))
    shown = answers(False, False, False, False, False, True, True, known=known, difficulty=5)

    assert ["scaffold" in found for found in shown[:2]] == [False, False]
    assert "scaffold" in shown[4]
    assert not HELP & set(shown[6])


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
