"""The simulator is deterministic, and its learners differ in the ways that their traits say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.model.interaction import interaction_from_context
from demo.simulator import (
    MAX_HINTS,
    Action,
    Mind,
    Pupil,
    act,
    chance,
    fresh_mind,
    make_pupil,
    past,
    rest,
)
from demo.worksheet import SKILLS, task

AVERAGE = Pupil(
    learner_id="demo-test",
    seed=7,
    ability=0.0,
    rate=0.1,
    slowness=0.0,
    hint_habit=0.3,
    persistence=0.7,
    haste=0.05,
    distraction=0.02,
)


def run(pupil: Pupil, mind: Mind, steps: int) -> tuple[Mind, list[Action]]:
    actions = []
    for _ in range(steps):
        mind, action = act(pupil, mind)
        actions.append(action)
    return mind, actions


def accuracy(actions: list[Action]) -> float:
    return fmean(action.context["correct"] for action in actions if "correct" in action.context)  # type: ignore[misc]


def test_the_same_seed_makes_the_same_learner_and_the_same_day():
    first, second = make_pupil("demo-ada", 3), make_pupil("demo-ada", 3)

    assert first == second
    assert run(first, fresh_mind(first), 200) == run(second, fresh_mind(second), 200)


def test_another_seed_makes_another_learner():
    assert make_pupil("demo-ada", 3) != make_pupil("demo-ada", 4)
    assert make_pupil("demo-ada", 3).ability != make_pupil("demo-ben", 3).ability


def test_acting_leaves_the_mind_that_went_in_as_it_was():
    mind = fresh_mind(AVERAGE)
    before = replace(mind)
    act(AVERAGE, mind)

    assert before == mind


def test_abler_learners_do_better():
    weak, strong = replace(AVERAGE, ability=-1.0), replace(AVERAGE, ability=1.0)
    _, weak_actions = run(weak, Mind(), 800)
    _, strong_actions = run(strong, Mind(), 800)

    assert accuracy(strong_actions) > accuracy(weak_actions) + 0.15


def test_abler_learners_are_quicker():
    weak, strong = replace(AVERAGE, ability=-1.5), replace(AVERAGE, ability=1.5)

    def seconds(pupil: Pupil) -> float:
        return fmean(a.takes_s for a in run(pupil, Mind(), 800)[1] if a.kind == "question_response")

    assert seconds(strong) < seconds(weak)


def test_learners_get_better_at_what_they_practise():
    after, _ = run(AVERAGE, Mind(), 600)

    assert all(strength > 0 for strength in after.strengths)


def test_a_learner_of_a_higher_rate_learns_more():
    slow, _ = run(replace(AVERAGE, rate=0.05), Mind(), 400)
    quick, _ = run(replace(AVERAGE, rate=0.2), Mind(), 400)

    assert sum(quick.strengths) > sum(slow.strengths)


def test_fatigue_grows_with_work_and_falls_with_rest():
    worked, _ = run(replace(AVERAGE, distraction=0.0), Mind(), 100)

    assert 0 < worked.tank < 1
    assert rest(worked, 1200).tank == pytest.approx(worked.tank / 2)


def test_fatigue_makes_success_less_likely():
    one = task("fractions", 3, 0)

    assert chance(AVERAGE, Mind(tank=0.6), one) < chance(AVERAGE, Mind(), one)


@pytest.mark.parametrize("skill", SKILLS)
def test_harder_tasks_are_solved_less_often(skill: str):
    chances = [chance(AVERAGE, Mind(), task(skill, level, 0)) for level in range(1, 6)]

    assert sorted(chances, reverse=True) == chances


def test_those_who_like_hints_ask_for_more():
    def hints(habit: float) -> int:
        actions = run(replace(AVERAGE, hint_habit=habit), Mind(), 500)[1]
        return sum(action.kind == "hint_request" for action in actions)

    assert hints(0.0) == 0
    assert hints(0.2) < hints(0.9)


def test_a_wrong_answer_shows_a_wrong_response_and_a_right_one_the_answer():
    for action in run(AVERAGE, Mind(), 300)[1]:
        if action.kind != "question_response":
            continue
        skill, level, number = str(action.context["item_id"]).rsplit("-", 2)
        posed = task(skill, int(level), int(number))

        assert (action.response == posed.answer) is action.context["correct"]


def test_a_long_day_has_breaks():
    pauses = [action.pause_s for action in run(replace(AVERAGE, distraction=0.0), Mind(), 600)[1]]

    assert max(pauses) > 4 * 60


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(["demo-ada", "demo-ben", "demo-x"]))
def test_whatever_a_learner_does_the_model_accepts(seed: int, name: str):
    pupil = make_pupil(name, seed)
    mind = fresh_mind(pupil)
    for _ in range(40):
        mind, action = act(pupil, mind)
        interaction_from_context(action.kind, action.content, action.context)

        assert 0 <= mind.tank < 1
        assert 0 <= mind.hints <= MAX_HINTS
        assert action.takes_s > 0
        assert action.pause_s >= 0


def test_the_past_of_a_learner_lies_behind_them_in_order_and_in_sessions():
    pupil = make_pupil("demo-ada", 1)
    told = list(past(pupil, fresh_mind(pupil), days=3))
    moments = [ago_s for ago_s, _, _ in told]
    pauses = [before - after for before, after in pairwise(moments)]

    assert moments == sorted(moments, reverse=True)
    assert 0 <= moments[-1] < 300
    assert moments[0] < 3 * 86_400
    assert sum(pause > 3600 for pause in pauses) == 3
    assert [mind.step for _, mind, _ in told] == list(range(1, len(told) + 1))
