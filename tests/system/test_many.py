"""Two edges on one port and two brains on one database: a class meets nothing of their comings and
goings.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from brain_service.rooms import GRACE_S
from harness.valkey import NoValkeyError, program
from tests.replay.lane import Tally
from tests.support.day import school_day, some_minutes_ago, until_acknowledged
from tests.support.school import School
from tests.support.socket import WAIT_S, Socket, open_socket
from tests.system.conftest import running_school

LEARNERS = 8
PER_SECOND = 60
BETWEEN = 60
"""Answers between two faults."""
FAULTS = ("kill brain", "deploy brain-2", "bus hangs", "bus dies", "kill edge", "deploy edge-2")


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    """A school whose brains share a SQLite file."""
    try:
        program()
    except NoValkeyError as error:
        pytest.skip(str(error))
    with running_school(
        edges=2,
        brains=2,
        EDGE_FRAMES_PER_S="60",
        EDGE_FRAMES_BURST="400",
        EDGE_UPSTREAM_S="8",
    ) as school:
        yield school


@asynccontextmanager
async def sockets(school: School, name: str, count: int) -> AsyncIterator[list[Socket]]:
    """Open sockets, enough that each edge has some: the kernel spreads them by chance."""
    token = await asyncio.to_thread(school.token, name)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_socket(school.stack.ws_url, token))
            for _ in range(count)
        ]


async def test_whoever_watches_at_any_edge_sees_each_revision_of_every_brain(
    school: School,
) -> None:
    learners = [school.new_learner(f"many-{n}") for n in range(4)]
    async with sockets(school, "teacher", 8) as teachers, AsyncExitStack() as stack:
        for teacher in teachers:
            for learner in learners:
                await teacher.ask("subscribe_learner", learner_id=learner, mode="every")
        for learner in learners:
            (pupil,) = await stack.enter_async_context(sockets(school, learner, 1))
            for revision in range(1, 11):
                assert (await pupil.interact(learner))["revision"] == revision
        for teacher in teachers:
            for learner in learners:
                updates = await teacher.until_revision(learner, 10)
                assert [each["revision"] for each in updates] == list(range(1, 11))


async def test_who_is_in_a_room_is_seen_at_every_edge(school: School) -> None:
    async with sockets(school, "teacher", 6) as teachers, sockets(school, "ada", 1) as (ada,):
        for teacher in teachers:
            await teacher.ask("join_room", room_id="class:5a")
        ada_id = school.user_id("ada")
        await ada.ask("join_room", room_id="class:5a")
        for teacher in teachers:
            await teacher.expect(type="user_joined", user={"id": ada_id, "role": "learner"})
        await ada.send({"type": "room_message", "room_id": "class:5a", "data": {"hello": 1}})
        for teacher in teachers:
            await teacher.expect(type="room_message", data={"hello": 1})


async def connections(school: School, edge: str) -> int:
    """Return how many sockets an edge has."""
    url = f"http://{school.stack.exposition(edge)}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=WAIT_S).read())
    (found,) = re.findall(rb"^aivo_websocket_active_connections (\d+)", text, re.MULTILINE)
    return int(found)


async def socket_at(school: School, edge: str, name: str, stack: AsyncExitStack) -> Socket:
    """Open a socket at one of the edges, which the kernel chooses: again and again."""
    async with asyncio.timeout(WAIT_S):
        while True:
            before = await connections(school, edge)
            async with AsyncExitStack() as this:
                (opened,) = await this.enter_async_context(sockets(school, name, 1))
                if await connections(school, edge) > before:
                    stack.push_async_callback(this.pop_all().aclose)
                    return opened


async def test_members_of_an_edge_that_is_lost_leave_everywhere_after_a_while(
    school: School,
) -> None:
    async with AsyncExitStack() as stack:
        teacher = await socket_at(school, "edge", "teacher", stack)
        ada = await socket_at(school, "edge", "ada", stack)
        ben = await socket_at(school, "edge-2", "ben", stack)
        for one in (teacher, ada, ben):
            await one.ask("join_room", room_id="class:5a")
        gone = {"id": school.user_id("ben"), "role": "learner"}
        await teacher.expect(type="user_joined", user=gone)
        began = time.monotonic()
        await asyncio.to_thread(school.stack.kill, "edge-2")
        for one in (teacher, ada):
            await one.expect(type="user_left", room_id="class:5a", user=gone)
        # Until then they might have come back by another edge, and nobody had been told.
        assert time.monotonic() - began > GRACE_S / 2
        seen = await ada.ask("join_room", room_id="class:5a")
        await asyncio.to_thread(school.stack.start, "edge-2")
    there = {one["user"]["id"] for one in seen["members"]}
    assert there >= {school.user_id(name) for name in ("teacher", "ada")}
    assert gone["id"] not in there


@pytest.mark.timeout(240)
async def test_a_school_day_while_brains_edges_and_the_bus_come_and_go(school: School) -> None:
    learners = [school.new_learner(f"day-{n}") for n in range(LEARNERS)]
    day = await school_day(
        school,
        learners,
        partial(trouble, school),
        interactions=120 * PER_SECOND,
        began_s=some_minutes_ago(),
        per_second=PER_SECOND,
    )

    day.assert_nothing_lost_or_doubled(by_edges=True)
    assert day.tally.acknowledged > len(FAULTS) * BETWEEN
    assert day.tally.retryable == {}, "while one brain serves, nobody hears of the other"


async def trouble(school: School, tally: Tally) -> None:
    """Do one thing after the other, each while answers come."""
    stack = school.stack
    valkey = stack.valkey
    assert valkey is not None
    for fault in FAULTS:
        await until_acknowledged(tally, tally.acknowledged + BETWEEN)
        how, _, which = fault.partition(" ")
        if how == "kill":
            await asyncio.to_thread(stack.kill, which)
            await asyncio.to_thread(stack.start, which)
        elif how == "deploy":
            await asyncio.to_thread(stack.restart, which)
        else:
            harm, mend = (
                (valkey.child.kill, valkey.start)
                if which == "dies"
                else (
                    partial(valkey.child.signal, signal.SIGSTOP),
                    partial(valkey.child.signal, signal.SIGCONT),
                )
            )
            await asyncio.to_thread(harm)
            await until_acknowledged(tally, tally.acknowledged + BETWEEN)
            await asyncio.to_thread(mend)
    await until_acknowledged(tally, tally.acknowledged + BETWEEN)
