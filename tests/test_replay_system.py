"""A replay of real learners through the real system gives the states of the reference calculation.

Skipped where the research data is absent: it lies outside the project, see AIVO_SHARED_DATA in
CONTRIBUTING.md.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.root import ROOT

DATA = Path(os.environ.get("AIVO_SHARED_DATA") or ROOT.parent / "shared/data")
LOG = DATA / "ednet_kt4_frames.jsonl.gz"
GOLDEN = DATA / "golden_ednet.jsonl.gz"
COUNT = 2500
TIMEOUT_S = 110

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not LOG.exists(), reason=f"no research data: {LOG.name} is not in AIVO_SHARED_DATA"
    ),
]


def replayed(*arguments: str) -> dict[str, Any]:
    """Run the command as a person does and return its summary."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.replay", *arguments, "--json"],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto/gen'}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def golden() -> dict[str, dict[str, Any]]:
    """Return the reference's last line per learner."""
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        return {row["learner_id"]: row for row in map(json.loads, file) if row["line"] < COUNT}


def test_the_first_interactions_of_real_learners_give_the_golden_states():
    summary = replayed(str(LOG), "--limit", str(COUNT))

    assert summary["acknowledged"] == summary["sent"] == COUNT
    assert summary["duplicates"] == 0
    expected = golden()
    assert summary["learners"].keys() == expected.keys()
    for learner_id, known in summary["learners"].items():
        for level, value in known["state"].items():
            # Half a step of the protocol's rounding, and the 1e-6 to which the model agrees with
            # the reference.
            assert value == pytest.approx(expected[learner_id][level], abs=5e-5 + 1e-6), (
                learner_id,
                level,
            )


def test_first_attempts_of_a_school_replay_side_by_side():
    log = DATA / "assist17_first_attempts.tsv.gz"
    summary = replayed(str(log), "--limit", "600", "--order", "time", "--sockets", "4")

    assert summary["acknowledged"] == 600
    assert sum(known["revision"] for known in summary["learners"].values()) == 600
