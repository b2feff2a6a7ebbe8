"""What one interaction changes in a learner's state.

A pure function of values with constant cost; it knows neither clock, storage nor transport.
Formulas and their sources are explained in `docs/model.md`, constants live in `params`.

Where the description of the model leaves a choice, this is what the reference calculation does:
presence fades with the same idle time as the signals; time evidence (slow, fast, idle, rtvar)
counts for every timed interaction, views included; a subject's time norm counts from its first
observation on, for answers and views alike; a skill named twice in one interaction counts and is
learned twice; evidence of outcome counts only where `correct` is told; an answer after a failure
counts as persistence also where its time is unknown.
"""

from __future__ import annotations

from math import exp, isfinite, log, sqrt
from typing import NamedTuple

from brain_service.model import params
from brain_service.model.interaction import BadInteraction, Interaction
from brain_service.model.levels import read, read_direct
from brain_service.model.outcome import Outcome, tell
from brain_service.model.prediction import Answer, Statistics, answer, item_key
from brain_service.model.signals import move, push_engagement
from brain_service.model.state import BLANK, LearnerState
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


class Applied(NamedTuple):
    """All that one interaction brings about."""

    state: LearnerState
    outcome: Outcome
    increments: Increments


_applied, _increments, _state = maker(Applied), maker(Increments), maker(LearnerState)


def apply(
    state: LearnerState | None, statistics: Statistics, interaction: Interaction, now: float
) -> Applied:
    """Return the state after one interaction, what to say about it, and what the bank learns from
    it.

    `state` is None before the learner's first interaction. `now` is when it happened, epoch
    seconds; a time before the last one counts as the last one. The same input always gives the same
    output. Raises `BadInteraction` if `now` is not finite.
    """
    if not isfinite(now):
        raise BadInteraction("The time of the interaction must be a finite number of seconds.")
    before = BLANK if state is None else state
    # The state is taken apart by name, changed, and put together again in the same order.
    (
        revision, time, session_start, active_s, presence, tank, _, _,
        answers, streak, fast, mid, slow, total, accuracy, spread, response_time,
        time_mean, time_var, time_count, item, attempts, hints, advised, skills, item_keys,
        item_counts,
    ) = before  # fmt: skip
    kind, item_name, _, _, subject, correct, _, time_taken, hints_told, attempts_told = interaction

    fade = 1.0
    if revision == 0:
        time, session_start, presence = now, now, 1.0
    else:
        idle_s = now - time - (time_taken or 0.0)
        time = now if now > time else time
        if idle_s > 0.0:
            fade = 0.5 ** (idle_s / params.SIGNAL_HALF_LIFE_S)
            presence *= 0.5 ** (idle_s / params.PRESENCE_HALF_LIFE_S)
            if idle_s > params.TANK_GRACE_S:
                tank *= 0.5 ** (idle_s / params.TANK_HALF_LIFE_S)
            if idle_s > params.SESSION_GAP_S:
                session_start, active_s, presence = time, 0.0, presence + 1.0

    z, active, log_time = None, 0.0, 0.0
    if time_taken is None:
        subject = None
    else:
        log_time = log(time_taken if time_taken > params.MIN_TIME_S else params.MIN_TIME_S)
        normed = subject is not None and statistics.observations > 0
        residual = log_time - statistics.log_time if normed else log_time
        if time_count == 0:
            time_mean = residual / 2.0 if normed else residual
        z, time_mean, time_var = _pace(residual, time_mean, time_var, time_count)
        time_count += 1
        active = time_taken if time_taken < params.MAX_ACTIVE_S else params.MAX_ACTIVE_S

    given: Answer | None = None
    if correct is not None or kind == "hint_request":
        key = item_key(item_name)
        if key != item:
            item, attempts, hints = key, 0, 0
        if correct is None:
            hints = max(hints + 1, hints_told or 0)
        else:
            attempts = max(attempts + 1, attempts_told or 0)
            hints = max(hints, hints_told or 0)
            given = answer(before, statistics, interaction, key, time)
            answers, streak, fast, mid, slow, total, accuracy, spread, response_time = (
                given.progress
            )
            skills, item_keys, item_counts = given.skills, given.item_keys, given.item_counts

    moved, weighed = move(before, fade, interaction, z, given, attempts, hints)
    direct = read_direct(moved, weighed)
    push_engagement(moved, weighed, direct.engagement)
    tank += (1.0 - tank) * (1.0 - exp(-direct.load * active / params.TANK_FILL_S))
    readout = read(direct, moved, weighed, tank, presence)

    after = _state((
        revision + 1, time, session_start, active_s + active, presence, tank, tuple(moved),
        tuple(weighed),
        answers, streak, fast, mid, slow, total, accuracy, spread, response_time,
        time_mean, time_var, time_count, item, attempts, hints, advised, skills, item_keys,
        item_counts,
    ))  # fmt: skip
    if given is None:
        outcome, advice = tell(after, readout, (), None)
        increments = _increments((None, 0.0, 0.0, subject, log_time, False))
    else:
        outcome, advice = tell(after, readout, given.mastery, given.predicted)
        increments = _increments(
            (item_name, given.easiness, given.step, subject, log_time, given.repeated)
        )
    if advice != advised:
        after = after._replace(advice=advice)
    return _applied((after, outcome, increments))


def _pace(residual: float, mean: float, var: float, count: int) -> tuple[float, float, float]:
    """How unusual a log time is for this learner (z), and the mean and variance of their log times
    with it.
    """
    off = residual - mean
    z = off / sqrt(var)
    gain = 1.0 / (count + 2 if count + 2 < params.TIME_WINDOW else params.TIME_WINDOW)
    if count >= 2:
        var = max(params.TIME_VAR_FLOOR, var + gain * (off * off - var))
    return min(max(z, -params.MAX_Z), params.MAX_Z), mean + gain * off, var
