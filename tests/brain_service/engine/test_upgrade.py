"""Upgrades as claims: what an older build wrote is read, goes on, and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brain_service.model import codec
from brain_service.model.state import legible
from tests.brain_service.engine.engine_support import (
    meant,
    plain,
    revisions,
    running,
    submission,
)
from tests.brain_service.engine.old_database import (
    EXPECTED,
    LEARNERS,
    VERSIONS,
    stored,
    unpacked,
)

ROOT = Path(__file__).parents[3]


FORGOTTEN = {"vb-ssm-0.2": ("pending",)}
"""Per version, what of its states a later layout has no use for."""


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_an_older_build_wrote_reads_the_same(version: str, tmp_path: Path) -> None:
    learners = EXPECTED[version]["learners"]
    async with running(unpacked(tmp_path, version)) as brain:
        snapshots = await brain.engine.snapshots([(learner, 0) for learner in LEARNERS])

        for snapshot in snapshots:
            expected = learners[snapshot.learner_id]
            assert snapshot.revision == expected["revision"]
            assert snapshot.state is not None
            kept = {
                field: value
                for field, value in expected["state"].items()
                if field not in FORGOTTEN.get(version, ())
            }
            assert kept.items() <= plain(legible(snapshot.state)).items()
            entries, _ = await brain.engine.history(snapshot.learner_id, limit=3, newest=True)
            for entry, told in zip(entries, expected["outcomes"], strict=True):
                assert entry.assessment.model_version == told["model_version"]
                assert list(entry.assessment.estimates.levels) == levels_of(told)
                assert plain(entry.assessment.mastery) == told["mastery"]
                assert entry.assessment.predicted_correct == told["predicted_correct"]
                assert meant(entry.assessment) == told.get("meaning")


def levels_of(told: dict[str, Any]) -> list[float]:
    """Levels stood beside their drivers once."""
    levels: list[float] = told["levels"] if "levels" in told else told["estimates"]["levels"]
    return levels


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_row_of_an_older_build_can_be_read_and_goes_on(
    version: str, tmp_path: Path
) -> None:
    path, learners = unpacked(tmp_path, version), EXPECTED[version]["learners"]
    outcomes = stored(path)

    told = {codec.decode_assessment(outcome).model_version for outcome in outcomes}
    assert told == {version.replace("-ssm-", "-ssm/")}
    assert len(outcomes) >= sum(learners[learner]["revision"] for learner in LEARNERS)
    async with running(path) as brain:
        results = await brain.apply(*[submission(learner, "next") for learner in LEARNERS])

    assert revisions(results) == [
        (learners[learner]["revision"] + 1, False) for learner in LEARNERS
    ]


async def test_every_state_of_the_first_build_can_be_read(tmp_path: Path) -> None:
    """It wrote one into each row; later ones keep the newest beside the log."""
    states = stored(unpacked(tmp_path, "vb-ssm-0.1"), "state")

    assert len(list(map(codec.decode_state, states))) == 94


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the brain with one constant changed, as in the next version of it."""
    folder = tmp_path_factory.mktemp("next")
    shutil.copytree(ROOT / "brain_service", folder / "brain_service")
    params = folder / "brain_service" / "model" / "params.py"
    text = params.read_text()
    assert "HASTY_S: Final = 3.0" in text
    params.write_text(text.replace("HASTY_S: Final = 3.0", "HASTY_S: Final = 3.1"))
    return folder


def run(build: Path, *arguments: str, database: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(map(str, (build, ROOT, ROOT / "proto" / "gen"))),
            "BRAIN_DATABASE_URL": str(database),
        },
        cwd=build,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


GO_ON = """
import asyncio, json, sys
from pathlib import Path
from brain_service.model import params
from tests.brain_service.engine.engine_support import running, submission

async def main(path, learners):
    async with running(Path(path)) as brain:
        results = await brain.apply(*[submission(each, "after") for each in learners])
        snapshots = await brain.engine.snapshots([(each, 0) for each in learners])
        histories = [await brain.engine.history(each, limit=1000) for each in learners]
    print(json.dumps({
        "hasty_s": params.HASTY_S,
        "applied": [result.revision for result in results],
        "read": [snapshot.state.revision for snapshot in snapshots],
        "rows": [len(entries) for entries, _ in histories],
    }))

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_changed_constant_stops_nobody(version: str, tmp_path: Path, changed: Path) -> None:
    path, learners = unpacked(tmp_path, version), EXPECTED[version]["learners"]

    told = json.loads(run(changed, "-c", GO_ON, str(path), *LEARNERS, database=path))

    expected = [learners[learner]["revision"] + 1 for learner in LEARNERS]
    assert told == {"hasty_s": 3.1, "applied": expected, "read": expected, "rows": expected}
    # The command computes them all by the new constants, once.
    rebuilt = run(changed, "-m", "brain_service", "rebuild", database=path).splitlines()
    assert rebuilt[0] == "4 learners are to be rebuilt."
    assert rebuilt[-1] == f"Rebuilt 4 learners from {sum(expected)} interactions."
    assert "nothing is" in run(changed, "-m", "brain_service", "rebuild", database=path)
    # And going back to the older build stops nobody either.
    back = json.loads(
        run(ROOT, "-c", GO_ON.replace("after", "back"), str(path), *LEARNERS, database=path)
    )
    assert back["applied"] == [revision + 1 for revision in expected]
