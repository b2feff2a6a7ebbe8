"""The signals, written out one by one, equal the loop over their table that defines them."""

from __future__ import annotations

from math import log, log1p

from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import Statistics, params, prediction, signals
from brain_service.model.interaction import Interaction
from brain_service.model.prediction import Answer, answer, item_key
from brain_service.model.state import BLANK

NAMES = [signal.name for signal in params.SIGNALS]
WEIGHTS = (
    ("declared", "demand", "err", "negsur", "impasse"),
    ("fast", "idle"),
    ("flow", "expect"),
    ("sur1", "dem1"),
)
"""Signals that are always pushed together and have equal half-lives, so that their weights are
equal.
"""

shares = st.floats(0, 1)
interactions = st.builds(
    Interaction,
    st.sampled_from(["question_response", "content_view", "hint_request"]),
    st.just("q"),
    skills=st.just(("add",)),
    difficulty=st.none() | st.floats(1, 5),
    correct=st.none() | st.booleans(),
    time_taken=st.none() | st.floats(0, 200),
)


def evidence(
    interaction: Interaction,
    z: float | None,
    streak: int,
    given: Answer | None,
    attempts: int,
    hints: int,
) -> dict[str, float]:
    """What an interaction is evidence of, as the table in docs/model.md says."""
    found = {}
    if z is not None and interaction.time_taken is not None:
        long = z > params.LONG_Z or interaction.time_taken > params.LONG_S
        found = {
            "slow": z / 2,
            "fast": max(0.0, -z) / 3,
            "idle": float(long),
            "rtvar": min(abs(z), 3.0) / 1.5,
        }
    if given is None:
        return found | ({"help": 1.0} if interaction.kind == "hint_request" else {})
    wrong, p = not interaction.correct, given.predicted
    declared = (
        1 - given.expected if interaction.difficulty is None else (interaction.difficulty - 1) / 4
    )
    failures = max(-given.progress[1], attempts - 1)
    found |= {
        "declared": declared,
        "demand": 1 - p,
        "err": float(wrong),
        "negsur": p if wrong else 0.0,
    }
    found |= {
        "impasse": min(1.0, log1p(failures) / log(6)) if wrong else 0.0,
        "help": min(1.0, hints / 3),
    }
    found |= {"flow": max(0.0, 1 - abs(p - 0.75) / 0.5), "expect": p}
    found |= {"sur1": given.correct - p, "dem1": 1 - p, "sur": given.correct - p}
    hasty = 0.0
    if z is not None and interaction.time_taken is not None:
        hasty = float(wrong and (interaction.time_taken < params.HASTY_S or z < params.HASTY_Z))
        found["haste"] = hasty
    if streak < 0:
        found["persist"] = 1 - hasty
    return found


@given(
    st.lists(shares, min_size=len(NAMES), max_size=len(NAMES)),
    st.lists(shares, min_size=len(NAMES), max_size=len(NAMES)),
    st.integers(-5, 5),
    shares,
    interactions,
    st.floats(-3, 3),
    st.integers(1, 9),
    st.integers(0, 9),
)
def test_each_signal_moves_as_its_row_of_the_table_says(
    averages: list[float],
    weights: list[float],
    streak: int,
    fade: float,
    interaction: Interaction,
    z: float,
    attempts: int,
    hints: int,
) -> None:
    for first, *others in WEIGHTS:
        for other in others:
            weights[NAMES.index(other)] = weights[NAMES.index(first)]
    before = BLANK._replace(
        revision=1,
        progress=BLANK.progress._replace(streak=streak),
        signals=tuple(averages),
        weights=tuple(weights),
    )
    pace = None if interaction.time_taken is None else z
    graded = interaction.correct is not None
    told = answer(before, Statistics(), interaction, item_key("q"), 0.0) if graded else None

    moved = signals.move(before, fade, interaction, pace, told, attempts, hints)

    pushed = evidence(interaction, pace, streak, told, attempts, hints)
    for i, signal in enumerate(params.SIGNALS):
        left, kept = fade if i < params.FADING else 1.0, prediction.keep(signal.half_life)
        s, w = averages[i], weights[i]
        if signal.name in pushed:
            expected = (
                kept * left * s + (1 - kept) * pushed[signal.name],
                kept * left * w + (1 - kept),
            )
        else:
            expected = left * s, left * w
        assert (moved[0][i], moved[1][i]) == expected, signal.name


def test_each_position_has_the_name_of_its_row() -> None:
    assert [getattr(params, name.upper()) for name in NAMES] == list(range(len(NAMES)))
