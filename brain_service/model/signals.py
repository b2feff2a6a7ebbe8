"""Moves a learner's signals by what one interaction is evidence of; it knows not what is read out
of them.

For a signal with evidence x: S ← aS + (1 − a)x and w ← aw + (1 − a), where a = .5^(1/half-life);
before that, signals that fade lose a part of S and w to idle time. A signal without evidence only
fades. This is written out signal by signal, because it is the hottest code of the brain; a test
compares it with a loop over `params.SIGNALS`.
"""

from __future__ import annotations

from math import log, log1p
from typing import Final

from brain_service.model import params
from brain_service.model.interaction import Interaction
from brain_service.model.prediction import Answer, keep
from brain_service.model.state import LearnerState

_KEEP_1, _KEEP_4, _KEEP_6, _KEEP_8, _KEEP_16 = map(keep, (1.0, 4.0, 6.0, 8.0, 16.0))
_GAIN_1, _GAIN_4, _GAIN_6, _GAIN_8, _GAIN_16 = (
    1.0 - kept for kept in (_KEEP_1, _KEEP_4, _KEEP_6, _KEEP_8, _KEEP_16)
)
_IMPASSE_SCALE: Final = log(6.0)
_ENGAGE: Final = [signal.name for signal in params.SIGNALS].index("engage")


def move(
    before: LearnerState,
    fade: float,
    interaction: Interaction,
    z: float | None,
    given: Answer | None,
    attempts: int,
    hints: int,
) -> tuple[list[float], list[float]]:
    """Return S and w of all signals after an interaction; engage only moves when `push_engagement`
    tells it.

    `fade` is what idle time left of the fading ones. `z` says how unusual the time taken is, None
    where it is not known. `given` is the graded answer, if it was one. `attempts` and `hints` count
    those on the item.
    """
    (
        declared, demand, slow, err, negsur, impasse, help_, fast, idle, haste,
        flow, expect, sur1, dem1, sur, rtvar, engage, persist,
    ) = before.signals  # fmt: skip
    # Signals with one half-life that move together share one weight.
    (
        w_judged, _, w_slow, _, _, _, w_help, w_fast, _, w_haste,
        w_flow, _, w_sur1, _, w_sur, w_rtvar, w_engage, w_persist,
    ) = before.weights  # fmt: skip
    keep_1, keep_4, keep_6, keep_8 = _KEEP_1 * fade, _KEEP_4 * fade, _KEEP_6 * fade, _KEEP_8 * fade
    time_taken = interaction.time_taken

    if z is None or time_taken is None:
        slow *= fade
        w_slow *= fade
        fast *= fade
        idle *= fade
        w_fast *= fade
    else:
        slow = keep_4 * slow + _GAIN_4 * (z / 2.0)
        w_slow = keep_4 * w_slow + _GAIN_4
        fast = keep_6 * fast + _GAIN_6 * (-z / 3.0 if z < 0.0 else 0.0)
        idle = keep_6 * idle + _GAIN_6 * (
            1.0 if z > params.LONG_Z or time_taken > params.LONG_S else 0.0
        )
        w_fast = keep_6 * w_fast + _GAIN_6
        rtvar = _KEEP_16 * rtvar + _GAIN_16 * (abs(z) / 1.5)
        w_rtvar = _KEEP_16 * w_rtvar + _GAIN_16

    if given is None:
        declared *= fade
        demand *= fade
        err *= fade
        negsur *= fade
        impasse *= fade
        w_judged *= fade
        flow *= fade
        expect *= fade
        w_flow *= fade
        sur1 *= fade
        dem1 *= fade
        w_sur1 *= fade
        haste *= fade
        w_haste *= fade
        if interaction.kind == "hint_request":
            help_ = keep_4 * help_ + _GAIN_4
            w_help = keep_4 * w_help + _GAIN_4
        else:
            help_ *= fade
            w_help *= fade
    else:
        correct, p, _, expected, _, (_, streak, *_), _, _, _, _, _ = given
        difficulty = interaction.difficulty
        surprise, expected_failure, near = correct - p, 1.0 - p, 1.0 - abs(p - 0.75) / 0.5
        wrong = doubt = stuck = hasty = 0.0
        if not interaction.correct:
            wrong, doubt = 1.0, p
            stuck = min(1.0, log1p(max(-streak, attempts - 1)) / _IMPASSE_SCALE)
            if (
                z is not None
                and time_taken is not None
                and (time_taken < params.HASTY_S or z < params.HASTY_Z)
            ):
                hasty = 1.0
        declared = keep_4 * declared + _GAIN_4 * (
            1.0 - expected if difficulty is None else (difficulty - 1.0) / 4.0
        )
        demand = keep_4 * demand + _GAIN_4 * expected_failure
        err = keep_4 * err + _GAIN_4 * wrong
        negsur = keep_4 * negsur + _GAIN_4 * doubt
        impasse = keep_4 * impasse + _GAIN_4 * stuck
        w_judged = keep_4 * w_judged + _GAIN_4
        help_ = keep_4 * help_ + _GAIN_4 * (hints / 3.0 if hints < 3 else 1.0)
        w_help = keep_4 * w_help + _GAIN_4
        if z is None:
            haste *= fade
            w_haste *= fade
        else:
            haste = keep_6 * haste + _GAIN_6 * hasty
            w_haste = keep_6 * w_haste + _GAIN_6
        flow = keep_8 * flow + _GAIN_8 * (near if near > 0.0 else 0.0)
        expect = keep_8 * expect + _GAIN_8 * p
        w_flow = keep_8 * w_flow + _GAIN_8
        sur1 = keep_1 * sur1 + _GAIN_1 * surprise
        dem1 = keep_1 * dem1 + _GAIN_1 * expected_failure
        w_sur1 = keep_1 * w_sur1 + _GAIN_1
        sur = _KEEP_16 * sur + _GAIN_16 * surprise
        w_sur = _KEEP_16 * w_sur + _GAIN_16
        if before.streak < 0:
            persist = _KEEP_16 * persist + _GAIN_16 * (1.0 - hasty)
            w_persist = _KEEP_16 * w_persist + _GAIN_16

    return [
        declared, demand, slow, err, negsur, impasse, help_, fast, idle, haste,
        flow, expect, sur1, dem1, sur, rtvar, engage, persist,
    ], [
        w_judged, w_judged, w_slow, w_judged, w_judged, w_judged, w_help, w_fast, w_fast, w_haste,
        w_flow, w_flow, w_sur1, w_sur1, w_sur, w_rtvar, w_engage, w_persist,
    ]  # fmt: skip


def push_engagement(signals: list[float], weights: list[float], engagement: float) -> None:
    """Push the engagement that was read into the signal that remembers it."""
    signals[_ENGAGE] = _KEEP_16 * signals[_ENGAGE] + _GAIN_16 * engagement
    weights[_ENGAGE] = _KEEP_16 * weights[_ENGAGE] + _GAIN_16
