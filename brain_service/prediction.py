"""Predicts an answer and learns from it: residual averages of the learner, memory of skills and items, and mastery.

A logistic regression over item easiness and the learner's history (weights in `params`), in which an item's easiness
follows Elo. It knows nothing of signals, levels or time other than what it is told.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import exp, log1p, sqrt
from typing import Final, NamedTuple

from brain_service import params
from brain_service.interaction import ANONYMOUS_SKILL, Interaction
from brain_service.params import FEATURES
from brain_service.state import LearnerState, SkillMemory


class Statistics(NamedTuple):
    """What the item bank knows for one interaction."""

    easiness: float = params.BANK_PRIOR
    """Logit of the item being answered right, other things equal; the bank's prior where `answers` is 0."""
    answers: float = 0
    """Answers behind it; 0 means the item is unknown, and a declared difficulty then takes precedence."""
    log_time: float = 0.0
    """Mean log-seconds in the subject."""
    observations: float = 0
    """Observations behind that; 0 means there is no norm."""


class SkillMastery(NamedTuple):
    """Probability of solving a middling item (declared difficulty 3) of one skill, and what it rests on."""

    skill: str
    probability: float
    answers: int
    standard_error: float


class Answer(NamedTuple):
    """A graded answer, its prediction, and what is learned from it."""

    correct: float
    predicted: float
    """Probability of a right answer before it was seen."""
    easiness: float
    """Of the item before this answer, logit."""
    expected: float
    """Probability that the item alone lets expect."""
    step: float
    """What the answer adds to the item's easiness."""
    fast: float
    mid: float
    slow: float
    total: float
    streak: int
    """Residual averages, their sum, and the streak after the answer, as in `LearnerState`."""
    skills: dict[str, SkillMemory]
    items: dict[int, int]
    mastery: tuple[SkillMastery, ...]
    """Of the skills of the item, after the answer."""


def keep(half_life: float) -> float:
    """What remains of a running average's old value at each new one: .5^(1/h)."""
    return float(0.5 ** (1.0 / half_life))


_W_B, _W_FAST, _W_MID, _W_SLOW, _W_MEAN, _W_LOGN, _W_LAST, _W_RIGHTS, _W_WRONGS = list(FEATURES.values())[:9]
_K_FAST, _K_MID, _K_MEAN, _K_LOGN, _K_LAST, _K_GAP, _W_NEW, _W_ITEM, _W_ATTEMPTS = list(FEATURES.values())[9:]
_FAST, _MID, _SLOW = map(keep, params.G_HALF_LIVES)
_SKILL_FAST, _SKILL_MID = map(keep, params.K_HALF_LIVES)
_BIAS: Final = params.BIAS
_G_SHRINK: Final = params.G_SHRINK
_K_SHRINK: Final = params.K_SHRINK
_UNPRACTISED: Final = SkillMemory(0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0)
_MIDDLING: Final = _W_B * params.LEVEL_B[2]


def answer(before: LearnerState, statistics: Statistics, interaction: Interaction, item: int, time: float) -> Answer:
    """Predict a graded answer from what was known before it, then learn from it."""
    easiness = statistics.easiness
    if statistics.answers == 0 and interaction.difficulty is not None:
        easiness = params.LEVEL_B[min(max(round(interaction.difficulty), 1), 5) - 1]
    answers, streak = before.answers, before.streak
    general = _general(before.fast, before.mid, before.slow, before.total, answers, streak)
    logit = general + _W_B * easiness
    share = 1.0 / len(interaction.skills)
    known = False
    for skill in interaction.skills:
        memory = before.skills.get(skill)
        if memory is not None:
            known = True
            logit += _special(memory, answers) * share
    if not known:
        logit += _W_NEW
    seen = before.items.get(item, 0)
    if seen:
        logit += (_W_ITEM if seen > 0 else -_W_ITEM) + _W_ATTEMPTS * log1p(abs(seen))
    predicted = sigmoid(logit)
    expected = sigmoid(easiness)

    correct, last = (1.0, 1) if interaction.correct else (0.0, -1)
    residual = correct - expected
    fast = _FAST * before.fast + (1.0 - _FAST) * residual
    mid = _MID * before.mid + (1.0 - _MID) * residual
    slow = _SLOW * before.slow + (1.0 - _SLOW) * residual
    total = before.total + residual
    streak = streak + last if streak * last > 0 else last
    general_after = _general(fast, mid, slow, total, answers + 1, streak)

    skills = dict(before.skills)
    mastered: dict[str, SkillMastery] = {}
    for skill in interaction.skills:
        memory, shown = _practise(skills.pop(skill, None), answers, time, residual, last, general, general_after)
        skills[skill] = memory
        if skill != ANONYMOUS_SKILL:
            mastered[skill] = _mastery(skill, shown, memory.answers)
    while len(skills) > params.MAX_SKILLS:
        del skills[next(iter(skills))]
    items = dict(before.items)
    items.pop(item, None)
    items[item] = (abs(seen) + 1) * last
    if len(items) > params.MAX_ITEMS:
        del items[next(iter(items))]
    step = params.BANK_GAIN / (1.0 + params.BANK_COOLING * statistics.answers) * (correct - predicted)
    return Answer(
        correct, predicted, easiness, expected, step, fast, mid, slow, total, streak, skills, items,
        tuple(mastered.values()),
    )  # fmt: skip


def mastery(state: LearnerState, skill: str) -> SkillMastery | None:
    """Mastery of one skill; None when it is not remembered, or is the anonymous one."""
    memory = state.skills.get(skill)
    if memory is None or skill == ANONYMOUS_SKILL:
        return None
    general = _general(state.fast, state.mid, state.slow, state.total, state.answers, state.streak)
    return _mastery(skill, general + _special(memory, state.answers) + memory.lift, memory.answers)


@lru_cache(maxsize=65_536)
def item_key(item: str) -> int:
    """The 64-bit number under which a learner's state remembers an item."""
    return int.from_bytes(blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def sigmoid(x: float) -> float:
    """The logistic function, its argument clamped to ±30."""
    return 1.0 / (1.0 + exp(-x if -30.0 <= x <= 30.0 else 30.0 if x < 0.0 else -30.0))


def _general(fast: float, mid: float, slow: float, total: float, answers: int, streak: int) -> float:
    """The learner's part of the logit of a right answer."""
    logit = (
        _BIAS
        + _W_FAST * fast
        + _W_MID * mid
        + _W_SLOW * slow
        + _W_MEAN * total / (answers + _G_SHRINK)
        + _W_LOGN * log1p(answers)
    )
    if streak > 0:
        return logit + _W_LAST + _W_RIGHTS * log1p(streak)
    if streak < 0:
        return logit - _W_LAST + _W_WRONGS * log1p(-streak)
    return logit


def _special(memory: SkillMemory, answers: int) -> float:
    """One skill's part of the logit, when the learner has given so many answers in all."""
    fast, mid, total, _, _, count, answered_at, last = memory
    return (
        _K_FAST * fast
        + _K_MID * mid
        + _K_MEAN * total / (count + _K_SHRINK)
        + _K_LOGN * log1p(count)
        + _K_LAST * last
        + _K_GAP * log1p(answers - answered_at)
    )


def _practise(
    memory: SkillMemory | None, answers: int, time: float, residual: float, last: int, general: float, after: float
) -> tuple[SkillMemory, float]:
    """One skill after an answer on it, and the logit its mastery is shown with (without the item's part).

    `general` and `after` are the learner's part of the logit before and after. A right answer on an easy item can lower
    the formula (it was expected, so averages shrink). Nobody should see their mastery fall for being right, so the
    difference is kept as `lift` until the next wrong answer.
    """
    fast, mid, total, _, lift, count, _, _ = memory or _UNPRACTISED
    fast = _SKILL_FAST * fast + (1.0 - _SKILL_FAST) * residual
    mid = _SKILL_MID * mid + (1.0 - _SKILL_MID) * residual
    learned = SkillMemory(fast, mid, total + residual, time, 0.0, count + 1, answers, last)
    formula = after + _special(learned, answers + 1)
    if last < 0:
        return learned, formula
    shown = general + (_W_NEW if memory is None else _special(memory, answers) + lift)
    if shown <= formula:
        return learned, formula
    return SkillMemory(fast, mid, total + residual, time, shown - formula, count + 1, answers, last), shown


def _mastery(skill: str, logit: float, answers: int) -> SkillMastery:
    p = sigmoid(_MIDDLING + logit)
    return SkillMastery(skill, p, answers, sqrt(p * (1.0 - p) / (answers + _K_SHRINK)))
