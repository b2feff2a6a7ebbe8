"""What was acknowledged survives `kill -9`."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from itertools import groupby, islice
from pathlib import Path

from tests.brain_service.engine.engine_support import logged, revisions, running, submission

ROOT = Path(__file__).parents[3]


def acknowledged_before_kill(path: Path, run: str, count: int) -> list[tuple[str, int, str]]:
    """Let a process work until it has acknowledged so many, kill it, and return all that it
    acknowledged.
    """
    command = [sys.executable, "-m", "tests.brain_service.engine.crash_victim", str(path), run]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        lines = list(islice(victim.stdout, count))
        victim.kill()
        lines += list(victim.stdout)
    assert len(lines) >= count
    # The last line may be cut in the middle, by the kill.
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [
        (learner_id, int(revision), interaction_id)
        for learner_id, revision, interaction_id in whole
    ]


def test_every_acknowledged_interaction_is_in_the_log_exactly_once_after_kills(
    tmp_path: Path,
) -> None:
    path = tmp_path / "brain.db"
    acknowledged = []
    for run in ("first", "second", "third"):
        acknowledged += acknowledged_before_kill(path, run, 300)
    rows = logged(path)
    connection = sqlite3.connect(path)
    integrity = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()

    assert integrity == [("ok",)]
    in_log = [(revision, interaction_id) for _, revision, interaction_id in rows]
    assert len(in_log) == len(set(in_log))
    assert {(revision, interaction_id) for _, revision, interaction_id in acknowledged} <= set(
        in_log
    )
    for _, learner in groupby(sorted(rows), key=lambda row: row[0]):
        own = list(learner)
        assert [revision for _, revision, _ in own] == list(range(1, len(own) + 1))

    async def resend() -> None:
        async with running(path) as brain:
            sent = [
                submission(learner_id, interaction_id)
                for learner_id, _, interaction_id in acknowledged
            ]
            results = await brain.apply(*sent)
        assert revisions(results) == [(revision, True) for _, revision, _ in acknowledged]

    asyncio.run(resend())
    assert logged(path) == rows
