"""Who is called for, as claims: cuts that follow the population, reasons, and days unlike usual."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Assessment, LearnerState, apply, params
from brain_service.model.attention import (
    REASONS,
    STUCK_FROM,
    Attention,
    attend,
    is_unlike_usual,
    reason_of,
    score,
)
from brain_service.model.bank import Bank
from brain_service.model.habits import ALL_EARLY, Band
from brain_service.model.interaction import interaction_from_context
from brain_service.model.population import START, Population
from brain_service.model.words import reason

CROWD = START._replace(look=0.5, now=1.5)
"""With cuts that are easy to read."""
USUAL = bytes([Band.AS_USUAL] * 6)
LOAD, FRUSTRATION, CONFIDENCE, ENGAGEMENT, FATIGUE, MOTIVATION = range(6)


def banded(**levels: Band) -> bytes:
    """Six levels as usual, but these."""
    bands = bytearray(USUAL)
    for level, band in levels.items():
        bands[globals()[level.upper()]] = band
    return bytes(bands)


def attention(reached: float, *, before: int = 0, streak: int = -1, answers: int = 20) -> int:
    return attend(before, answers, streak, reached, CROWD)


@pytest.mark.parametrize(
    ("reached", "expected"),
    [(0.5, 0), (0.51, 1), (1.5, 1), (1.51, 2)],
)
def test_a_wrong_answer_calls_above_each_cut(reached: float, expected: int) -> None:
    assert attention(reached) == expected


def test_a_right_answer_calls_nobody_and_keeps_who_is_called() -> None:
    assert attention(9.0, streak=1) == Attention.NONE
    assert attention(9.0, streak=1, before=1) == Attention.LOOK
    assert attention(9.0, streak=1, before=2) == Attention.NOW
    assert attention(9.0, streak=2, before=2) == Attention.NONE


def test_nobody_is_called_before_three_answers() -> None:
    assert attention(9.0, answers=2) == Attention.NONE
    assert attention(9.0, answers=3) == Attention.NOW


@pytest.mark.parametrize(("before", "cut"), [(1, CROWD.look), (2, CROWD.now)])
def test_who_is_called_stays_so_until_well_below_the_cut(before: int, cut: float) -> None:
    grip = params.CUT_GRIP
    assert attention(cut - grip / 2, before=before) == before
    assert attention(cut - grip / 2, before=0) == before - 1
    assert attention(cut - grip * 2, before=before) == before - 1


@given(st.integers(0, 2), st.integers(0, 40), st.integers(-9, 9), st.floats(-9, 9), st.floats(0, 9))
def test_more_that_speaks_for_attention_never_brings_less(
    before: int, answers: int, streak: int, reached: float, more: float
) -> None:
    less = attend(before, answers, streak, reached, CROWD)
    assert attend(before, answers, streak, reached + more, CROWD) >= less


def test_giving_up_and_distress_add_to_the_forecast() -> None:
    hasty = params.GIVING_UP + 0.01
    assert score(0.3, 0, hasty, USUAL) == 0.3  # a right answer is no giving up
    assert score(0.3, 1, hasty, USUAL) == pytest.approx(0.3 + params.GIVING_UP_STEP)
    for level in ("load", "frustration"):
        bands = banded(**{level: Band.MUCH_HIGHER})
        assert score(0.3, 0, 0.0, bands) == pytest.approx(0.3 + params.DISTRESS_STEP)
        assert score(0.3, 0, 0.0, banded(**{level: Band.HIGHER})) == 0.3


@pytest.mark.parametrize(
    ("failures", "haste", "bands", "expected"),
    [
        (STUCK_FROM, 0.9, banded(frustration=Band.MUCH_HIGHER), "stuck"),
        (2, params.GIVING_UP + 0.01, banded(frustration=Band.MUCH_HIGHER), "giving_up"),
        (2, 0.0, banded(frustration=Band.HIGHER, load=Band.MUCH_HIGHER), "frustrated"),
        (2, 0.0, banded(load=Band.HIGHER), "overloaded"),
        (2, 0.0, USUAL, "likely_to_struggle"),
        (2, 0.0, ALL_EARLY, "likely_to_struggle"),
    ],
)
def test_the_reason_told_is_the_first_that_holds(
    failures: int, haste: float, bands: bytes, expected: str
) -> None:
    code = REASONS[reason_of(failures, haste, bands)]
    assert code == expected
    assert reason(code, failures, likely=True).endswith(".")


def test_the_number_of_wrong_answers_is_told() -> None:
    assert reason("stuck", 3, likely=True) == "Three wrong answers in a row."
    assert reason("stuck", 11, likely=True) == "11 wrong answers in a row."
    assert reason("", 3, likely=True) == ""


RIGHT_SHARES = (0.3, 0.6, 0.9)


@pytest.mark.parametrize("share", RIGHT_SHARES)
def test_the_share_of_calls_keeps_to_its_budget_whatever_a_school_finds_hard(share: float) -> None:
    """Learners who alternate between good and bad stretches, in a school that gets this share of
    its answers right.
    """
    told = school(share, learners=20, answers=250, seed=7)[2000:]

    called = sum(attention_of(each) > Attention.NONE for each in told) / len(told)
    now = sum(attention_of(each) == Attention.NOW for each in told) / len(told)
    assert 0.03 <= called <= 0.1
    assert now <= 0.05


def attention_of(assessment: Assessment) -> int:
    assert assessment.meaning is not None
    return assessment.meaning.attention


def school(share: float, *, learners: int, answers: int, seed: int) -> list[Assessment]:
    """What is told of learners who take turns, one answer each."""
    chance, bank, told = random.Random(seed), Bank(), []
    states: dict[int, LearnerState] = {}
    for turn, learner in product(range(answers), range(learners)):
        good = (turn // 15 + learner) % 3
        right = chance.random() < min(0.97, share * (1.15 if good else 0.7))
        step = interaction_from_context(
            "practice",
            f"q{chance.randrange(60)}",
            {"skill": f"s{chance.randrange(5)}", "correct": right},
        )
        stage = bank.stage()
        applied = apply(states.get(learner), stage.lookup(step), step, 30.0 * turn)
        stage.add(applied.increments)
        stage.commit(written=True)
        states[learner] = applied.state
        told.append(applied.assessment)
    return told


SIDES = {
    "much": (5, 5, 1, 1, 5, 1),
    "clear": (4, 4, 2, 2, 4, 2),
    "wished": (2, 1, 5, 4, 2, 4),
}


@given(st.lists(st.sampled_from(["much", "clear", "wished", "usual"]), min_size=6, max_size=6))
def test_five_arrows_on_the_side_that_nobody_wishes_for_are_unlike_usual(sides: list[str]) -> None:
    bands = bytes(SIDES[side][at] if side in SIDES else 3 for at, side in enumerate(sides))
    arrows = sides.count("clear") + 2 * sides.count("much")
    assert is_unlike_usual(bands) == (arrows >= 5)
    assert not is_unlike_usual(ALL_EARLY)


def test_a_day_unlike_usual_is_told_with_what_the_forecast_says() -> None:
    assert "likely to manage" in reason("unlike_usual", 0, likely=False)
    assert "watch" in reason("unlike_usual", 0, likely=True)


def test_no_learner_stands_there_with_five_such_arrows_and_without_a_word() -> None:
    told = [each.meaning for each in school(0.6, learners=12, answers=120, seed=3)]
    bad = [each for each in told if each is not None and is_unlike_usual(each.bands)]

    assert len(bad) > 20
    assert any(not each.attention for each in bad)
    for each in bad:
        assert each.reason, "bands against a learner, and no word about it"
        assert (each.code == "unlike_usual") == (each.attention == Attention.NONE)


def test_a_crowd_whose_calls_are_too_many_calls_less() -> None:
    """The cuts are all that a school decides: the same learner, another population."""
    calm: Population = CROWD._replace(look=2.0, now=3.0)
    assert attention(1.0) == Attention.LOOK
    assert attend(0, 20, -1, 1.0, calm) == Attention.NONE
