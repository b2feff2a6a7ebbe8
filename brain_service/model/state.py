"""What the model remembers of one learner, as one immutable value."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.items import listed
from brain_service.model.layouts import LEVEL_HABITS_2, STATE, STATES


class SkillMemory(NamedTuple):
    """The memory of one skill. Residuals are right (1) or wrong (0) minus what the item alone let
    expect.
    """

    fast: float
    """Average of residuals on this skill, half-life 2 answers."""
    mid: float
    """Average of residuals on this skill, half-life 6 answers."""
    total: float
    """Sum of all residuals on this skill."""
    practised_at: float
    """Time of the last answer on it, epoch seconds."""
    lift: float
    """Logits by which the reported mastery stands above the formula, so that a right answer never
    lowers it; ≥ 0.
    """
    answers: int
    answered_at: int
    """The learner's answer count just before the last answer on this skill."""
    last: int
    """The last answer on it: 1 right, −1 wrong."""


HABITS: Final = Struct(f"<{len(params.SIGNALS) + 2}f")
"""What is usual for a learner: the means of the signals, of the tank and of presence."""

pack_skill: Final = STATES[STATE].skill.pack
"""Write the fields of a `SkillMemory` as a state holds them."""
unpack_skill: Final = STATES[STATE].skill.unpack
"""Read those bytes as a plain tuple, in the order of `SkillMemory`."""


class Session(NamedTuple):
    """Where a learner stands in time."""

    time: float
    """Of the last interaction, epoch seconds; reading a state later does not make it fade
    further.
    """
    session_start: float
    active_s: float
    """Seconds of activity in this session; a gap of more than 30 min ends a session."""
    presence: float
    """Sessions, each fading with a half-life of 7 days."""
    tank: float
    """Fatigue tank, 0 (fresh) to 1."""


class Progress(NamedTuple):
    """How a learner's answers have been, all skills together."""

    answers: int
    streak: int
    """Right answers in a row (> 0) or wrong ones (< 0); 0 before the first."""
    fast: float
    mid: float
    slow: float
    """Averages of residuals with half-lives of 2, 8 and 32 answers."""
    total: float
    """Sum of all residuals."""
    accuracy: float
    """Average of right answers, half-life 8, before shrinkage."""
    spread: float
    """Average of squared surprise, half-life 16, before shrinkage."""
    response_time: float | None
    """Average time per timed answer, half-life 8, seconds; None before the first."""


class Pace(NamedTuple):
    """Mean, variance and count of log-time residuals."""

    time_mean: float
    time_var: float
    time_count: int


class Task(NamedTuple):
    """The item worked on last."""

    item: bytes | None
    """Its key; None before the first."""
    attempts: int
    hints: int
    """Answers and hint requests on it since it became the present one."""


class Standing(NamedTuple):
    """A learner's usual values, forecasts and attention."""

    level_habits: bytes
    habits: bytes
    """What is usual for the learner, of levels and of the rest, packed; see `habits`."""
    habit_answers: int
    """Graded answers behind that; 0: both are meaningless."""
    bands: bytes
    """Of the six levels."""
    pending: bytes
    """The last three forecasts, packed; see `forecast`."""
    recent: int
    """The last three outcomes as bits, the newest lowest, 1 for a wrong answer."""
    logit: float
    """Of the last forecast; says nothing before the first answer."""
    rate: float
    """How often all learners struggled, as of the last answer."""
    causes: bytes
    """What the last forecast rests on."""
    attention: int
    reason: int
    since: float
    """Whether somebody should look, why, and since when (epoch seconds); see `attention`."""


class LearnerState(NamedTuple):
    """One learner after `revision` interactions. Never change its dictionary: `apply` copies it.

    `skills` are ordered, the one used longest ago first. `layouts` has the byte layout, under the
    same names.
    """

    revision: int
    session: Session
    signals: tuple[float, ...]
    weights: tuple[float, ...]
    """The signals S and their evidence weights w, in the order of `params.SIGNALS`."""
    progress: Progress
    pace: Pace
    task: Task
    advice: int
    """Which recommendations are on, as bits, for hysteresis."""
    standing: Standing

    skills: dict[str, bytes]
    """Each a packed `SkillMemory`: one is touched per interaction, and all are copied, stored and
    read every time.
    """
    item_keys: bytes
    item_counts: bytes
    """How often each of these items was answered, negative when the last answer on it was wrong;
    see `items`.
    """


BLANK: Final = LearnerState(
    revision=0,
    session=Session(time=0.0, session_start=0.0, active_s=0.0, presence=0.0, tank=0.0),
    signals=(0.0,) * len(params.SIGNALS),
    weights=(0.0,) * len(params.SIGNALS),
    progress=Progress(
        answers=0,
        streak=0,
        fast=0.0,
        mid=0.0,
        slow=0.0,
        total=0.0,
        accuracy=0.0,
        spread=0.0,
        response_time=None,
    ),
    pace=Pace(time_mean=0.0, time_var=params.TIME_VAR_START, time_count=0),
    task=Task(item=None, attempts=0, hints=0),
    advice=0,
    standing=Standing(
        level_habits=LEVEL_HABITS_2,
        habits=bytes(HABITS.size),
        habit_answers=0,
        bands=b"\x06" * 6,
        pending=bytes(96),
        recent=0,
        logit=0.0,
        rate=0.0,
        causes=bytes(16),
        attention=0,
        reason=0,
        since=0.0,
    ),
    skills={},
    item_keys=b"",
    item_counts=b"",
)
"""Where a learner starts. It is never shown: before the first interaction a learner has no state.
"""


_PACKED: Final = {
    "level_habits": Struct("<12f"),
    "habits": HABITS,
    "bands": Struct("<6B"),
    "causes": Struct("<4f"),
}


def legible(state: LearnerState) -> dict[str, object]:
    """Every field of a state by name, nothing packed, for a person to read."""
    fields = state._asdict()
    for part in ("session", "progress", "pace", "task", "standing"):
        fields |= fields.pop(part)._asdict()
    items = listed(fields.pop("item_keys"), fields.pop("item_counts"))
    item = state.task.item
    return (
        fields
        | {name: list(form.unpack(fields[name])) for name, form in _PACKED.items()}
        | {
            "pending": [
                [logit, lean, *(key.hex() for key in keys)]
                for logit, lean, *keys in Struct("<ff8s8s8s").iter_unpack(state.standing.pending)
            ],
            "item": None if item is None else int.from_bytes(item, "little"),
            "skills": {
                skill: SkillMemory._make(unpack_skill(packed))
                for skill, packed in state.skills.items()
            },
            "items": {int.from_bytes(key, "little"): count for key, count in items.items()},
        }
    )
