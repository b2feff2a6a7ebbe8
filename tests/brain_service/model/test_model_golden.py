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

from brain_service.model import Assessment, LearnerState, apply, interaction_from_context
from brain_service.model.bank import Bank

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
        stage.add(applied.increments)
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
