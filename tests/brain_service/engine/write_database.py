"""Writes the database that `old_database` keeps of today's build: `python -m
tests.brain_service.engine.write_database`. Run it before a version is released, and never again
for that version: the file must be what that build wrote.

Five made-up learners; one of them is erased. Between them they have every kind of interaction,
bands, a call for attention, a session after a break, and a bank.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brain_service.engine.engine import Submission
from brain_service.engine.teaching import TeachingOptions
from brain_service.model import VERSION, interaction_from_context
from brain_service.model.state import legible
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    Clock,
    meant,
    plain,
    running,
    submission,
)
from tests.brain_service.engine.old_database import DATABASES, LEARNERS, name_of

DAY_S = 86_400.0
Happened = tuple[float, Submission]
"""How many seconds after the one before, and what."""


def answer(learner: str, number: int, correct: bool, **fields: object) -> Submission:
    """An answer to one of seven items, at the usual pace unless `fields` say otherwise."""
    context = {
        "item_id": f"item-{number % 7}",
        "skill": ["sums"] if number % 3 else ["sums", "carrying"],
        "subject": "maths",
        "difficulty": 1 + number % 5,
        "time_taken": 6.0 + number % 4,
        "correct": correct,
    } | fields
    done = interaction_from_context("question_response", f"Task {number}", context)
    return submission(learner, f"{learner}-{number}", interaction=done)


def other(learner: str, kind: str, number: int, **fields: object) -> Submission:
    """A page read, or a hint asked for."""
    done = interaction_from_context(kind, "A page.", {"subject": "maths", **fields})
    return submission(learner, f"{learner}-{kind}-{number}", interaction=done)


def anna() -> Iterator[Happened]:
    """Works on most days, with hints, pages and skills of other scripts."""
    for number in range(36):
        yield (2 * DAY_S if number % 12 == 11 else 30.0), answer("anna", number, number % 4 != 1)
        if number % 9 == 4:
            yield 20.0, other("anna", "hint_request", number, item_id=f"item-{number % 7}")
        if number % 10 == 6:
            yield 60.0, other("anna", "content_view", number, time_taken=45.0)
    yield 30.0, answer("anna", 90, True, skill="дроби")


def ben() -> Iterator[Happened]:
    """Tells neither time, nor skill, nor difficulty; comes back after a break."""
    for number in range(12):
        fields = {"skill": None, "difficulty": None, "time_taken": None, "subject": None}
        yield (DAY_S if number == 11 else 60.0), answer("ben", number, number % 2 == 0, **fields)


def cleo() -> Iterator[Happened]:
    """Has read one page."""
    yield 5.0, other("cleo", "content_view", 0, time_taken=12.0)


def dora() -> Iterator[Happened]:
    """Is erased."""
    for number in range(3):
        yield 20.0, answer("dora", number, True)


def emil() -> Iterator[Happened]:
    """Begins well, then is called for: quick, wrong answers to hard tasks in a row."""
    for number in range(40):
        yield 15.0, answer("emil", number, number % 5 != 0)
    for number in range(40, 48):
        yield 6.0, answer("emil", number, False, difficulty=5, time_taken=1.5)


async def write(folder: Path) -> dict[str, Any]:
    """Let a brain write the database into a folder; return what it reads of it at the end."""
    clock, path = Clock(NOW_S), folder / "brain.sqlite3"
    async with running(path, clock=clock, teaching=TeachingOptions()) as brain:
        for learner in (anna, ben, cleo, dora, emil):
            for after_s, happened in learner():
                clock.now += after_s
                happened.received_at_ms = round(clock.now * 1000)
                await brain.apply(happened)
        await brain.engine.erase("dora", requested_by="a test")
        return {"learners": {each: await _read(brain, each) for each in LEARNERS}}


async def _read(brain: Brain, learner: str) -> dict[str, Any]:
    (snapshot,) = await brain.engine.snapshots([(learner, 0)])
    assert snapshot.state is not None
    entries, _ = await brain.engine.history(learner, limit=3, newest=True)
    return {
        "revision": snapshot.revision,
        "state": plain(legible(snapshot.state)),
        "outcomes": [
            plain(entry.assessment._replace(meaning=None)) | {"meaning": meant(entry.assessment)}
            for entry in entries
        ],
    }


def main() -> None:
    """Write both files of today's version."""
    with TemporaryDirectory() as folder:
        read = asyncio.run(write(Path(folder)))
        database = gzip.compress((Path(folder) / "brain.sqlite3").read_bytes(), mtime=0)
    name = name_of(VERSION)
    (DATABASES / f"{name}.sqlite3.gz").write_bytes(database)
    text = json.dumps(read, ensure_ascii=False, indent=1, sort_keys=True)
    (DATABASES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
