"""Layouts as claims: today's is what the model has, older ones lead to it, and none is changed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import pytest

from brain_service.model import Statistics, apply, interaction_from_context, levels, params
from brain_service.model.layouts import (
    ASSESSMENT,
    ASSESSMENTS,
    STATE,
    STATES,
    STEPS,
    AssessmentLayout,
    Fields,
    Step,
    renamed,
    todays,
)
from brain_service.model.state import BLANK, Pace, Progress, Session, SkillMemory, Standing, Task

WRITTEN = {
    "state 1": "42d74e3d",
    "assessment 1": "7b7ed7ac",
    "state 2": "cbb2ccb8",
    "assessment 2": "7e493380",
    "state 3": "e1cc9aad",
    "assessment 3": "f3b9a64f",
}
"""A digest of each layout that was written to somebody's disk. Add new ones; change none."""


def test_todays_layout_of_a_state_is_what_the_model_remembers() -> None:
    stored = [field.name for field in STATES[STATE].fields if field.name != "item_known"]
    remembered = [
        *("revision", *Session._fields, "signals", "weights", *Progress._fields, *Pace._fields),
        *(*Task._fields, "advice", *Standing._fields),
    ]

    assert stored == remembered, "a field of LearnerState has no place in a layout: add a new one"
    assert STATES[STATE].signals == tuple(each.name for each in params.SIGNALS)
    assert len(STATES[STATE].skill.unpack(bytes(STATES[STATE].skill.size))) == len(
        SkillMemory._fields
    )


def test_packed_fields_have_the_room_that_the_model_fills() -> None:
    """`struct` would cut longer bytes without a word: each signal has its place in `habits`."""
    answer = interaction_from_context("question_response", "7 × 8", {"correct": True})
    standing = apply(BLANK, Statistics(), answer, 1.0).state.standing._asdict()
    room = {field.name: field.code for field in STATES[STATE].fields if field.name in standing}
    filled = {name: f"{len(each)}s" for name, each in standing.items() if isinstance(each, bytes)}

    assert filled == {name: room[name] for name in filled}


def test_todays_layout_of_an_outcome_is_what_the_model_says() -> None:
    assert ASSESSMENTS[ASSESSMENT].names == levels.NAMES
    assert ASSESSMENTS[ASSESSMENT].drivers == levels.DRIVER_NAMES


def test_a_layout_that_was_written_is_never_changed() -> None:
    digests = {
        f"state {number}": digest((layout.fields, layout.signals, layout.skill.format))
        for number, layout in STATES.items()
    } | {
        f"assessment {number}": digest(
            (
                layout.names,
                layout.drivers,
                layout.fixed.format,
                *filter(None, [layout.meaning.format]),
            )
        )
        for number, layout in ASSESSMENTS.items()
    }

    assert digests == WRITTEN


def digest(shape: object) -> str:
    return blake2b(repr(shape).encode(), digest_size=4).hexdigest()


def test_every_older_layout_has_a_step_to_the_next() -> None:
    assert set(STEPS) == set(range(min(STATES), STATE))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (1, {"revision": 7, "hurry": 0.5, "calm": 0.5}),
        (2, {"revision": 7, "hurry": 0.25, "calm": 0.75}),
        (3, {"revision": 7, "hurry": 0.25}),
    ],
)
def test_fields_of_an_older_layout_are_led_to_todays_step_by_step(
    layout: int, expected: Fields
) -> None:
    steps: Mapping[int, Step] = {
        1: lambda fields: fields | {"hurry": 0.5},
        2: lambda fields: fields | {"calm": 1.0 - fields["hurry"]},
    }
    stored: Fields = {"revision": 7} | ({} if layout == 1 else {"hurry": 0.25})

    assert todays(stored, layout, steps, 3) == expected


def test_an_older_outcome_is_told_in_the_places_of_today() -> None:
    old = AssessmentLayout({"load": ("err", "slow"), "boredom": ("idle",)})
    new = AssessmentLayout({"calm": ("rest",), "load": ("declared", "slow", "err")})
    told = (0.7, 0.2), ((0.1, 0.2), (0.3,)), (0.9, 0.8)

    assert renamed(old, told, new, {"calm": 0.4, "load": 0.5}) == (
        (0.4, 0.7),
        ((0.0,), (0.0, 0.2, 0.1)),
        (0.0, 0.9),
    )
    assert renamed(old, told, old, {}) == told
