"""The models that ours is compared with do what their papers say, on data small enough to
follow.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from evaluation import baselines, measures
from evaluation.baselines import GuideRule
from evaluation.data import GradedAnswer

Predictor = Callable[[list[GradedAnswer], list[GradedAnswer]], np.ndarray]


def answers(
    learner: str, assessments: str, item: str = "i", skills: tuple[str, ...] = ("s",)
) -> list[GradedAnswer]:
    return [GradedAnswer(learner, item, skills, assessment == "1") for assessment in assessments]


def test_item_mean_is_shrunk_to_the_overall_share() -> None:
    train = [*answers("a", "1111", "easy"), *answers("a", "0000", "hard")]
    test = [*answers("b", "1", "easy"), *answers("b", "1", "hard"), *answers("b", "1", "new")]

    assert baselines.item_mean(train, test) == pytest.approx([5 / 6, 1 / 6, 0.5])


def test_elo_moves_learner_and_item_after_each_answer() -> None:
    first, second = baselines.elo(answers("a", "1"), answers("b", "10"))

    assert first == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert second > first


def test_pfa_learns_that_success_predicts_success() -> None:
    train = [
        answer
        for n in range(20)
        for answer in (*answers(f"up{n}", "1111"), *answers(f"down{n}", "0000"))
    ]
    predicted = baselines.pfa(train, [*answers("x", "111"), *answers("y", "000")])

    assert predicted[0] == predicted[3] == pytest.approx(0.5, abs=0.1)
    assert predicted[2] > predicted[1] > predicted[0]
    assert predicted[5] < predicted[4] < predicted[3]


def test_pfa_at_its_optimum_predicts_the_share_of_right_answers_in_training() -> None:
    dice = Random(1)
    train = [
        GradedAnswer(
            f"l{n}",
            "i",
            tuple(dice.sample(("s", "t", "u"), dice.choice((1, 2)))),
            dice.random() < 0.7,
        )
        for n in range(40)
        for _ in range(10)
    ]

    # The intercept has no ridge, so its gradient vanishes only where prediction and outcome agree
    # in sum.
    assert baselines.pfa(train, train).mean() == pytest.approx(
        np.mean([answer.correct for answer in train]), abs=1e-6
    )


def test_bkt_finds_the_parameters_that_made_the_answers() -> None:
    dice = Random(5)
    train = []
    for n in range(300):
        mastered = dice.random() < 0.25
        for _ in range(8):
            train.append(
                GradedAnswer(f"l{n}", "i", ("s",), dice.random() < (0.95 if mastered else 0.2))
            )
            mastered = mastered or dice.random() < 0.2

    assert baselines.fit_bkt(
        [[a.correct for a in train if a.learner == f"l{n}"] for n in range(300)]
    ) == pytest.approx((0.25, 0.2, 0.2, 0.05))


def test_bkt_averages_the_skills_of_an_item_and_knows_a_median_skill() -> None:
    train = [
        answer
        for n in range(10)
        for answer in (*answers(f"a{n}", "1111"), *answers(f"b{n}", "0000", skills=("t",)))
    ]
    easy, hard, both, unknown = (
        baselines.bkt(train, answers("x", "1", skills=skills))[0]
        for skills in (("s",), ("t",), ("s", "t"), ("new",))
    )

    assert easy > 0.7 > 0.3 > hard
    assert both == pytest.approx((easy + hard) / 2)
    assert hard < unknown < easy


@pytest.mark.parametrize(
    "predictor", [baselines.item_mean, baselines.elo, baselines.pfa, baselines.bkt]
)
def test_no_baseline_sees_the_answer_that_it_predicts(predictor: Predictor) -> None:
    train = [answer for n in range(5) for answer in answers(f"l{n}", "1101", f"i{n % 2}")]
    right, wrong = (
        predictor(train, answers("x", "01", "i0")),
        predictor(train, answers("x", "00", "i0")),
    )

    assert right[0] == wrong[0]
    assert right[1] == wrong[1]


def test_the_guide_rule_follows_its_formula() -> None:
    rule = GuideRule()
    rule.answer(correct=True, seconds=15.0)
    assert (rule.cognitive_load, rule.frustration, rule.engagement) == pytest.approx(
        (0.1, 0.0, 1.0)
    )
    assert (rule.confidence, rule.accuracy) == pytest.approx((0.91, 0.65))

    rule.answer(correct=False, seconds=30.0, minutes=30.0, hints=2, retries=1)
    assert (rule.cognitive_load, rule.frustration, rule.engagement) == pytest.approx(
        (0.62, 0.65, 0.7)
    )
    assert (rule.confidence, rule.accuracy) == pytest.approx((0.378, 0.455))


def test_guide_accuracy_predicts_from_earlier_answers_of_that_learner_alone() -> None:
    predicted = baselines.guide_accuracy([*answers("a", "11"), *answers("b", "0")])

    assert predicted == pytest.approx([0.5, 0.65, 0.5])
    assert measures.auc([1, 1, 0], predicted) == 0.75
