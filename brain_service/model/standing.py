"""A learner's standing after an interaction: habits, forecast and attention together.

`update` calls it, and `assessment` reads it at rest.
"""

from __future__ import annotations

from brain_service.model import params
from brain_service.model.attention import attend, reason_of, score
from brain_service.model.forecast import foretell
from brain_service.model.habits import ALL_EARLY, bands, learn, too_early, variances
from brain_service.model.interaction import Interaction
from brain_service.model.levels import Estimates
from brain_service.model.params import DECLARED, HASTE, PRIORS
from brain_service.model.population import Kind, Lesson
from brain_service.model.prediction import Answer, Statistics
from brain_service.model.state import LearnerState, Session, Standing, Task
from brain_service.model.values import maker

_standing, _lesson = maker(Standing), maker(Lesson)


def stand(
    before: LearnerState, session: Session, weights: list[float], estimates: Estimates
) -> Standing:
    """Return a learner's standing after an interaction that was not an answer."""
    old, judged = before.standing, weights[DECLARED]
    now = bands(old.bands, old.level_habits, estimates.levels, judged)
    if too_early(old.habit_answers, judged):
        now = ALL_EARLY
    if session.session_start != before.session.session_start and old.attention:
        old = old._replace(attention=0, reason=0, since=0.0)
    return old if now == old.bands else old._replace(bands=now)


def stand_after(
    before: LearnerState,
    session: Session,
    signals: list[float],
    weights: list[float],
    estimates: Estimates,
    task: Task,
    given: Answer,
    statistics: Statistics,
    interaction: Interaction,
    item: bytes,
    kind: Kind,
    again: bool,
) -> tuple[Standing, Lesson]:
    """Return a learner's standing after a graded answer, and what that teaches about all
    learners.
    """
    task_kind, about, after_itself, after_another = kind
    old, population, judged = before.standing, statistics.population, weights[DECLARED]
    now = bands(old.bands, old.level_habits, estimates.levels, judged)
    if too_early(old.habit_answers, judged):
        now = ALL_EARLY
    level_habits, habits, habit_answers = learn(
        old, statistics.usual, estimates.levels, signals, weights, session.tank, session.presence
    )
    pending, recent, logit, causes, error, lean, struggled, keys = foretell(
        old, given, statistics, population,
        item, task_kind, about,
    )  # fmt: skip
    streak = given.progress.streak
    failed = failures(streak, task.attempts)
    haste = signals[HASTE] + (1.0 - weights[HASTE]) * PRIORS[HASTE]
    attention = attend(
        old.attention if session.session_start == before.session.session_start else 0,
        given.progress.answers,
        streak,
        score(logit, failed, haste, now),
        population,
    )
    standing = _standing((
        level_habits, habits, habit_answers, now, pending, recent, logit, population.rate, causes,
        attention,
        reason_of(failed, haste, now) if attention else 0,
        0.0 if not attention else old.since if attention == old.attention else session.time,
    ))  # fmt: skip
    taught = None
    if not habit_answers % params.TEACH_EVERY and habit_answers >= 2 * params.TEACH_EVERY:
        taught = variances(level_habits)
    lesson = _lesson((
        error, lean, struggled, keys, 1.0 if attention else 0.0, 1.0 if attention == 2 else 0.0,
        interaction.subject or "", taught, after_itself if again else after_another,
        given.correct - given.predicted,
    ))  # fmt: skip
    return standing, lesson


def failures(streak: int, attempts: int) -> int:
    """Return how many answers failed in a row, or on the present item, whichever is more."""
    if streak >= 0:
        return 0
    return -streak if -streak >= attempts - 1 else attempts - 1
