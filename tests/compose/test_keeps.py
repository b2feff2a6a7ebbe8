"""What is kept: data outlive the containers, and come back from the copies that
docs/operations.md tells to make.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from typing import Any

from tests.compose.engine import Deployment
from tests.deploy.composed import ROOT
from tests.support.ledger import history
from tests.support.school import School
from tests.support.socket import open_socket

COUNT = 20


async def answered(school: School, learner: str) -> list[dict[str, Any]]:
    """Let a learner answer some questions and return the history."""
    token = await asyncio.to_thread(school.token, learner)
    async with open_socket(school.stack.ws_url, token) as socket:
        for _ in range(COUNT):
            await socket.interact(learner)
    return await asyncio.to_thread(history, school, learner, token)


async def test_data_outlive_the_containers(
    deployment: Deployment, school: School, learner: str
) -> None:
    before = await answered(school, learner)
    await asyncio.to_thread(deployment.run, "make", "down")
    assert deployment.containers("brain") == []
    await asyncio.to_thread(deployment.run, "make", "up", "EDGES=2")
    token = await asyncio.to_thread(school.token, learner)
    assert await asyncio.to_thread(history, school, learner, token) == before
    assert len(before) == COUNT


def documented(what: str) -> list[str]:
    """Return the shell commands of a paragraph of docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = re.search(rf"^\*\*{what}\.\*\* .*?(?=^\*\*|^## )", text, re.M | re.S)
    assert section is not None
    return re.findall(r"^```sh\n(.*?)^```", section[0], re.M | re.S)


async def test_the_documented_backup_is_made_in_use_and_brings_everything_back(
    deployment: Deployment, school: School, learner: str
) -> None:
    backup, restore = documented("Backup")
    before = await answered(school, learner)
    await asyncio.to_thread(deployment.run, "sh", "-ec", backup)
    copies = sorted(deployment.folder.glob("backup-*.sqlite3"))
    assert [path.name for path in copies] == [
        f"backup-{name}.sqlite3" for name in ("auth", "brain", "metrics")
    ]
    for path in copies:
        with contextlib.closing(sqlite3.connect(path)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
    assert len(await answered(school, learner)) == len(before) + COUNT

    # As on a new machine: no volume is there.
    await asyncio.to_thread(deployment.compose, "down", "--volumes")
    await asyncio.to_thread(deployment.run, "sh", "-ec", restore)
    token = await asyncio.to_thread(school.token, learner)
    assert await asyncio.to_thread(history, school, learner, token) == before
    assert [entry["revision"] for entry in await answered(school, learner)] == list(
        range(1, len(before) + COUNT + 1)
    )
