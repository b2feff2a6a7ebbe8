"""Real learners' interactions, sent through the socket into an empty system, move states as the
reference says.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.replay.__main__ import LIFTED, create_learners
from tests.replay.log import Entry, read_log
from tests.support.school import School
from tests.support.socket import open_socket
from tests.system.conftest import running_school

DATA = Path(
    os.environ.get("AIVO_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)
LINES = 2500
TOLERANCE = 1e-4
"""Levels travel with 4 decimals."""


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    """What the reference calculation gives, line by line."""
    with gzip.open(_present("golden_ednet.jsonl.gz"), "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """The interactions, in file order."""
    return read_log(_present("ednet_kt4_frames.jsonl.gz"), limit=LINES)


@pytest.fixture(scope="module")
def empty_school() -> Iterator[School]:
    """A system whose store and item bank nobody has touched, with the limits lifted as
    replays do.
    """
    with running_school(**LIFTED) as school:
        yield school


def _present(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here; set AIVO_SHARED_DATA to the folder of the private data")
    return path


async def test_the_socket_gives_the_states_of_the_reference(
    golden: list[dict[str, Any]], entries: list[Entry], empty_school: School
) -> None:
    create_learners(empty_school.registry, entries)
    async with open_socket(empty_school.stack.ws_url, empty_school.token("admin")) as socket:
        for entry in entries:
            await socket.send(
                {"type": "virtual_brain_interact", "id": entry.line, "data": entry.data}
            )
        await socket.until(lambda: len(socket.frames) > LINES, "all answers")
        at_rest = {
            learner: await socket.ask("get_state", learner_id=learner)
            for learner in dict.fromkeys(entry.learner_id for entry in entries)
        }

    answers = {
        frame["id"]: frame for frame in socket.frames if frame["type"] == "virtual_brain_response"
    }
    assert len(golden) == len(answers) == LINES
    revisions = dict.fromkeys(at_rest, 0)
    for entry, expected in zip(entries, golden, strict=True):
        result = answers[entry.line]["result"]
        told = {**result["state"], "item_confidence": result["item_confidence"]}
        told["predicted_correct"] = result["predicted_correct"]
        assert told == pytest.approx({name: expected[name] for name in told}, abs=TOLERANCE), (
            entry.line
        )
        assert all(round(value, 4) == value for value in told.values() if value is not None)
        revisions[entry.learner_id] += 1
        assert answers[entry.line]["revision"] == revisions[entry.learner_id]
    for learner, state in at_rest.items():
        last = max(entry.line for entry in entries if entry.learner_id == learner)
        assert state["state"] == answers[last]["result"]["state"]
        assert state["revision"] == revisions[learner]
