"""The model equals the reference calculation, line by line, through the same function that the
engine calls.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from brain_service.model import (
    VERSION,
    Assessment,
    LearnerState,
    apply,
    interaction_from_context,
)
from brain_service.model.bank import Bank
from tests.brain_service.model.write_golden import lines, path_of

TOLERANCE = 1e-6
DATA = Path(
    os.environ.get("AIVO_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
)


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here; set AIVO_SHARED_DATA to the folder of the private data")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def replay(frames: Iterable[dict[str, Any]], bank: Bank) -> Iterable[Assessment]:
    states: dict[str, LearnerState] = {}
    for frame in frames:
        interaction = interaction_from_context(frame["type"], frame["content"], frame["context"])
        stage = bank.stage()
        applied = apply(
            states.get(frame["learner_id"]), stage.lookup(interaction), interaction, frame["ts"]
        )
        # The reference knows nothing that learners share besides items and times.
        stage.add(applied.increments._replace(lesson=None))
        stage.commit()
        states[frame["learner_id"]] = applied.state
        yield applied.assessment


def assert_equal(golden: list[dict[str, Any]], assessments: Iterable[Assessment]) -> None:
    for number, (expected, assessment) in enumerate(zip(golden, assessments, strict=True)):
        actual = {
            "predicted_correct": assessment.predicted_correct,
            "item_confidence": assessment.level("item_confidence"),
        }
        actual |= assessment.six()

        assert {name: expected[name] for name in actual} == pytest.approx(actual, abs=TOLERANCE), (
            number
        )


def test_ednet_equals_the_reference() -> None:
    golden = rows("golden_ednet.jsonl.gz")
    frames = rows("ednet_kt4_frames.jsonl.gz")[: len(golden)]

    assert_equal(golden, replay(frames, Bank(prior=0.65)))


def test_nback_equals_the_reference() -> None:
    golden = rows("golden_nback.jsonl.gz")
    fields = ("item_id", "skill", "correct", "difficulty", "time_taken")
    frames = [
        {
            "type": "question_response",
            "content": "n-back",
            "learner_id": row["learner_id"],
            "ts": row["ts"],
            "context": {field: row[field] for field in fields},
        }
        for row in golden
    ]

    assert_equal(golden, replay(frames, Bank(prior=0.0)))


def test_a_simulated_log_gives_what_this_version_gave() -> None:
    """Whoever changes a number must change the version, and write its file."""
    path = path_of(VERSION)
    assert path.exists(), "write the file of this version: python -m tests…write_golden"
    with path.open(encoding="utf-8") as written:
        expected = [json.loads(line) for line in written]

    for number, (line, now) in enumerate(zip(expected, lines(), strict=True)):
        for name, value in line.items():
            near = name in ("predicted", "levels", "mastery", "struggle")
            assert now[name] == (pytest.approx(value, abs=1e-8) if near else value), (number, name)
