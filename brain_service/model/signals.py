"""Moves a learner's signals by the evidence of one interaction.

For a signal with evidence x: S ← aS + (1 − a)x and w ← aw + (1 − a), where a = .5^(1/half-life);
before that, fading signals lose a part of S and w to idle time. A signal without evidence only
fades. This is written out signal by signal, because it is the hottest code of the brain; a test
compares it with a loop over `params.SIGNALS`.
"""

from __future__ import annotations

from math import log, log1p
from typing import Final

from brain_service.model import params
from brain_service.model.interaction import Interaction
from brain_service.model.params import (
    DECLARED,
    DEM1,
    DEMAND,
    ENGAGE,
    ERR,
    EXPECT,
    FAST,
    FLOW,
    HASTE,
    HELP,
    IDLE,
    IMPASSE,
    NEGSUR,
    PERSIST,
    RTVAR,
    SLOW,
    SUR,
    SUR1,
)
from brain_service.model.prediction import Answer, keep
from brain_service.model.state import LearnerState

_KEEP_1, _KEEP_4, _KEEP_6, _KEEP_8, _KEEP_16 = map(keep, (1.0, 4.0, 6.0, 8.0, 16.0))
_GAIN_1, _GAIN_4, _GAIN_6, _GAIN_8, _GAIN_16 = (
    1.0 - kept for kept in (_KEEP_1, _KEEP_4, _KEEP_6, _KEEP_8, _KEEP_16)
)
_IMPASSE_SCALE: Final = log(6.0)
_JUDGED: Final = (
    DECLARED, DEMAND, ERR, NEGSUR, IMPASSE, HASTE, FLOW, EXPECT, SUR1, DEM1,
)  # fmt: skip
"""Signals that only a graded answer is evidence for, and that fade."""


def move(
    before: LearnerState,
    fade: float,
    interaction: Interaction,
    z: float | None,
    given: Answer | None,
    attempts: int,
    hints: int,
) -> tuple[list[float], list[float]]:
    """Return S and w of all signals after an interaction; `push_engagement` alone moves engage.

    `fade` is the factor that idle time left of the fading ones. `z` is how unusual the time taken
    is, None if unknown. `given` is the graded answer, if any. `attempts` and `hints` count those on
    the item.
    """
    s, w = [*before.signals], [*before.weights]
    keep_1, keep_4, keep_6, keep_8 = _KEEP_1 * fade, _KEEP_4 * fade, _KEEP_6 * fade, _KEEP_8 * fade
    time_taken = interaction.time_taken

    # Signals with one half-life that move together share one weight.
    if z is None or time_taken is None:
        s[SLOW] *= fade
        w[SLOW] *= fade
        s[FAST] *= fade
        s[IDLE] *= fade
        w[FAST] = w[IDLE] = w[FAST] * fade
    else:
        s[SLOW] = keep_4 * s[SLOW] + _GAIN_4 * (z / 2.0)
        w[SLOW] = keep_4 * w[SLOW] + _GAIN_4
        long = z > params.LONG_Z or time_taken > params.LONG_S
        s[FAST] = keep_6 * s[FAST] + _GAIN_6 * (-z / 3.0 if z < 0.0 else 0.0)
        s[IDLE] = keep_6 * s[IDLE] + _GAIN_6 * (1.0 if long else 0.0)
        w[FAST] = w[IDLE] = keep_6 * w[FAST] + _GAIN_6
        s[RTVAR] = _KEEP_16 * s[RTVAR] + _GAIN_16 * (abs(z) / 1.5)
        w[RTVAR] = _KEEP_16 * w[RTVAR] + _GAIN_16

    if given is None:
        for signal in _JUDGED:
            s[signal] *= fade
            w[signal] *= fade
        if interaction.kind == "hint_request":
            s[HELP] = keep_4 * s[HELP] + _GAIN_4
            w[HELP] = keep_4 * w[HELP] + _GAIN_4
        else:
            s[HELP] *= fade
            w[HELP] *= fade
        return s, w

    correct, p, expected, difficulty = (
        given.correct, given.predicted, given.expected, interaction.difficulty
    )  # fmt: skip
    surprise, expected_failure, near = correct - p, 1.0 - p, 1.0 - abs(p - 0.75) / 0.5
    wrong = doubt = stuck = hasty = 0.0
    if not interaction.correct:
        wrong, doubt = 1.0, p
        failures = max(-given.progress.streak, attempts - 1)
        stuck = min(1.0, log1p(failures) / _IMPASSE_SCALE)
        if (
            z is not None
            and time_taken is not None
            and (time_taken < params.HASTY_S or z < params.HASTY_Z)
        ):
            hasty = 1.0
    s[DECLARED] = keep_4 * s[DECLARED] + _GAIN_4 * (
        1.0 - expected if difficulty is None else (difficulty - 1.0) / 4.0
    )
    s[DEMAND] = keep_4 * s[DEMAND] + _GAIN_4 * expected_failure
    s[ERR] = keep_4 * s[ERR] + _GAIN_4 * wrong
    s[NEGSUR] = keep_4 * s[NEGSUR] + _GAIN_4 * doubt
    s[IMPASSE] = keep_4 * s[IMPASSE] + _GAIN_4 * stuck
    judged = keep_4 * w[DECLARED] + _GAIN_4
    w[DECLARED] = w[DEMAND] = w[ERR] = w[NEGSUR] = w[IMPASSE] = judged
    s[HELP] = keep_4 * s[HELP] + _GAIN_4 * (hints / 3.0 if hints < 3 else 1.0)
    w[HELP] = keep_4 * w[HELP] + _GAIN_4
    if z is None:
        s[HASTE] *= fade
        w[HASTE] *= fade
    else:
        s[HASTE] = keep_6 * s[HASTE] + _GAIN_6 * hasty
        w[HASTE] = keep_6 * w[HASTE] + _GAIN_6
    s[FLOW] = keep_8 * s[FLOW] + _GAIN_8 * (near if near > 0.0 else 0.0)
    s[EXPECT] = keep_8 * s[EXPECT] + _GAIN_8 * p
    w[FLOW] = w[EXPECT] = keep_8 * w[FLOW] + _GAIN_8
    s[SUR1] = keep_1 * s[SUR1] + _GAIN_1 * surprise
    s[DEM1] = keep_1 * s[DEM1] + _GAIN_1 * expected_failure
    w[SUR1] = w[DEM1] = keep_1 * w[SUR1] + _GAIN_1
    s[SUR] = _KEEP_16 * s[SUR] + _GAIN_16 * surprise
    w[SUR] = _KEEP_16 * w[SUR] + _GAIN_16
    if before.progress.streak < 0:
        s[PERSIST] = _KEEP_16 * s[PERSIST] + _GAIN_16 * (1.0 - hasty)
        w[PERSIST] = _KEEP_16 * w[PERSIST] + _GAIN_16
    return s, w


def push_engagement(signals: list[float], weights: list[float], engagement: float) -> None:
    """Push the engagement that was read into the signal that remembers it."""
    signals[ENGAGE] = _KEEP_16 * signals[ENGAGE] + _GAIN_16 * engagement
    weights[ENGAGE] = _KEEP_16 * weights[ENGAGE] + _GAIN_16
