"""Explains levels that are not as usual for a learner: which drivers differ most from usual.

Only for a state at rest.
"""

from __future__ import annotations

from typing import Final

from brain_service.model import levels, params
from brain_service.model.habits import Band, compare, usual_rest
from brain_service.model.levels import SIX, read, read_direct
from brain_service.model.meaning import NAMES
from brain_service.model.params import DECLARED
from brain_service.model.state import LearnerState
from brain_service.model.words import DRIVERS, Because

MOST: Final = 2
"""Most drivers listed that pull in the band's direction."""
BESIDE: Final = 0.2
"""The share of the strongest that another one needs to be listed."""
COUNTER: Final = 0.5
"""One that pulls the other way is listed from this share of the strongest."""
_PLACES: Final = {signal.name: i for i, signal in enumerate(params.SIGNALS)}


def explain(state: LearnerState) -> dict[str, tuple[Because, ...]]:
    """Return, for each level whose band is known and not as usual, what pulls it there, drivers in
    the band's direction first.

    A driver's part is coefficient · (value − usual value), both at the present evidence.
    """
    off = _differences(state)
    found = {}
    for name, position, band in zip(NAMES, SIX, state.standing.bands, strict=True):
        if band in (Band.AS_USUAL, Band.TOO_EARLY):
            continue
        way = 1.0 if band > Band.AS_USUAL else -1.0
        parts = sorted(
            (
                (way * coefficient * off[driver], driver)
                for driver, coefficient in params.LEVELS[position].coefficients.items()
            ),
            reverse=True,
        )
        told = [part for part in parts[:MOST] if part[0] > max(0.0, BESIDE * parts[0][0])]
        if told and -parts[-1][0] > COUNTER * told[0][0]:
            told.append(parts[-1])
        found[name] = tuple(
            Because(driver, (part > 0.0) is (way > 0.0), DRIVERS[driver][off[driver] > 0.0])
            for part, driver in told
        )
    return found


def _differences(state: LearnerState) -> dict[str, float]:
    """Per driver, how far it lies from what is usual."""
    signals, weights, session = state.signals, state.weights, state.session
    habits, full = usual_rest(state.standing), params.PRESENCE_FULL
    estimates = read(
        read_direct(signals, weights), signals, weights, session.tank, session.presence
    ).levels
    usual = compare(state.standing.level_habits, estimates, weights[DECLARED]).usual
    load, frustration, fatigue = (
        estimates[levels.NAMES.index(name)] - usual[NAMES.index(name)]
        for name in ("cognitive_load", "frustration_level", "fatigue_level")
    )
    return {
        **{name: signals[at] - weights[at] * habits[at] for name, at in _PLACES.items()},
        "load": load,
        "tank": session.tank - habits[-2],
        "presence": (min(session.presence, full) - min(habits[-1], full)) / full,
        "cost": 0.5 * frustration + 0.5 * fatigue,
    }
