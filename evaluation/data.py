"""Reads the private research data, where it is present; it knows their columns and nothing of the
model.

The terms of these data forbid passing them on: nothing read here may be written into the project,
only aggregates.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

VARIABLE: Final = "AIVO_SHARED_DATA"
FILES: Final = (
    "golden_ednet.jsonl.gz",
    "golden_nback.jsonl.gz",
    "ednet_kt4_frames.jsonl.gz",
    "assist09_train.tsv.gz",
    "assist09_test.tsv.gz",
    "assist09_item_skills.tsv.gz",
    "nback_tlx.csv.gz",
    "assist17_affect_rows.csv.gz",
    "assist17_first_attempts.tsv.gz",
)


class MissingDataError(Exception):
    """The research data are not on this machine; the message says where they were looked for."""


class GradedAnswer(NamedTuple):
    """One answer of ASSISTments, in the order in which its learner gave them."""

    learner: str
    item: str
    skills: tuple[str, ...]
    correct: bool


class Trial(NamedTuple):
    """One trial of the n-back task."""

    person: str
    n: int
    """How many letters back to remember, 1 (easy) to 4."""
    correct: bool
    seconds: float


class Rating(NamedTuple):
    """What a person said after a block of trials, on NASA-TLX scales brought to 0 … 1."""

    person: str
    n: int
    mental_demand: float
    frustration: float
    performance: float


class Action(NamedTuple):
    """One action in ASSISTments 2017, with what published detectors say of it (probabilities,
    rescaled).
    """

    skill: str
    seconds: float
    correct: bool | None
    """None for a hint request."""
    hints: int
    attempts: int
    errors: int
    """Errors in a row."""
    concentrating: float
    bored: float
    off_task: float
    gaming: float


def folder(environ: Mapping[str, str]) -> Path:
    """Return where the data are: `AIVO_SHARED_DATA`, or `../shared/data` beside the checkout.

    Raises `MissingDataError` when the folder or one of its files is not there.
    """
    path = Path(environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")
    absent = [name for name in FILES if not (path / name).is_file()]
    if absent:
        what = "the research data" if len(absent) == len(FILES) else ", ".join(absent)
        raise MissingDataError(f"{what} cannot be found in {path}; name the folder in {VARIABLE}")
    return path


def json_lines(path: Path, name: str) -> list[dict[str, Any]]:
    """Read a file of one JSON object per line."""
    with gzip.open(path / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def assist09(path: Path, part: str) -> list[GradedAnswer]:
    """Read the `train` or the `test` part of the student-wise split of ASSISTments 2009."""
    table = _rows(path / "assist09_item_skills.tsv.gz")
    skills = {row["item_id"]: tuple(row["skill_ids"].split(";")) for row in table}
    return [
        GradedAnswer(row["user_id"], row["item_id"], skills[row["item_id"]], row["correct"] == "1")
        for row in _rows(path / f"assist09_{part}.tsv.gz")
    ]


def assist17(path: Path) -> list[tuple[GradedAnswer, float]]:
    """Read first attempts of a whole school in ASSISTments 2017, with their times (seconds), in the
    order in which they happened.
    """
    rows = sorted(
        _rows(path / "assist17_first_attempts.tsv.gz"), key=lambda row: float(row["timestamp"])
    )
    return [
        (
            GradedAnswer(row["user_id"], row["item_id"], (row["skill_id"],), row["correct"] == "1"),
            float(row["timestamp"]),
        )
        for row in rows
    ]


def nback(path: Path) -> Iterator[Trial | Rating]:
    """Read trials and, after each block, the rating of it, in the order in which they happened per
    person.
    """
    for row in _rows(path / "nback_tlx.csv.gz", ","):
        if row["trialcode"] == "ratingSummary":
            scales = ("mentaldemand", "frustration", "performance")
            yield Rating(
                row["newID"], int(row["N"]), *((float(row[scale]) - 1.0) / 20.0 for scale in scales)
            )
        else:
            yield Trial(
                row["newID"], int(row["N"]), row["correct"] == "1", float(row["latency"]) / 1000.0
            )


def affect_rows(path: Path) -> list[Action]:
    """Read the actions that affect detectors were run on; they are not consecutive."""
    return [
        Action(
            skill=row["skill"],
            seconds=float(row["timeTaken"]),
            correct=None if row["hint"] == "1" else row["correct"] == "1",
            hints=int(row["hintCount"]),
            attempts=int(row["attemptCount"]),
            errors=int(row["consecutiveErrorsInRow"]),
            concentrating=float(row["RES_CONCENTRATING"]),
            bored=float(row["RES_BORED"]),
            off_task=float(row["RES_OFFTASK"]),
            gaming=float(row["RES_GAMING"]),
        )
        for row in _rows(path / "assist17_affect_rows.csv.gz", ",")
    ]


def _rows(path: Path, delimiter: str = "\t") -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter=delimiter)
