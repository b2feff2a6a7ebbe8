"""Predicts an answer and learns from it: residual averages of the learner, memory of skills and
items, and mastery.

A logistic regression over item easiness and the learner's history (weights in `params`), in which
an item's easiness follows Elo. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from math import exp, log1p, sqrt
from typing import Final, NamedTuple

from brain_service.model import items, params
from brain_service.model.interaction import ANONYMOUS_SKILL, Interaction
from brain_service.model.params import FEATURES
from brain_service.model.population import START, USUAL, Population, Shared
from brain_service.model.state import LearnerState, Progress, pack_skill, unpack_skill
from brain_service.model.values import maker


class Statistics(NamedTuple):
    """What the item bank knows for one interaction."""

    easiness: float = params.BANK_PRIOR
    """Logit of the item being answered right, other things equal; the bank's prior where `answers`
    is 0.
    """
    answers: float = 0
    """Answers behind it; 0 means the item is unknown, and a declared difficulty then takes
    precedence.
    """
    log_time: float = 0.0
    """Mean log-seconds in the subject."""
    observations: float = 0
    """Observations behind that; 0 means there is no norm."""
    outlook: float = 0.0
    """Logits by which learners struggle more after this item and this kind of task than
    elsewhere.
    """
    population: Population = START
    """What all learners share."""
    usual: Shared = USUAL
    """What is usual in the subject."""
    after_itself: float = 0.0
    after_another: float = 0.0
    """Logits by which this kind of task goes better than its items and the learner suggest: after a
    task of the same kind, and after another.
    """


class SkillMastery(NamedTuple):
    """Probability of solving a middling item (declared difficulty 3) of one skill, and what it
    rests on.
    """

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
    """Probability expected from the item alone."""
    step: float
    """What the answer adds to the item's easiness."""
    progress: Progress
    """After the answer."""
    skills: dict[str, bytes]
    item_keys: bytes
    item_counts: bytes
    mastery: tuple[SkillMastery, ...]
    """Of the skills of the item, after the answer."""
    repeated: bool | None
    """Whether the learner answered the item before; None if older items were dropped."""
    mastered: float
    """Mean mastery of the skills of the item, after the answer."""


def keep(half_life: float) -> float:
    """What remains of a running average's old value at each new one: .5^(1/h)."""
    return float(0.5 ** (1.0 / half_life))


_W_B, _W_FAST, _W_MID, _W_SLOW, _W_MEAN, _W_LOGN, _W_LAST, _W_RIGHTS, _W_WRONGS = list(
    FEATURES.values()
)[:9]
_K_FAST, _K_MID, _K_MEAN, _K_LOGN, _K_LAST, _K_GAP, _W_NEW, _W_ITEM, _W_ATTEMPTS = list(
    FEATURES.values()
)[9:]
_FAST, _MID, _SLOW = map(keep, params.G_HALF_LIVES)
_SKILL_FAST, _SKILL_MID = map(keep, params.K_HALF_LIVES)
_RECENT, _SPREAD = keep(params.PERFORMANCE_HALF_LIFE), keep(params.SPREAD_HALF_LIFE)
_BIAS: Final = params.BIAS
_G_SHRINK: Final = params.G_SHRINK
_K_SHRINK: Final = params.K_SHRINK
_UNPRACTISED: Final = (0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0)
_MIDDLING: Final = _W_B * params.LEVEL_B[2]

_answer, _progress, _skill_mastery = maker(Answer), maker(Progress), maker(SkillMastery)

_Memory = tuple[float, float, float, float, float, int, int, int]
"""The fields of a `SkillMemory`."""


def answer(
    before: LearnerState,
    statistics: Statistics,
    interaction: Interaction,
    item: bytes,
    time: float,
    again: bool = False,
) -> Answer:
    """Predict a graded answer from what was known before it, then learn from it. `again` says that
    the answer before was to a task of the same kind.
    """
    easiness = statistics.easiness
    if statistics.answers == 0 and interaction.difficulty is not None:
        easiness = params.LEVEL_B[min(max(round(interaction.difficulty), 1), 5) - 1]
    answers, streak, fast, mid, slow, total, accuracy, spread, response_time = before.progress
    item_keys, item_counts = before.item_keys, before.item_counts
    skills = before.skills.copy()
    general = _general(before.progress)
    logit = general + _W_B * easiness
    logit += statistics.after_itself if again else statistics.after_another
    share = 1.0 / len(interaction.skills)
    memories: dict[str, _Memory] = {}
    for skill in interaction.skills:
        packed = skills.get(skill)
        if packed is not None:
            memories[skill] = memory = unpack_skill(packed)
            logit += _special(memory, answers) * share
    if not memories:
        logit += _W_NEW
    repeated: bool | None = None if items.is_full(item_keys) else False
    seen, item_keys, item_counts = items.take(item_keys, item_counts, item)
    if seen:
        logit += (_W_ITEM if seen > 0 else -_W_ITEM) + _W_ATTEMPTS * log1p(abs(seen))
        repeated = True
    predicted = sigmoid(logit)
    expected = sigmoid(easiness)

    correct, last = (1.0, 1) if interaction.correct else (0.0, -1)
    residual = correct - expected
    fast = _FAST * fast + (1.0 - _FAST) * residual
    mid = _MID * mid + (1.0 - _MID) * residual
    slow = _SLOW * slow + (1.0 - _SLOW) * residual
    total += residual
    streak = streak + last if streak * last > 0 else last
    accuracy = _RECENT * accuracy + (1.0 - _RECENT) * correct
    spread = _SPREAD * spread + (1.0 - _SPREAD) * (correct - predicted) * (correct - predicted)
    time_taken = interaction.time_taken
    if time_taken is not None:
        response_time = (
            time_taken
            if response_time is None
            else _RECENT * response_time + (1.0 - _RECENT) * time_taken
        )
    progress = _progress(
        (answers + 1, streak, fast, mid, slow, total, accuracy, spread, response_time)
    )
    general_after = _general(progress)

    mastered: dict[str, SkillMastery] = {}
    mean = 0.0
    for skill in interaction.skills:
        learned, shown = _practise(
            memories.get(skill), answers, time, residual, last, general, general_after
        )
        memories[skill] = learned
        skills.pop(skill, None)  # reinserted as the one practised last
        skills[skill] = pack_skill(*learned)
        known = _mastery(skill, shown, learned[5])
        mean += known[1] * share
        if skill != ANONYMOUS_SKILL:
            mastered[skill] = known
    while len(skills) > params.MAX_SKILLS:
        del skills[next(iter(skills))]
    item_keys, item_counts = items.put(item_keys, item_counts, item, (abs(seen) + 1) * last)
    step = (
        params.BANK_GAIN / (1.0 + params.BANK_COOLING * statistics.answers) * (correct - predicted)
    )
    return _answer((
        correct, predicted, easiness, expected, step, progress, skills, item_keys, item_counts,
        tuple(mastered.values()), repeated, mean,
    ))  # fmt: skip


def mastery(state: LearnerState, skill: str) -> SkillMastery | None:
    """Mastery of one skill; None when it is not remembered, or is the anonymous one."""
    found = masteries(state, [skill])
    return found[0] if found else None


def masteries(state: LearnerState, skills: Iterable[str]) -> list[SkillMastery]:
    """Mastery of those of these skills that are remembered, in their order; the anonymous one is
    never shown.
    """
    answers, remembered = state.progress.answers, state.skills
    general = _general(state.progress)
    found = []
    for skill in skills:
        if skill in remembered and skill != ANONYMOUS_SKILL:
            memory = unpack_skill(remembered[skill])
            found.append(
                _mastery(skill, general + _special(memory, answers) + memory[4], memory[5])
            )
    return found


@lru_cache(maxsize=65_536)
def item_key(item: str) -> bytes:
    """The eight bytes under which a learner's state remembers an item."""
    return blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def sigmoid(x: float) -> float:
    """The logistic function, its argument clamped to ±30."""
    return 1.0 / (1.0 + exp(-x if -30.0 <= x <= 30.0 else 30.0 if x < 0.0 else -30.0))


def _general(progress: Progress) -> float:
    """The learner's part of the logit of a right answer."""
    answers, streak, fast, mid, slow, total, _, _, _ = progress
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


def _special(memory: _Memory, answers: int) -> float:
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
    memory: _Memory | None,
    answers: int,
    time: float,
    residual: float,
    last: int,
    general: float,
    after: float,
) -> tuple[_Memory, float]:
    """One skill after an answer on it, and the logit its mastery is shown with (without the item's
    part).

    `general` and `after` are the learner's part of the logit before and after. A right answer on an
    easy item can lower the formula (it was expected, so averages shrink). Nobody should see their
    mastery fall for being right, so the difference is kept as `lift` until the next wrong answer.
    """
    fast, mid, total, _, lift, count, _, _ = memory or _UNPRACTISED
    fast = _SKILL_FAST * fast + (1.0 - _SKILL_FAST) * residual
    mid = _SKILL_MID * mid + (1.0 - _SKILL_MID) * residual
    learned = (fast, mid, total + residual, time, 0.0, count + 1, answers, last)
    formula = after + _special(learned, answers + 1)
    if last < 0:
        return learned, formula
    shown = general + (_W_NEW if memory is None else _special(memory, answers) + lift)
    if shown <= formula:
        return learned, formula
    return (fast, mid, total + residual, time, shown - formula, count + 1, answers, last), shown


def _mastery(skill: str, logit: float, answers: int) -> SkillMastery:
    p = sigmoid(_MIDDLING + logit)
    return _skill_mastery((skill, p, answers, sqrt(p * (1.0 - p) / (answers + _K_SHRINK))))
