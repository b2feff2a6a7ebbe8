"""Readings say exactly what the model says, whatever short cuts they take."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivo.brain.v1 import brain_pb2 as pb
from brain_service import model
from brain_service.model import Outcome, levels
from brain_service.model.interaction import interaction_from_context
from brain_service.model.levels import BASES, GRADES, NAMES
from brain_service.servicer.reading import Readings, reading_of

FIELDS = {
    "cognitive_load": (pb.LEVEL_COGNITIVE_LOAD, "cognitive_load"),
    "engagement_level": (pb.LEVEL_ENGAGEMENT, "engagement"),
    "frustration_level": (pb.LEVEL_FRUSTRATION, "frustration"),
    "fatigue_level": (pb.LEVEL_FATIGUE, "fatigue"),
    "confidence_level": (pb.LEVEL_CONFIDENCE, "confidence"),
    "motivation_level": (pb.LEVEL_MOTIVATION, "motivation"),
    "item_confidence": (pb.LEVEL_ITEM_CONFIDENCE, "item_confidence"),
}
GRADE_NAMES = {
    "human": pb.GRADE_HUMAN,
    "convergent": pb.GRADE_CONVERGENT,
    "theory": pb.GRADE_THEORY,
}


@dataclass
class Answer:
    correct: bool | None
    difficulty: float
    time_taken: float
    skill: str


ANSWERS = st.lists(
    st.builds(
        Answer,
        correct=st.sampled_from([True, False, None]),
        difficulty=st.floats(1, 5),
        time_taken=st.floats(0, 4000),
        skill=st.sampled_from(["a", "b", "c"]),
    ),
    min_size=1,
    max_size=12,
)


def outcome_after(answers: list[Answer]) -> Outcome:
    state = None
    for number, answer in enumerate(answers):
        fields = {key: value for key, value in vars(answer).items() if value is not None}
        interaction = interaction_from_context("practice", f"q{number % 2}", fields)
        applied = model.apply(state, model.Statistics(), interaction, 1000.0 * number)
        state = applied.state
    return applied.outcome


@given(ANSWERS)
def test_a_reading_is_the_outcome(answers: list[Answer]) -> None:
    check(outcome_after(answers))


@pytest.mark.parametrize(("correct", "difficulty"), [(False, 5.0), (True, 1.0)])
def test_a_clipped_level_has_a_driver_that_says_so(correct: bool, difficulty: float) -> None:
    outcome = outcome_after([Answer(correct, difficulty, 1.0, "a")] * 60)
    check(outcome)
    clipped = [name for name in reading_of(outcome).drivers.names if name == "clipped"]

    assert bool(clipped) == (0.0 in outcome.readout.levels or 1.0 in outcome.readout.levels)


def check(outcome: Outcome) -> None:
    reading = reading_of(outcome)
    table = list(
        zip(
            reading.drivers.levels,
            reading.drivers.names,
            reading.drivers.contributions,
            strict=True,
        )
    )
    uncertainty = levels.uncertainty(outcome.readout)
    for place, name in enumerate(NAMES):
        number, field = FIELDS[name]
        level = outcome.readout.levels[place]
        assert getattr(reading.levels, field) == level
        assert getattr(reading.uncertainty, field) == pytest.approx(uncertainty[place], abs=1e-12)
        assert reading.grades[number - 1] == GRADE_NAMES[GRADES[place]]
        drivers = [(driver, share) for of, driver, share in table if of == number]
        assert drivers == [
            (driver.name, driver.contribution) for driver in levels.drivers(outcome.readout, place)
        ]
        assert sum(share for _, share in drivers) == pytest.approx(level - BASES[place], abs=1e-12)
    assert reading.performance.accuracy == outcome.performance.accuracy
    assert reading.performance.response_time_s == (outcome.performance.response_time or 0.0)
    assert reading.performance.consistency == outcome.performance.consistency
    assert reading.performance.improvement_rate == outcome.performance.improvement_rate
    assert [(m.skill, m.probability, m.answers, m.standard_error) for m in reading.mastery] == list(
        map(tuple, outcome.mastery)
    )
    assert reading.HasField("predicted_correct") == (outcome.predicted_correct is not None)
    assert reading.predicted_correct == (outcome.predicted_correct or 0.0)
    assert [(r.code, r.urgency, r.sentence, tuple(r.reasons)) for r in reading.recommendations] == [
        (r.code, r.urgency, r.sentence, r.reasons) for r in outcome.recommendations
    ]
    assert reading.confidence == levels.confidence(outcome.readout)
    assert reading.model_version == outcome.model_version


def test_an_answered_outcome_is_converted_once_for_its_updates_and_equal_ones_each() -> None:
    readings = Readings()
    answers = [Answer(True, 3.0, 5.0, "a")]
    one, other = outcome_after(answers), outcome_after(answers)
    answered = readings.answer(one)

    assert readings.of(one) is answered
    assert readings.of(other) is not answered
    assert readings.of(other) == answered


def test_readings_of_the_batch_before_the_last_are_forgotten() -> None:
    readings = Readings()
    outcome = outcome_after([Answer(True, 3.0, 5.0, "a")])
    answered = readings.answer(outcome)
    readings.next_batch()
    assert readings.of(outcome) is answered
    readings.next_batch()

    assert readings.of(outcome) is not answered
    assert readings.of(outcome) == answered
