"""What one interaction changes in a learner's state.

A pure function of values, at constant cost. Formulas and their sources are explained in
`docs/model.md`, constants live in `params`.

Where the description of the model leaves a choice, this is what the reference calculation does:
presence fades with the same idle time as the signals; time evidence (slow, fast, idle, rtvar)
counts for every timed interaction, views included; a subject's time norm counts from its first
observation on, for answers and views alike; a skill named twice in one interaction counts and is
learned twice; evidence of outcome counts only where `correct` is known; an answer after a failure
counts as persistence also where its time is unknown.
"""

from __future__ import annotations

from math import exp, isfinite, log, sqrt
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.assessment import Assessment, tell
from brain_service.model.forecast import last_task
from brain_service.model.interaction import BadInteractionError, Interaction
from brain_service.model.levels import read, read_direct
from brain_service.model.population import Lesson, kind_of
from brain_service.model.prediction import Statistics, answer, item_key
from brain_service.model.signals import move, push_engagement
from brain_service.model.standing import stand, stand_after
from brain_service.model.state import BLANK, LearnerState, Pace, Session, Task
from brain_service.model.values import maker


class Increments(NamedTuple):
    """What one interaction adds to the bank; a part that it adds nothing to is None."""

    item: str | None
    base: float
    """Easiness that the item started from, where it was unknown; otherwise what it was before this
    answer.
    """
    delta: float
    """Easiness to add."""
    subject: str | None
    log_time: float
    """Observed log-seconds in that subject."""
    repeated: bool | None = False
    """Whether the learner answered the item before; None where the state no longer knows."""
    lesson: Lesson | None = None
    """What an answer teaches about all learners."""


class Step(NamedTuple):
    """Everything that one interaction brings about."""

    state: LearnerState
    assessment: Assessment
    increments: Increments


_step, _increments, _state = maker(Step), maker(Increments), maker(LearnerState)
_ADVICE: Final = LearnerState._fields.index("advice")
_session, _pace, _task = maker(Session), maker(Pace), maker(Task)


def apply(
    state: LearnerState | None, statistics: Statistics, interaction: Interaction, now: float
) -> Step:
    """Return the state after one interaction, its assessment, and what the bank learns from it.

    `state` is None before the learner's first interaction. `now` is when it happened, epoch
    seconds; a time before the last one counts as the last one. The same input always gives the same
    output. Raises `BadInteractionError` if `now` is not finite.
    """
    if not isfinite(now):
        raise BadInteractionError("The time of the interaction must be a finite number of seconds.")
    before = BLANK if state is None else state
    time_taken = interaction.time_taken
    fade, time, session_start, active_s, presence, tank = _elapse(before, now, time_taken)
    z, log_time, pace = None, 0.0, before.pace
    if time_taken is not None:
        log_time = log(time_taken if time_taken > params.MIN_TIME_S else params.MIN_TIME_S)
        normed = interaction.subject is not None and statistics.observations > 0
        z, pace = _keep_pace(pace, log_time, statistics.log_time if normed else None)
    task, progress, given = before.task, before.progress, None
    skills, item_keys, item_counts = before.skills, before.item_keys, before.item_counts
    if interaction.correct is not None or interaction.kind == "hint_request":
        key = item_key(interaction.item)
        task = _work(task, key, interaction)
        if interaction.correct is not None:
            kind = kind_of(interaction.skills, interaction.subject)
            again = last_task(before.standing.pending) == kind[0]
            given = answer(before, statistics, interaction, key, time, again)
            progress, skills = given.progress, given.skills
            item_keys, item_counts = given.item_keys, given.item_counts

    signals, weights = move(before, fade, interaction, z, given, task.attempts, task.hints)
    direct = read_direct(signals, weights)
    push_engagement(signals, weights, direct.engagement)
    if time_taken is not None:
        active = time_taken if time_taken < params.MAX_ACTIVE_S else params.MAX_ACTIVE_S
        active_s += active
        tank += (1.0 - tank) * (1.0 - exp(-direct.load * active / params.TANK_FILL_S))
    estimates = read(direct, signals, weights, tank, presence)

    session = _session((time, session_start, active_s, presence, tank))
    if given is None:
        standing = stand(before, session, weights, estimates)
    else:
        standing, lesson = stand_after(
            before, session, signals, weights, estimates, task, given, statistics, interaction, key,
            kind, again,
        )  # fmt: skip
    after = _state((
        before.revision + 1, session, tuple(signals), tuple(weights), progress, pace, task,
        before.advice, standing, skills, item_keys, item_counts,
    ))  # fmt: skip
    subject = None if time_taken is None else interaction.subject
    if given is None:
        assessment, advice = tell(after, estimates, (), None)
        increments = _increments((None, 0.0, 0.0, subject, log_time, False, None))
    else:
        assessment, advice = tell(after, estimates, given.mastery, given.predicted)
        increments = _increments(
            (
                interaction.item,
                given.easiness,
                given.step,
                subject,
                log_time,
                given.repeated,
                lesson,
            )
        )
    if advice != before.advice:
        after = _state((*after[:_ADVICE], advice, *after[_ADVICE + 1 :]))
    return _step((after, assessment, increments))


def _elapse(
    before: LearnerState, now: float, time_taken: float | None
) -> tuple[float, float, float, float, float, float]:
    """Return the factor that idle time left of the fading signals, and the session's fields when
    the interaction arrives.
    """
    time, session_start, active_s, presence, tank = before.session
    if before.revision == 0:
        return 1.0, now, now, active_s, 1.0, tank
    idle_s = now - time - (time_taken or 0.0)
    time = now if now > time else time
    fade = 1.0
    if idle_s > 0.0:
        fade = 0.5 ** (idle_s / params.SIGNAL_HALF_LIFE_S)
        presence *= 0.5 ** (idle_s / params.PRESENCE_HALF_LIFE_S)
        if idle_s > params.TANK_GRACE_S:
            tank *= 0.5 ** (idle_s / params.TANK_HALF_LIFE_S)
        if idle_s > params.SESSION_GAP_S:
            session_start, active_s, presence = time, 0.0, presence + 1.0
    return fade, time, session_start, active_s, presence, tank


def _keep_pace(before: Pace, log_time: float, norm: float | None) -> tuple[float, Pace]:
    """How unusual a time is for this learner (z), and what they usually take with it."""
    mean, var, count = before
    residual = log_time if norm is None else log_time - norm
    if count == 0:
        mean = residual if norm is None else residual / 2.0
    off = residual - mean
    z = off / sqrt(var)
    gain = 1.0 / (count + 2 if count + 2 < params.TIME_WINDOW else params.TIME_WINDOW)
    if count >= 2:
        var = max(params.TIME_VAR_FLOOR, var + gain * (off * off - var))
    z = z if z < params.MAX_Z else params.MAX_Z
    return z if z > -params.MAX_Z else -params.MAX_Z, _pace((mean + gain * off, var, count + 1))


def _work(before: Task, key: bytes, interaction: Interaction) -> Task:
    """The present item after an answer to it or a hint request."""
    item, attempts, hints = before
    if key != item:
        attempts = hints = 0
    if interaction.correct is None:
        hints += 1
    else:
        attempts += 1
        told = interaction.attempts
        if told is not None and told > attempts:
            attempts = told
    told = interaction.hints
    return _task((key, attempts, hints if told is None or told < hints else told))
