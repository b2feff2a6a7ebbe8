"""What is kept: data outlive the containers, and come back from the copies that
docs/operations.md tells to make.
"""

from __future__ import annotations

import asyncio
import re
import stat
from typing import Any

import pytest

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
    printed = await asyncio.to_thread(deployment.run, "sh", "-ec", backup)
    folder = deployment.folder / printed.split()[-1]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    copies = ("auth-keys.json", "auth.sqlite3", "brain.sqlite3", "metrics.sqlite3")
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == (
        dict.fromkeys(copies, 0o600)
    )
    assert len(await answered(school, learner)) == len(before) + COUNT

    # As on a new machine: no volume is there.
    await asyncio.to_thread(deployment.compose, "down", "--volumes")
    restore = re.sub(r"FROM=\S+", f"FROM={folder.relative_to(deployment.folder)}", restore)
    await asyncio.to_thread(deployment.run, "sh", "-ec", restore)
    token = await asyncio.to_thread(school.token, learner)
    assert await asyncio.to_thread(history, school, learner, token) == before
    assert [entry["revision"] for entry in await answered(school, learner)] == list(
        range(1, len(before) + COUNT + 1)
    )


def test_a_backup_that_fails_half_way_leaves_nothing(deployment: Deployment) -> None:
    deployment.compose("stop", "metrics")
    with pytest.raises(AssertionError, match="not running"):
        deployment.run("deploy/backup.sh", "backups/half")
    assert not list((deployment.folder / "backups").glob("half*"))


def test_nothing_is_put_under_what_runs(deployment: Deployment) -> None:
    folder = deployment.run("make", "-s", "backup").split()[-1]
    with pytest.raises(AssertionError, match="something runs here"):
        deployment.run("make", "restore", f"FROM={folder}")
