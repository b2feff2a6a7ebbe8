"""Explanations as claims: of each level that is not as usual, what pulls it there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import LearnerState, Statistics, apply, explain, params
from brain_service.model.explain import COUNTER, MOST
from brain_service.model.habits import Band
from brain_service.model.interaction import interaction_from_context
from brain_service.model.levels import DRIVER_NAMES
from brain_service.model.levels import NAMES as LEVEL_NAMES
from brain_service.model.meaning import NAMES
from brain_service.model.words import DRIVERS, Because

HARD: dict[str, Any] = {"difficulty": 5, "correct": False, "time_taken": 40.0}
EASY: dict[str, Any] = {"difficulty": 1, "correct": True, "time_taken": 4.0}


def worked(*answers: dict[str, Any], gap_s: float = 30.0) -> LearnerState:
    """A learner after fifty usual answers, and then these."""
    usual = [
        {"difficulty": 3, "correct": number % 3 != 0, "time_taken": 8.0 + number % 5}
        for number in range(50)
    ]
    state = None
    for number, fields in enumerate((*usual, *answers)):
        step = interaction_from_context("practice", f"q{number}", {"skill": "sums", **fields})
        state = apply(state, Statistics(), step, gap_s * number).state
    assert state is not None
    return state


def codes(found: tuple[Because, ...]) -> list[str]:
    return [one.code for one in found]


def test_a_learner_as_usual_needs_no_explanation() -> None:
    state = worked()
    assert explain(state._replace(standing=state.standing._replace(bands=b"\x03" * 6))) == {}
    assert explain(state._replace(standing=state.standing._replace(bands=b"\x06" * 6))) == {}


def test_hard_wrong_answers_explain_load_and_frustration_by_themselves() -> None:
    found = explain(worked(*[HARD] * 6))

    assert set(codes(found["cognitive_load"])) == {"declared", "err"}
    assert codes(found["frustration_level"])[0] in ("declared", "err")
    assert all(one.up for one in found["cognitive_load"])
    assert found["cognitive_load"][0].words in (
        "harder tasks than usual",
        "more mistakes than usual",
    )
    assert not found["confidence_level"][0].up  # a lower confidence is pulled down


def test_easy_right_answers_pull_load_down() -> None:
    found = explain(worked(*[EASY] * 6))

    assert codes(found["cognitive_load"])[0] == "declared"
    assert not any(one.up for one in found["cognitive_load"])
    assert found["cognitive_load"][0].words == "easier tasks than usual"


def test_what_pulls_the_other_way_is_told_last_and_only_where_it_is_strong() -> None:
    load = explain(worked(*[{"difficulty": 4, "correct": True, "time_taken": 10.0}] * 6))[
        "cognitive_load"
    ]
    harder = explain(worked(*[{"difficulty": 5, "correct": True, "time_taken": 10.0}] * 6))

    assert codes(load)[0] == "declared"
    assert codes(load)[-1] == "err"
    assert load[0].up
    assert not load[-1].up
    assert load[-1].words == "fewer mistakes than usual"
    assert codes(harder["cognitive_load"]) == ["declared"]


def test_a_driver_that_hardly_matters_is_not_told() -> None:
    """Slowness moves load by some hundredths at most; hard tasks by a quarter."""
    found = explain(worked(*[{"difficulty": 5, "correct": True, "time_taken": 25.0}] * 8))

    assert codes(found["cognitive_load"]) == ["declared"]
    assert "slow" in DRIVER_NAMES[LEVEL_NAMES.index("cognitive_load")]


answers = st.lists(
    st.fixed_dictionaries(
        {"correct": st.booleans(), "difficulty": st.integers(1, 5)},
        optional={"time_taken": st.floats(0.3, 120), "hints": st.integers(0, 3)},
    ),
    min_size=1,
    max_size=12,
)


@given(answers)
def test_each_explanation_names_drivers_of_its_level_that_pull_the_way_of_its_band(
    given_answers: list[dict[str, Any]],
) -> None:
    state = worked(*given_answers)
    found = explain(state)

    bands = dict(zip(NAMES, state.standing.bands, strict=True))
    assert set(found) == {
        name for name, band in bands.items() if band not in (Band.AS_USUAL, Band.TOO_EARLY)
    }
    for name, told in found.items():
        rises = bands[name] > Band.AS_USUAL
        assert set(codes(told)) <= set(DRIVER_NAMES[LEVEL_NAMES.index(name)])
        assert len(set(codes(told))) == len(told) <= MOST + 1
        with_it = [one.up == rises for one in told]
        assert with_it == sorted(with_it, reverse=True)
        assert with_it.count(False) <= 1
        assert all(one.words in DRIVERS[one.code] for one in told)
        coefficients = params.LEVELS[LEVEL_NAMES.index(name)].coefficients
        for one in told:
            more = one.words == DRIVERS[one.code][1]
            assert one.up == (more is (coefficients[one.code] > 0.0))


@pytest.mark.parametrize("answers_given", [[HARD] * 6, [EASY] * 6, [HARD, EASY] * 4])
def test_every_level_that_is_not_as_usual_has_an_explanation(
    answers_given: list[dict[str, Any]],
) -> None:
    for name, told in explain(worked(*answers_given)).items():
        assert told, f"{name} is not as usual, and nothing is said to pull it there"


def test_every_driver_has_two_words_and_they_differ() -> None:
    drivers = {driver for names in DRIVER_NAMES for driver in names}
    assert drivers <= set(DRIVERS)
    assert all(low != high for low, high in DRIVERS.values())
    assert 0.0 < COUNTER < 1.0
