"""The disk of the database server is full: what users and operators hear, and what becomes of it
once there is room.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.postgres import NoPostgresError, tools
from harness.stack import private_stack
from tests.chaos.disk import Disk, can_mount, small_disk
from tests.support.eventually import eventually
from tests.support.school import School, found_school
from tests.support.socket import Frame, Socket, answer, open_socket

WANTED = 400
"""Answers that take more room than the server has in reserve."""


@pytest.fixture(scope="module")
def crowded() -> Iterator[tuple[School, Disk]]:
    """A school whose database server has a disk of its own."""
    try:
        tools()
    except NoPostgresError as error:
        pytest.skip(str(error))
    if not can_mount():
        pytest.skip("nothing can be mounted here")
    env = {"EDGE_FRAMES_PER_S": "0", "EDGE_USER_UNITS_PER_S": "0"}
    with (
        private_stack(env=env, database="postgres", services=()) as stack,
        small_disk(stack) as disk,
    ):
        assert disk is not None
        stack.start()
        yield found_school(stack), disk


async def test_a_full_disk_refuses_for_now_loses_nothing_and_needs_no_restart(
    crowded: tuple[School, Disk],
) -> None:
    school, disk = crowded
    stack = school.stack
    pids = [stack.pid(name) for name in stack.services]
    async with open_socket(stack.ws_url, school.token("ada")) as socket:
        data = [answer("ada", interaction_id=f"full-{n}", content="x" * 400) for n in range(WANTED)]
        with disk.full():
            refused, at = await _until_refused(socket, data)
            assert (await socket.ask("get_state", learner_id="ada"))["revision"] == at
        assert refused["code"] == "unavailable"
        assert refused["retry_after_ms"] > 0
        assert "the server's disk is full; make room" in _log(school)

        async def again() -> Frame:
            return await socket.ask("virtual_brain_interact", data=data[at])

        told = await eventually(again, lambda frame: frame["type"] != "error", within_s=30.0)
        assert (told["revision"], told["duplicate"]) == (at + 1, False)
    assert pids == [stack.pid(name) for name in stack.services]
    assert stack.postgres is not None
    assert stack.postgres.sql("brain", "SELECT count(*) FROM log") == str(at + 1)


async def _until_refused(socket: Socket, data: list[Frame]) -> tuple[Frame, int]:
    """Send one after the other until one is refused; return the refusal and which it was."""
    for number, one in enumerate(data):
        told = await socket.ask("virtual_brain_interact", data=one)
        if told["type"] == "error":
            return told, number
    raise AssertionError("the disk had room for all of them")


def _log(school: School) -> str:
    return (school.stack.logs / "brain.log").read_text(encoding="utf-8")
