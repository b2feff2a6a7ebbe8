"""AssessmentCache say exactly what the model says, whatever short cuts they take."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivo.brain.v1 import brain_pb2 as pb
from brain_service import model
from brain_service.model import Assessment, levels
from brain_service.model.interaction import interaction_from_context
from brain_service.model.levels import BASES, NAMES
from brain_service.model.params import LEVELS
from brain_service.servicer.assessments import AssessmentCache
from tests.brain_service.servicer.contract import assessment_of

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


def assessed(answers: list[Answer]) -> Assessment:
    state = None
    for number, answer in enumerate(answers):
        fields = {key: value for key, value in vars(answer).items() if value is not None}
        interaction = interaction_from_context("practice", f"q{number % 2}", fields)
        applied = model.apply(state, model.Statistics(), interaction, 1000.0 * number)
        state = applied.state
    return applied.assessment


@given(ANSWERS)
def test_the_message_says_what_the_model_says(answers: list[Answer]) -> None:
    check(assessed(answers))


@pytest.mark.parametrize(("correct", "difficulty"), [(False, 5.0), (True, 1.0)])
def test_a_clipped_level_has_a_driver_that_says_so(correct: bool, difficulty: float) -> None:
    model_says = assessed([Answer(correct, difficulty, 1.0, "a")] * 60)
    check(model_says)
    clipped = [name for name in assessment_of(model_says).drivers.names if name == "clipped"]

    assert bool(clipped) == (
        0.0 in model_says.estimates.levels or 1.0 in model_says.estimates.levels
    )


def check(model_says: Assessment) -> None:
    assessment = assessment_of(model_says)
    table = list(
        zip(
            assessment.drivers.levels,
            assessment.drivers.names,
            assessment.drivers.contributions,
            strict=True,
        )
    )
    uncertainty = levels.uncertainty(model_says.estimates)
    for index, name in enumerate(NAMES):
        number, field = FIELDS[name]
        level = model_says.estimates.levels[index]
        assert getattr(assessment.levels, field) == level
        assert getattr(assessment.uncertainty, field) == pytest.approx(
            uncertainty[index], abs=1e-12
        )
        assert assessment.grades[number - 1] == GRADE_NAMES[LEVELS[index].grade]
        drivers = [(driver, share) for of, driver, share in table if of == number]
        assert drivers == [
            (driver.name, driver.contribution)
            for driver in levels.drivers(model_says.estimates, index)
        ]
        assert sum(share for _, share in drivers) == pytest.approx(level - BASES[index], abs=1e-12)
    assert assessment.performance.accuracy == model_says.performance.accuracy
    assert assessment.performance.response_time_s == (model_says.performance.response_time or 0.0)
    assert assessment.performance.consistency == model_says.performance.consistency
    assert assessment.performance.improvement_rate == model_says.performance.improvement_rate
    assert [
        (m.skill, m.probability, m.answers, m.standard_error) for m in assessment.mastery
    ] == list(map(tuple, model_says.mastery))
    assert assessment.HasField("predicted_correct") == (model_says.predicted_correct is not None)
    assert assessment.predicted_correct == (model_says.predicted_correct or 0.0)
    assert [
        (r.code, r.urgency, r.sentence, tuple(r.reasons)) for r in assessment.recommendations
    ] == [(r.code, r.urgency, r.sentence, r.reasons) for r in model_says.recommendations]
    assert assessment.confidence == levels.confidence(model_says.estimates)
    assert assessment.model_version == model_says.model_version


def test_an_answered_assessment_is_converted_once_for_its_updates_and_equal_ones_each() -> None:
    cache = AssessmentCache()
    answers = [Answer(True, 3.0, 5.0, "a")]
    one, other = assessed(answers), assessed(answers)
    answered = cache.answer(one)

    assert cache.of(one) is answered
    assert cache.of(other) is not answered
    assert cache.of(other) == answered


def test_assessments_of_the_batch_before_the_last_are_forgotten() -> None:
    cache = AssessmentCache()
    model_says = assessed([Answer(True, 3.0, 5.0, "a")])
    answered = cache.answer(model_says)
    cache.next_batch()
    assert cache.of(model_says) is answered
    cache.next_batch()

    assert cache.of(model_says) is not answered
    assert cache.of(model_says) == answered
