"""Invented learners who answer, ask and tire: the generative twin of the learner model.

Everything it makes is simulated: the learners are named `demo-…`, their answers come from the
formulas below with coefficients chosen to look plausible, and nothing measured on them says
anything about real people or about how good the model is (that is what `make evaluate` with real
logs is for).

What the model infers, the simulator has: an ability, a strength per skill, a fatigue tank, habits.
With `b` the easiness of the task's difficulty, `T` the tank and `h` hints taken,

    P(correct) = sigmoid(ability + strength[skill] + b - 1.2 T + 0.35 h + 0.5 [second try or later])
    ln(seconds) ~ Normal(m + slowness - 0.15 (ability + strength[skill]) + 0.4 T, 0.35),
                  m = ln(base seconds of the difficulty)
    strength[skill] += rate (1 - P) after a right answer, a third of it after a wrong one
    T += (1 - T)(1 - exp(-load seconds / 3600)),  load = 0.35 + 0.5 (1 - P);
         at rest T halves every 20 minutes

A hint is asked for with probability habit · (1 - P) · (1 - h/2); a learner gives up on a failed
task with probability 1 - persistence, rushes (a quick and worse answer) more often when tired, and
now and then looks out of the window. The easiness per difficulty, the tank and its half-life are
those of the learner model (`docs/model.md`); the rest is invented.

The same learner and the same mind always act the same: chance comes from the seed and the step, not
from a generator that is passed around.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, log
from random import Random

from demo.worksheet import SKILLS, SUBJECT, Task, explanation, task

EASINESS = (2.47, 1.41, 0.72, 0.16, -0.62)
"""Logit of an average learner's chance at difficulty 1 … 5."""
BASE_SECONDS = (5.0, 8.0, 12.0, 18.0, 26.0)
LEVEL_WEIGHTS = (2, 4, 5, 4, 2)
"""How often a worksheet has each difficulty; everyone gets the same, so that abler learners do
better.
"""
TANK_HALF_LIFE_S = 1200.0
MAX_ATTEMPTS = 3
MAX_HINTS = 2
SESSION_S = 40 * 60.0
"""After about so many seconds of work a learner takes a break."""
BREAK_S = 6 * 60.0
PAST_SESSION_S = 20 * 60.0
"""How long a learner worked on each day before the demonstration began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """What a simulated learner is like; none of it changes."""

    learner_id: str
    seed: int
    ability: float
    """Logit added to every answer; about 0 ± 0.8 in a class."""
    rate: float
    """How much a skill grows with a surprising success, in logits."""
    slowness: float
    """Added to the logarithm of the seconds that an answer takes."""
    hint_habit: float
    """0 never asks, 1 nearly always when a task is hard."""
    persistence: float
    """Probability of trying a failed task again."""
    haste: float
    """Probability of rushing an answer when fresh; it triples with a full tank."""
    distraction: float
    """Probability of a pause of 20–90 s before a task; it triples with a full tank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What changes in a simulated learner."""

    step: int = 0
    strengths: tuple[float, ...] = (0.0,) * len(SKILLS)
    """Per skill, in logits."""
    tank: float = 0.0
    """Fatigue in [0, 1)."""
    task: Task | None = None
    """What the learner is working on; None between tasks."""
    attempts: int = 0
    hints: int = 0
    failures: int = 0
    """Wrong answers in a row."""
    active_s: float = 0.0
    """Seconds of work since the last break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One interaction that a learner makes: `data` of a `virtual_brain_interact` frame, and
    when.
    """

    pause_s: float
    """Time that passes before the learner begins."""
    takes_s: float
    """Time between beginning and doing it; what `time_taken` says."""
    kind: str
    content: str
    response: str | None
    context: dict[str, object]


def make_pupil(learner_id: str, seed: int) -> Pupil:
    """Return a learner whose character follows from the id and the seed."""
    draw = Random(f"{seed}/{learner_id}/character")
    return Pupil(
        learner_id=learner_id,
        seed=seed,
        ability=draw.gauss(0.0, 0.8),
        rate=draw.uniform(0.02, 0.06),
        slowness=draw.gauss(0.0, 0.25),
        hint_habit=draw.betavariate(1.5, 3.0),
        persistence=draw.uniform(0.4, 0.95),
        haste=draw.betavariate(1.2, 40.0),
        distraction=draw.betavariate(1.2, 25.0),
    )


def fresh_mind(pupil: Pupil) -> Mind:
    """Return how a learner starts: rested, with strengths and weaknesses."""
    draw = Random(f"{pupil.seed}/{pupil.learner_id}/strengths")
    return Mind(strengths=tuple(draw.gauss(0.0, 0.5) for _ in SKILLS))


def chance(pupil: Pupil, mind: Mind, task: Task) -> float:
    """Return the probability that the learner would solve `task` now, without haste."""
    x = pupil.ability + mind.strengths[SKILLS.index(task.skill)] + EASINESS[task.level - 1]
    x += -1.2 * mind.tank + 0.35 * mind.hints + (0.5 if mind.attempts else 0.0)
    return 1.0 / (1.0 + exp(-x))


def act(pupil: Pupil, mind: Mind) -> tuple[Mind, Action]:
    """Return what the learner does next and the mind after it."""
    draw = Random(f"{pupil.seed}/{pupil.learner_id}/{mind.step}")
    pause_s = 0.0
    if mind.task is None:
        if mind.active_s > SESSION_S:
            pause_s = BREAK_S * draw.uniform(0.7, 1.5)
            mind = replace(mind, active_s=0.0)
        elif draw.random() < pupil.distraction * (1 + 2 * mind.tank):
            pause_s = draw.uniform(20, 90)
        mind = rest(mind, pause_s)
        if mind.failures >= 3 and draw.random() < 0.5:
            return _read(pupil, mind, draw, pause_s)
        level = draw.choices(range(1, 6), LEVEL_WEIGHTS)[0]
        mind = replace(mind, task=task(draw.choice(SKILLS), level, draw.randrange(20)))
    assert mind.task is not None  # noqa: S101 - for the type checker
    p = chance(pupil, mind, mind.task)
    wants_hint = draw.random() < pupil.hint_habit * (1 - p) * (1 - mind.hints / MAX_HINTS)
    if wants_hint:
        return _ask(mind, mind.task, p, draw, pause_s)
    return _answer(pupil, mind, mind.task, p, draw, pause_s)


def past(pupil: Pupil, mind: Mind, days: int) -> Iterator[tuple[float, Mind, Action]]:
    """Do what the learner did on each of the last `days` days, about this time of day, and in the
    minutes before now: yield how many seconds ago it was, the mind after it, and what it was.
    Oldest first.
    """
    for day in range(days, -1, -1):
        draw = Random(f"{pupil.seed}/{pupil.learner_id}/day {day}")
        ago_s = day * 86_400.0 - draw.uniform(0, 7200) if day else PAST_SESSION_S
        end_s = ago_s - PAST_SESSION_S
        mind = replace(rest(mind, 86_400.0), active_s=0.0)
        while True:
            after, action = act(pupil, mind)
            ago_s -= action.pause_s + action.takes_s
            if ago_s < end_s:
                break
            mind = after
            yield ago_s, mind, action


def rest(mind: Mind, seconds: float) -> Mind:
    """Return the mind after doing nothing."""
    return replace(mind, tank=mind.tank * 0.5 ** (seconds / TANK_HALF_LIFE_S))


def _read(pupil: Pupil, mind: Mind, draw: Random, pause_s: float) -> tuple[Mind, Action]:
    skill = SKILLS[min(range(len(SKILLS)), key=lambda index: mind.strengths[index])]
    takes_s = round(draw.uniform(15, 60), 1)
    after = _work(replace(mind, failures=0), 0.4, takes_s)
    context: dict[str, object] = {"subject": SUBJECT, "skill": skill, "time_taken": takes_s}
    content = explanation(skill)
    return after, Action(
        pause_s=pause_s,
        takes_s=takes_s,
        kind="content_view",
        content=content,
        response=None,
        context=context,
    )


def _ask(mind: Mind, current: Task, p: float, draw: Random, pause_s: float) -> tuple[Mind, Action]:
    takes_s = round(draw.uniform(2, 12), 1)
    after = _work(replace(mind, hints=mind.hints + 1), _load(p), takes_s)
    context = _context(current, after, takes_s)
    return after, Action(
        pause_s=pause_s,
        takes_s=takes_s,
        kind="hint_request",
        content=current.question,
        response=None,
        context=context,
    )


def _answer(
    pupil: Pupil, mind: Mind, current: Task, p: float, draw: Random, pause_s: float
) -> tuple[Mind, Action]:
    index = SKILLS.index(current.skill)
    rushes = draw.random() < pupil.haste * (1 + 2 * mind.tank)
    mean = log(BASE_SECONDS[current.level - 1]) + pupil.slowness + 0.4 * mind.tank
    mean -= 0.15 * (pupil.ability + mind.strengths[index])
    seconds = exp(draw.gauss(mean, 0.35))
    takes_s = round(draw.uniform(0.8, 2.5) if rushes else min(max(seconds, 1.5), 180.0), 1)
    correct = draw.random() < (0.5 * p if rushes else p)
    growth = pupil.rate * (1 - p) * (1.0 if correct else 0.33)
    strengths = tuple(s + growth if i == index else s for i, s in enumerate(mind.strengths))
    tried = replace(mind, attempts=mind.attempts + 1, strengths=strengths)
    context = _context(current, tried, takes_s) | {"correct": correct}
    goes_on = not correct and tried.attempts < MAX_ATTEMPTS and draw.random() < pupil.persistence
    after = replace(
        tried,
        failures=0 if correct else mind.failures + 1,
        task=current if goes_on else None,
        attempts=tried.attempts if goes_on else 0,
        hints=tried.hints if goes_on else 0,
    )
    return _work(after, _load(p), takes_s), Action(
        pause_s=pause_s,
        takes_s=takes_s,
        kind="question_response",
        content=current.question,
        response=current.answer if correct else draw.choice(current.distractors),
        context=context,
    )


def _load(p: float) -> float:
    return 0.35 + 0.5 * (1 - p)


def _work(mind: Mind, load: float, seconds: float) -> Mind:
    tank = mind.tank + (1 - mind.tank) * (1 - exp(-load * seconds / 3600))
    return replace(mind, tank=tank, active_s=mind.active_s + seconds, step=mind.step + 1)


def _context(current: Task, mind: Mind, takes_s: float) -> dict[str, object]:
    return {
        "subject": SUBJECT,
        "skill": current.skill,
        "difficulty": current.level,
        "item_id": current.item_id,
        "time_taken": takes_s,
        "hints": mind.hints,
        "attempts": mind.attempts,
    }
