"""The simpler models that ours is compared with, fitted on the same answers; they know nothing of
ours.

Each predictor takes the training answers and the test answers, both in order, and returns for every
test answer the probability of a right one, predicted before that answer is learned from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log1p
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.data import GradedAnswer
from evaluation.measures import Floats

Answers = Sequence[GradedAnswer]
Places = NDArray[np.intp]


def item_mean(train: Answers, test: Answers) -> Floats:
    """Share of right answers that the item had in training, shrunk to the overall share by two
    pseudo-answers.
    """
    right: Counter[str] = Counter()
    given: Counter[str] = Counter()
    for answer in train:
        given[answer.item] += 1
        right[answer.item] += answer.correct
    overall = right.total() / given.total()
    return np.array([(right[a.item] + 2.0 * overall) / (given[a.item] + 2.0) for a in test])


def elo(train: Answers, test: Answers) -> Floats:
    """Elo with one ability per learner and one easiness per item, both with the step 1/(1 + .05 n)
    (Pelánek 2016).
    """
    ability: defaultdict[str, float] = defaultdict(float)
    easiness: defaultdict[str, float] = defaultdict(float)
    learner_answers: Counter[str] = Counter()
    item_answers: Counter[str] = Counter()

    def predicted(answer: GradedAnswer) -> float:
        p = 1.0 / (1.0 + exp(-ability[answer.learner] - easiness[answer.item]))
        off = answer.correct - p
        ability[answer.learner] += off / (1.0 + 0.05 * learner_answers[answer.learner])
        easiness[answer.item] += off / (1.0 + 0.05 * item_answers[answer.item])
        learner_answers[answer.learner] += 1
        item_answers[answer.item] += 1
        return p

    for answer in train:
        predicted(answer)
    ability.clear()
    learner_answers.clear()
    return np.array([predicted(answer) for answer in test])


def pfa(train: Answers, test: Answers) -> Floats:
    """Performance factors analysis (Pavlik, Cen & Koedinger 2009).

    A logistic regression on Σ over the item's skills of β + γ · ln(1 + successes) + ρ · ln(1 +
    failures) so far; the logarithms, as Gervet et al. (2020) take them, do better than plain counts
    (AUC .714 instead of .697). Fitted by Newton's method with a ridge of 1 on everything but the
    intercept.
    """
    number = {
        skill: index
        for index, skill in enumerate(dict.fromkeys(s for a in train for s in a.skills))
    }
    size = 1 + 3 * len(number)

    def features(answers: Answers) -> tuple[list[int], list[int], list[float]]:
        rows, columns, values = [], [], []
        done: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for row, answer in enumerate(answers):
            rows.append(row)
            columns.append(0)
            values.append(1.0)
            for skill in answer.skills:
                history = done[answer.learner, skill]
                if skill in number:
                    first = 1 + 3 * number[skill]
                    rows += (row, row, row)
                    columns += (first, first + 1, first + 2)
                    values += (1.0, log1p(history[0]), log1p(history[1]))
                history[0 if answer.correct else 1] += 1
        return rows, columns, values

    row_list, column_list, value_list = features(train)
    rows, columns, values = np.array(row_list), np.array(column_list), np.array(value_list)
    labels = np.array([answer.correct for answer in train], dtype=np.float64)
    left, right = _pairs(rows)
    cell, product = columns[left] * size + columns[right], values[left] * values[right]
    ridge = np.ones(size)
    ridge[0] = 0.0
    weights = np.zeros(size)
    for _ in range(20):
        p = _sigmoid(np.bincount(rows, values * weights[columns]))
        gradient = np.bincount(columns, values * (labels - p)[rows], size) - ridge * weights
        hessian = np.bincount(cell, product * (p * (1.0 - p))[rows[left]], size * size).reshape(
            size, size
        )
        step = np.linalg.solve(hessian + np.diag(ridge + 1e-9), gradient)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    row_list, column_list, value_list = features(test)
    return _sigmoid(np.bincount(row_list, np.array(value_list) * weights[column_list]))


def bkt(train: Answers, test: Answers) -> Floats:
    """Bayesian knowledge tracing (Corbett & Anderson 1994), one set of four parameters per skill.

    Fitted by trying a grid for the largest likelihood. An item with several skills is predicted by
    the mean of their predictions; a skill without training answers takes the medians of the others.
    """
    sequences: defaultdict[str, defaultdict[str, list[bool]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for answer in train:
        for skill in answer.skills:
            sequences[skill][answer.learner].append(answer.correct)
    fitted = {skill: fit_bkt(list(learners.values())) for skill, learners in sequences.items()}
    usual = tuple(float(value) for value in np.median(list(fitted.values()), axis=0))
    known: dict[tuple[str, str], float] = {}
    predictions = []
    for answer in test:
        total = 0.0
        for skill in answer.skills:
            start, learn, guess, slip = fitted.get(skill, usual)
            mastered = known.get((answer.learner, skill), start)
            total += mastered * (1.0 - slip) + (1.0 - mastered) * guess
            known[answer.learner, skill] = _trace(mastered, answer.correct, learn, guess, slip)
        predictions.append(total / len(answer.skills))
    return np.array(predictions)


def guide_accuracy(test: Answers) -> Floats:
    """The guide's running accuracy (a third of the way to each new answer, from .5) as the
    probability of the next.
    """
    rules: defaultdict[str, GuideRule] = defaultdict(GuideRule)
    predictions = []
    for answer in test:
        rule = rules[answer.learner]
        predictions.append(rule.accuracy)
        rule.answer(correct=answer.correct)
    return np.array(predictions)


@dataclass(slots=True)
class GuideRule:
    """What we take as the original guide's rule of thumb.

    The guide names the six levels but gives no formula. This one follows the published code of the
    project that the guide belongs to (artpromedia/aivo-v5, `backend/agents/virtual_brain/core.py`
    as of 2025-11-23), for the levels compared here. It also counts distractions, which no log has,
    and starts accuracy at .5.
    """

    accuracy: float = 0.5
    cognitive_load: float = 0.5
    engagement: float = 1.0
    frustration: float = 0.0
    confidence: float = 0.7
    activities: int = 0
    errors_in_a_row: int = 0

    def answer(
        self,
        *,
        correct: bool,
        seconds: float = 0.0,
        minutes: float = 0.0,
        hints: int = 0,
        retries: int = 0,
    ) -> None:
        """Learn from an answer that took `seconds`, after so many `minutes` of the session."""
        right = float(correct)
        self.errors_in_a_row = 0 if correct else self.errors_in_a_row + 1
        load = 0.3 * (1 - right) + 0.2 * seconds / 30 + 0.02 * self.activities + 0.2 * minutes / 60
        self.cognitive_load = min(1.0, load)
        self.engagement = max(0.0, 1.0 - 0.1 * hints - 0.1 * self.errors_in_a_row)
        self.frustration = min(
            1.0, 0.25 * self.errors_in_a_row + 0.25 * (1 - right) + 0.15 * retries
        )
        self.confidence = 0.4 * right + 0.3 * (1 - self.frustration) + 0.3 * self.confidence
        self.accuracy += 0.3 * (right - self.accuracy)
        self.activities += 1


_GRID: Final = np.array(
    [
        (start, learn, guess, slip)
        for start in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
        for learn in (0.01, 0.05, 0.1, 0.2, 0.35)
        for guess in (0.1, 0.2, 0.3, 0.4)
        for slip in (0.05, 0.1, 0.2, 0.3)
    ]
)


def fit_bkt(sequences: list[list[bool]]) -> tuple[float, ...]:
    """The parameters of the grid under which these sequences of one skill are most likely."""
    start, learn, guess, slip = _GRID.T
    ordered = sorted(sequences, key=len, reverse=True)
    lengths = np.array([len(sequence) for sequence in ordered])
    mastered = np.tile(start, (len(ordered), 1))
    likelihood = np.zeros(len(_GRID))
    for position in range(lengths[0]):
        active = int((lengths > position).sum())
        right = np.array([sequence[position] for sequence in ordered[:active]])[:, None]
        here = mastered[:active]
        p_right = here * (1.0 - slip) + (1.0 - here) * guess
        likelihood += np.log(np.where(right, p_right, 1.0 - p_right)).sum(axis=0)
        seen = np.where(right, here * (1.0 - slip) / p_right, here * slip / (1.0 - p_right))
        mastered[:active] = seen + (1.0 - seen) * learn
    return tuple(float(value) for value in _GRID[likelihood.argmax()])


def _trace(mastered: float, correct: bool, learn: float, guess: float, slip: float) -> float:
    """Probability that the skill is mastered after an answer."""
    if correct:
        seen = mastered * (1.0 - slip) / (mastered * (1.0 - slip) + (1.0 - mastered) * guess)
    else:
        seen = mastered * slip / (mastered * slip + (1.0 - mastered) * (1.0 - guess))
    return seen + (1.0 - seen) * learn


def _pairs(rows: Places) -> tuple[Places, Places]:
    """All ordered pairs of entries that belong to the same row; `rows` is sorted."""
    counts = np.bincount(rows)
    first = np.concatenate(([0], np.cumsum(counts)[:-1]))
    left = np.repeat(np.arange(len(rows)), counts[rows])
    ends = np.cumsum(counts[rows])
    within = np.arange(len(left)) - np.repeat(ends - counts[rows], counts[rows])
    return left, first[rows[left]] + within


def _sigmoid(x: ArrayLike) -> Floats:
    probability: Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))
    return probability
