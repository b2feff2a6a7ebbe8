"""deploy/compose.scale.yaml on a real Docker engine: three edges, two brains and two auth services
on PostgreSQL, and what a class meets while they come and go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

import grpc
import pytest

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from harness.root import ROOT
from harness.stack import Stack
from tests.chaos import clock
from tests.compose.engine import Deployment, deployed, health_of, why_not
from tests.compose.faults import BRAIN_AWAY, CLOCKS, DISK, Faults, prepare_clocks
from tests.replay.lane import Tally
from tests.support.day import school_day, some_minutes_ago, until_acknowledged
from tests.support.eventually import eventually
from tests.support.school import School, found_school
from tests.support.socket import open_socket

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1200)

FILE = "deploy/compose.scale.yaml"
COUNTS = {"edge": 3, "brain": 2, "auth": 2, "metrics": 1, "postgres": 1, "valkey": 1}
LEARNERS = 6
PER_SECOND = 40
BETWEEN = 60
ROW = "{:<32}{:>9}{:>14}{:>9}{:>8}"


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """What `make up` starts with that file in .env, on a machine where nothing was there before."""
    if reason := why_not():
        pytest.skip(reason)
    faketime = clock.library()
    further = (DISK, CLOCKS) if faketime else (DISK,)
    with deployed(tmp_path_factory.mktemp("scaled"), FILE, *further) as made:
        if faketime:
            prepare_clocks(made, faketime)
        made.run("make", "up")
        yield made


@pytest.fixture(scope="module")
def scaled_school(scaled: Deployment) -> School:
    """A school in it."""
    return found_school(cast(Stack, scaled))


def healthy(scaled: Deployment) -> bool:
    return all(
        [health_of(one) for one in scaled.containers(name)] == ["healthy"] * count
        for name, count in COUNTS.items()
    )


def test_one_command_starts_all_of_them(scaled: Deployment) -> None:
    scaled.until(partial(healthy, scaled), "all are there and healthy")
    for name in ("brain", "auth", "metrics"):
        (migrated,) = scaled.containers(f"{name}-migrate")
        assert migrated["State"]["ExitCode"] == 0
    assert scaled.ready()


async def test_access_that_is_taken_away_ends_at_every_edge_within_a_second(
    scaled: Deployment, scaled_school: School
) -> None:
    """Whichever auth service heard of it, and whichever an edge listens to."""
    relation = auth_pb2.Relation(
        kind=auth_pb2.RELATION_KIND_GUARDIAN_OF,
        subject=scaled_school.user_id("parent"),
        object="ada",
    )
    async with AsyncExitStack() as stack:
        sockets = []
        for _ in range(6):
            token = await asyncio.to_thread(scaled_school.token, "parent")
            sockets.append(await stack.enter_async_context(open_socket(scaled.ws_url, token)))
            # The other auth service hears of the parent a moment after the one that was told.
            subscribe = partial(sockets[-1].ask, "subscribe_learner", learner_id="ada")
            await eventually(subscribe, lambda told: bool(told.get("success")))
        channel = grpc.insecure_channel(scaled.address("auth"))
        remove = auth_pb2.RemoveRelationRequest(relation=relation)
        await asyncio.to_thread(
            auth_pb2_grpc.AuthServiceStub(channel).RemoveRelation,
            remove,
            metadata=scaled.metadata,
            timeout=10,
        )
        began = time.monotonic()
        for socket in sockets:
            await socket.expect(type="unsubscribed", learner_id="ada", code="revoked")
        logger.info("revoked at every edge after %.2f s", time.monotonic() - began)


async def test_a_school_day_while_containers_come_and_go(
    scaled: Deployment, scaled_school: School
) -> None:
    """In an order by chance: CHAOS_SEED=7 makes it that of the run which told that seed."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10_000))
    faults = Faults(scaled, COUNTS)
    names = sorted(faults.known)
    random.Random(seed).shuffle(names)
    table = [f"CHAOS_SEED={seed}", ROW.format("after", "sent", "acknowledged", "stored", "shown")]
    learners = [
        await asyncio.to_thread(scaled_school.new_learner, f"day-{n}") for n in range(LEARNERS)
    ]
    before = stored(scaled)

    async def trouble(tally: Tally) -> None:
        for name in names:
            await until_acknowledged(tally, tally.acknowledged + BETWEEN)
            await asyncio.to_thread(faults.let, name)
            await until_acknowledged(tally, tally.acknowledged + BETWEEN)
            acknowledged = tally.acknowledged
            there = await asyncio.to_thread(stored, scaled) - before
            table.append(ROW.format(name, tally.sent, acknowledged, there, ""))
            assert there >= acknowledged, table

    day = await school_day(
        scaled_school,
        learners,
        trouble,
        interactions=1000 * PER_SECOND,
        began_s=some_minutes_ago(40),
        per_second=PER_SECOND,
    )
    shown = sum(map(len, day.every.shown.values()))
    tally = day.tally
    total = tally.sent, tally.acknowledged, stored(scaled) - before, shown
    table.append(ROW.format("all of it", *total))
    logger.info("%s", "\n".join(table))
    day.assert_nothing_lost_or_doubled(by_edges=True)
    assert len(set(total)) == 1, table


async def test_the_load_test_passes_while_edges_and_a_brain_fail(
    scaled: Deployment, scaled_school: School
) -> None:
    """By way of the proxy: it finds nothing lost, doubled, out of order or stale."""
    learners = [
        await asyncio.to_thread(scaled_school.new_learner, f"load-{n}") for n in range(LEARNERS)
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "tests/load_test_websockets.py", "--url", scaled.ws_url),
        *("--connections", "24", "--rate", "40", "--duration", "90", "--sole-writer"),
        *(word for learner in learners for word in ("--learner", learner)),
        cwd=ROOT,
        env=os.environ | {"AIVO_TOKEN": await asyncio.to_thread(scaled_school.token, "admin")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr
        await process.stderr.readuntil(b" connected")
        faults = Faults(scaled, COUNTS)
        for name in ("edge killed", "edge drained and restarted", *BRAIN_AWAY):
            await asyncio.to_thread(faults.let, name)
        told, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    logger.info("%s", told.decode())
    assert process.returncode == 0, told.decode() + complaints.decode()[-4000:]


def stored(scaled: Deployment) -> int:
    """Count what the database has, past all code of ours."""
    count = "SELECT count(*) FROM log"
    return int(
        scaled.compose(
            *("exec", "-T", "postgres", "psql", "-U", "aivo", "-d", "brain", "-Atc", count)
        )
    )
