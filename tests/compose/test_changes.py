"""Containers crash, hang, come, go and are replaced: nothing that users sent or were to be shown is
lost or doubled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.compose.engine import Deployment, health_of
from tests.deploy.composed import OURS
from tests.replay.lane import Tally
from tests.support.day import Day, school_day, some_minutes_ago, until_acknowledged
from tests.support.school import School
from tests.support.socket import open_socket

PER_SECOND = 40.0
LONGEST_S = 300


async def day_of(
    school: School, learners: list[str], trouble: Callable[[Tally], Awaitable[None]]
) -> Day:
    """Let learners answer as long as the trouble lasts."""
    return await school_day(
        school,
        learners,
        trouble,
        interactions=int(PER_SECOND * LONGEST_S),
        began_s=some_minutes_ago(),
        per_second=PER_SECOND,
    )


def ids(deployment: Deployment, service: str) -> set[str]:
    return {one["Id"] for one in deployment.containers(service)}


def crash(container: dict[str, Any]) -> None:
    """Kill a container's process from outside, as the kernel does when memory runs out."""
    os.kill(container["State"]["Pid"], signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root kills a container's process from outside")
async def test_who_crashes_is_started_again_and_nothing_is_lost(
    deployment: Deployment, school: School, learners: list[str]
) -> None:
    async def trouble(tally: Tally) -> None:
        for name in ("brain", "edge", "auth", "metrics", "proxy"):
            await until_acknowledged(tally, tally.acknowledged + int(2 * PER_SECOND))
            victim = (await asyncio.to_thread(deployment.containers, name))[0]
            crash(victim)
            await asyncio.to_thread(restarted, victim)
        await until_acknowledged(tally, tally.acknowledged + int(2 * PER_SECOND))

    def restarted(victim: dict[str, Any]) -> None:
        def again() -> bool:
            (now,) = deployment.inspect(victim["Id"])
            return now["RestartCount"] > victim["RestartCount"] and health_of(now) == "healthy"

        deployment.until(again, f"{victim['Name']} runs again")

    day = await day_of(school, learners, trouble)

    day.assert_nothing_lost_or_doubled()
    assert day.tally.reconnects >= len(learners), "the proxy's crash should have cut every socket"


async def test_edges_come_and_go_and_sockets_go_with_them(
    deployment: Deployment, school: School, learners: list[str]
) -> None:
    async def scale(count: int) -> set[str]:
        command = ("up", "--detach", "--wait", "--no-recreate", "--scale", f"edge={count}", "edge")
        await asyncio.to_thread(deployment.compose, *command)
        return ids(deployment, "edge")

    async def trouble(tally: Tally) -> None:
        before = ids(deployment, "edge")
        more = await scale(3)
        assert before < more
        await until_sockets(deployment, school, more)
        await until_acknowledged(tally, tally.acknowledged + int(2 * PER_SECOND))
        one = await scale(1)
        assert len(one) == 1
        await until_acknowledged(tally, tally.acknowledged + int(2 * PER_SECOND))

    day = await day_of(school, learners, trouble)

    day.assert_nothing_lost_or_doubled()


async def until_sockets(deployment: Deployment, school: School, edges: set[str]) -> None:
    """Open sockets until each edge has one."""
    token = await asyncio.to_thread(school.token, "teacher")
    addresses = {
        deployment.ip(one): one["Id"] for one in deployment.containers("edge") if one["Id"] in edges
    }
    assert len(addresses) == len(edges)
    async with contextlib.AsyncExitStack() as open_ones:
        for _ in range(60):
            await open_ones.enter_async_context(open_socket(deployment.ws_url, token))
            if all([await asyncio.to_thread(sockets, address) for address in addresses]):
                return
    raise AssertionError("some edge got none of sixty sockets")


def sockets(address: str) -> int:
    """Return how many sockets an edge has."""
    with urllib.request.urlopen(f"http://{address}:8004/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("aivo_websocket_active_connections "):
                return int(float(line.split()[1]))
    raise AssertionError("an edge without its metrics")


async def test_an_upgrade_replaces_one_container_at_a_time_and_nothing_is_lost(
    deployment: Deployment, school: School, learners: list[str]
) -> None:
    before = {name: ids(deployment, name) for name in (*OURS, "proxy", "prometheus")}
    built_from = deployment.folder / "deploy" / "Dockerfile"
    with built_from.open("a", encoding="utf-8") as file:
        file.write("LABEL version=next\n")
    fewest_edges = 99

    async def watch_edges() -> None:
        nonlocal fewest_edges
        while True:
            healthy = [
                one
                for one in await asyncio.to_thread(deployment.containers, "edge")
                if health_of(one) == "healthy"
            ]
            fewest_edges = min(fewest_edges, len(healthy))
            await asyncio.sleep(0.2)

    async def trouble(tally: Tally) -> None:
        await until_acknowledged(tally, int(2 * PER_SECOND))
        watching = asyncio.create_task(watch_edges())
        await asyncio.to_thread(deployment.run, "make", "upgrade")
        watching.cancel()
        await until_acknowledged(tally, tally.acknowledged + int(2 * PER_SECOND))

    day = await day_of(school, learners, trouble)

    day.assert_nothing_lost_or_doubled()
    assert fewest_edges >= 2
    for name in OURS:
        replaced = deployment.containers(name)
        assert len(replaced) == len(before[name])
        assert not {one["Id"] for one in replaced} & before[name]
        assert {one["Config"]["Labels"]["version"] for one in replaced} == {"next"}
    assert {name: ids(deployment, name) for name in ("proxy", "prometheus")} == {
        name: before[name] for name in ("proxy", "prometheus")
    }
    again = {name: ids(deployment, name) for name in before}
    deployment.run("make", "upgrade")
    assert {name: ids(deployment, name) for name in before} == again


def test_a_process_that_hangs_is_unhealthy_until_it_goes_on(deployment: Deployment) -> None:
    metrics = deployment.container("metrics")
    deployment.run("docker", "kill", "--signal", "STOP", metrics["Id"])
    deployment.until_health("metrics", "unhealthy")
    deployment.run("docker", "kill", "--signal", "CONT", metrics["Id"])
    deployment.until_health("metrics")
    assert deployment.container("metrics")["Id"] == metrics["Id"]


def test_without_a_brain_nobody_is_let_in_and_with_it_again_they_are(
    deployment: Deployment,
) -> None:
    deployment.compose("stop", "brain")
    deployment.until(lambda: not deployment.ready(), "the proxy has no edge that is ready")
    deployment.compose("start", "brain")
    deployment.until(deployment.ready, "an edge is ready")
