"""What was copied while everything ran comes back on another day, and whoever saw more is told."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from metrics_service.store import Store
from tests.support.commands import PACKAGES, service_command
from tests.support.eventually import eventually
from tests.support.ledger import history
from tests.support.school import PASSWORD, School, request
from tests.support.socket import open_socket
from tests.system.conftest import running_school

COUNT = 12


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    """A stack that is stopped and gets other data."""
    with running_school() as school:
        yield school


@asynccontextmanager
async def going_on(school: School, learner: str) -> AsyncIterator[None]:
    """Let a learner answer all the time."""
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:

        async def answer() -> None:
            while True:
                await socket.interact(learner)
                await asyncio.sleep(0.05)  # below the rate limit

        task = asyncio.create_task(answer())
        yield
        assert not task.done(), "answers should have gone on"
        task.cancel()


def login(school: School, name: str) -> int:
    credentials = {"email": f"{name}@school.example", "password": PASSWORD}
    return request(school.stack, "POST", "/api/auth/login", credentials)[0]


def kept_figures(school: School) -> int:
    """Return how many received messages the figures on the disk know, which a copy takes: those
    that HTTP tells are in memory, and may be ahead.
    """
    store = Store.open(school.stack.environment("metrics")["METRICS_DATABASE_URL"])
    try:
        return store.load()[0].totals.messages_received
    finally:
        store.close()


async def test_copies_made_in_use_bring_back_people_answers_and_figures(
    school: School, tmp_path: Path
) -> None:
    stack = school.stack
    teacher = school.token("teacher")
    async with open_socket(stack.ws_url, school.token("ada")) as ada:
        for _ in range(COUNT):
            await ada.interact("ada")
    before = await asyncio.to_thread(history, school, "ada", teacher)
    await eventually(
        lambda: asyncio.to_thread(kept_figures, school), lambda received: received >= COUNT
    )

    async with going_on(school, "ben"):
        for name in PACKAGES:
            done = await asyncio.to_thread(
                service_command, stack, name, "backup", str(tmp_path / name)
            )
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    # What happens after the copies is lost; what was given out before stays good.
    school.add_learner("later")
    assert login(school, "later") == 200
    async with (
        open_socket(stack.ws_url, teacher) as watching,
        open_socket(stack.ws_url, school.token("ada")) as ada,
    ):
        seen = await watching.ask("subscribe_learner", learner_id="ada", mode="every")
        for _ in range(COUNT):
            await ada.interact("ada")
        await watching.until_revision("ada", 2 * COUNT)

    for name in PACKAGES:
        done = await asyncio.to_thread(
            service_command, stack, name, "restore", str(tmp_path / name)
        )
        assert done.returncode == 1
        assert "is in use; stop" in done.stderr
    wrong = await asyncio.to_thread(
        service_command, stack, "auth", "restore", str(tmp_path / "brain")
    )
    assert wrong.returncode == 1

    await asyncio.to_thread(stack.stop)
    wrong = await asyncio.to_thread(
        service_command, stack, "auth", "restore", str(tmp_path / "brain")
    )
    assert "is not a database of auth_service" in wrong.stderr
    for name in PACKAGES:
        done = await asyncio.to_thread(
            service_command, stack, name, "restore", str(tmp_path / name)
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    await asyncio.to_thread(stack.start)

    assert await asyncio.to_thread(history, school, "ada", teacher) == before
    assert len(before) == COUNT
    assert login(school, "later") == 401
    assert login(school, "teacher") == 200
    async with (
        open_socket(stack.ws_url, teacher) as watching,
        open_socket(stack.ws_url, school.token("ada")) as ada,
    ):
        resume = {"epoch": seen["epoch"], "revision": 2 * COUNT}
        back = await watching.ask("subscribe_learner", learner_id="ada", resume=resume)
        assert (back["recovered"], back["revision"]) == (False, COUNT)
        assert back["epoch"] != seen["epoch"]
        assert (await ada.interact("ada"))["revision"] == COUNT + 1
        await watching.until_revision("ada", COUNT + 1)
    metrics = request(stack, "GET", "/api/websocket/metrics", token=school.token("admin"))[1]
    assert metrics["messages"]["received"] >= COUNT
