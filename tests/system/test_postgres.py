"""The four real processes on PostgreSQL: what an operator and a class meet while it fails."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from harness.postgres import NoPostgresError, tools
from harness.stack import Stack
from tests.replay.lane import Tally
from tests.support.commands import service_command
from tests.support.day import school_day, until_acknowledged
from tests.support.school import School
from tests.system.conftest import running_school

LEARNERS = 6
INTERACTIONS = 2400


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    """A school whose three databases are on one server."""
    try:
        tools()
    except NoPostgresError as error:
        pytest.skip(str(error))
    with running_school(
        database="postgres",
        # They work from memory while their database is away, and say so.
        foreseen='"reason": "the database',
        EDGE_FRAMES_PER_S="60",
        EDGE_FRAMES_BURST="400",
        BRAIN_HEARTBEAT_S="1",
        BRAIN_MAX_BACKDATE_S="0",
    ) as school:
        yield school


@pytest.mark.timeout(180)
async def test_a_school_day_while_postgresql_restarts_and_the_brain_is_killed(
    school: School,
) -> None:
    learners = [school.new_learner(f"day-{n}") for n in range(LEARNERS)]
    day = await school_day(school, learners, partial(trouble, school), interactions=INTERACTIONS)

    day.assert_nothing_lost_or_doubled()
    assert day.newest == dict.fromkeys(learners, INTERACTIONS // LEARNERS)
    assert day.tally.resent > 0, "the faults should have hit work under way"
    assert logged(school.stack) == INTERACTIONS


async def trouble(school: School, tally: Tally) -> None:
    """Restart the server as an upgrade does, crash it, and kill the brain, in turns."""
    postgres = school.stack.postgres
    assert postgres is not None
    faults = (signal.SIGINT, "brain", signal.SIGQUIT, "both")
    for number, fault in enumerate(faults, 1):
        await until_acknowledged(tally, number * INTERACTIONS // (len(faults) + 2))
        if isinstance(fault, signal.Signals):
            await asyncio.to_thread(postgres.stop, how=fault)
            await asyncio.to_thread(postgres.start)
        else:
            await asyncio.to_thread(school.stack.kill, "brain")
            if fault == "both":
                await asyncio.to_thread(postgres.stop, how=signal.SIGQUIT)
                await asyncio.to_thread(postgres.start)
            await asyncio.to_thread(school.stack.start)


def logged(stack: Stack) -> int:
    """Count the interactions in the log, past all code of ours."""
    assert stack.postgres is not None
    return int(stack.postgres.sql("brain", "SELECT count(*) FROM log"))


def test_a_backup_of_each_service_comes_back(
    school: School, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the tools that come with the server: written, restored, and the services go on."""
    stack = school.stack
    folder = tmp_path_factory.mktemp("backups")
    learner = school.new_learner("kept")

    def command(service: str, *words: str) -> str:
        path = f"{tools()}:{stack.environment(service)['PATH']}"
        done = service_command(stack, service, *words, PATH=path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = logged(stack)
    for service in ("brain", "auth", "metrics"):
        assert "verified" in command(service, "backup", str(folder / service))
    school.new_learner("later")
    stack.stop("edge", "brain", "auth", "metrics")
    for service in ("brain", "auth", "metrics"):
        assert "is restored" in command(service, "restore", str(folder / service))
    assert logged(stack) == before
    assert stack.postgres is not None
    found = stack.postgres.sql("auth", "SELECT json_agg(learner_id) FROM learners")
    assert learner in json.loads(found)
    assert not [one for one in json.loads(found) if one.startswith("later-")]
    stack.start()
