"""The forecast as claims: it comes due after three answers, and learns where work is harder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Assessment, LearnerState, Statistics, apply
from brain_service.model.bank import Bank
from brain_service.model.forecast import AHEAD
from brain_service.model.interaction import Interaction, interaction_from_context
from brain_service.model.population import Lesson, passage_key, subject_key, task_key
from brain_service.model.prediction import item_key


def task(number: int, correct: bool, subject: str = "maths", skill: str = "sums") -> Interaction:
    context = {"skill": skill, "subject": subject, "correct": correct}
    return interaction_from_context("practice", f"{subject}-{number}", context)


def struggle(assessment: Assessment) -> float:
    assert assessment.meaning is not None
    found = assessment.meaning.struggle
    assert found is not None
    return found


def lessons(*outcomes: bool) -> list[Lesson]:
    state: LearnerState | None = None
    found = []
    for number, correct in enumerate(outcomes):
        subject = "maths" if number % 2 else "history"
        step = apply(state, Statistics(), task(number, correct, subject), 30.0 * number)
        state = step.state
        assert step.increments.lesson is not None
        found.append(step.increments.lesson)
    return found


@given(st.lists(st.booleans(), min_size=AHEAD + 1, max_size=12))
def test_a_forecast_comes_due_with_its_own_item_task_and_subject(outcomes: list[bool]) -> None:
    found = lessons(*outcomes)

    assert all(not lesson.keys for lesson in found[:AHEAD])
    for at, lesson in enumerate(found[AHEAD:]):
        subject = "maths" if at % 2 else "history"
        name = task(at, True, subject).item
        assert lesson.keys == (item_key(name), task_key(("sums",)), subject_key(subject))
        wrong = outcomes[at + 1 : at + 1 + AHEAD].count(False)
        assert lesson.struggled == (wrong >= 2)
        assert (lesson.error > 0) == (wrong >= 2)


def test_work_without_a_subject_has_an_outlook_of_its_own() -> None:
    assert subject_key(None) == subject_key("") != subject_key("maths")
    assert len(subject_key("история")) == 8


def school() -> Bank:
    """A bank after 40 learners got maths wrong mostly, and history right."""
    bank = Bank()
    for learner in range(40):
        for subject, right in (("maths", 3), ("history", 1)):
            state = None
            for number in range(12):
                correct = (number + learner) % 4 >= right
                step = task(learner * 100 + number, correct, subject, skill=f"s{learner}")
                stage = bank.stage()
                applied = apply(state, stage.lookup(step), step, 30.0 * number)
                stage.add(applied.increments)
                stage.commit(written=True)
                state = applied.state
    return bank


def test_struggle_is_likelier_in_a_subject_that_others_find_hard() -> None:
    bank, told = school(), {}
    for subject in ("maths", "history", "music"):
        step = task(9999, True, subject, skill="new")
        told[subject] = struggle(apply(None, bank.lookup(step), step, 0.0).assessment)

    assert told["history"] < told["music"] < told["maths"]
    assert told["maths"] - told["history"] > 0.05


def after(wrong: int, *, before: int) -> float:
    """The forecast of who gave so many usual answers, then so many wrong ones."""
    state, assessment = None, None
    outcomes = [number % 3 != 0 for number in range(before)] + [False] * wrong
    for number, correct in enumerate(outcomes):
        step = apply(state, Statistics(), task(number, correct), 30.0 * number)
        state, assessment = step.state, step.assessment
    assert assessment is not None
    return struggle(assessment)


@pytest.mark.parametrize("before", [0, 12, 60])
def test_each_failure_in_a_row_makes_struggle_likelier(before: int) -> None:
    told = [after(wrong, before=before) for wrong in range(1, 6)]

    assert told == sorted(told)
    assert told[-1] - told[0] > 0.1


def test_a_newcomer_who_fails_five_times_is_likely_to_go_on_so() -> None:
    assert after(5, before=0) > 0.5
    assert after(1, before=0) < 0.5


def test_a_prediction_knows_whether_the_task_before_was_of_the_same_kind() -> None:
    """Two kinds of tasks: what others found after the same kind counts there, and only there."""
    known = Statistics(after_itself=1.0, after_another=-1.0)

    def predicted(*skills: str) -> float:
        state, assessment = None, None
        for number, skill in enumerate(skills):
            statistics = known if number == len(skills) - 1 else Statistics()
            step = task(number, True, skill=skill)
            state, assessment, increments = apply(state, statistics, step, 30.0 * number)
        assert assessment is not None
        assert assessment.predicted_correct is not None
        lesson = increments.lesson
        assert lesson is not None
        again = len(skills) > 1 and skills[-1] == skills[-2]
        assert lesson.passage == passage_key((skills[-1],), again)
        assert lesson.surprise == pytest.approx(1.0 - assessment.predicted_correct)
        return assessment.predicted_correct

    assert predicted("sums") < 0.5  # nobody's first task comes after itself
    assert predicted("sums", "sums") > predicted("fractions", "sums")
    assert predicted("sums", "fractions", "sums") < predicted("fractions", "sums", "sums")
