"""Recorded messages through the real processes: from a socket to analytics and the export; nobody
waits for them.
"""

from __future__ import annotations

import asyncio
import csv
import io
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from harness.root import ROOT
from tests.support.eventually import eventually
from tests.support.school import School, request
from tests.support.socket import open_socket
from tests.system.conftest import running_school

SECRET = "the answer that nobody else may read"


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    """A stack whose edge keeps few records, so that some are dropped while the metrics service is
    away.
    """
    with running_school(
        EDGE_REPORT_S="0.1", EDGE_RECORD_QUEUE="20", METRICS_TOTALS_INTERVAL_S="0.1"
    ) as school:
        yield school


@pytest.fixture(scope="module")
def telling_school() -> Iterator[School]:
    """A stack that records contents."""
    with running_school(EDGE_REPORT_S="0.1", EDGE_RECORD_CONTENT="on") as school:
        yield school


async def analytics(school: School, query: str = "") -> dict[tuple[str, str, str], Any]:
    """Return the sums of the last hour by type, role and direction."""
    path = f"/api/websocket/analytics?interval=3600{query}"
    status, body = await asyncio.to_thread(
        request, school.stack, "GET", path, None, school.token("admin")
    )
    assert status == 200, body
    return {(row["type"], row["role"], row["direction"]): row for row in body["rows"]}


def exported(school: School) -> list[dict[str, str]]:
    """Return the records as the command exports them beside the running service."""
    done = subprocess.run(
        [sys.executable, "-m", "metrics_service", "export"],
        env=school.stack.environment("metrics"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return list(csv.DictReader(io.StringIO(done.stdout)))


def metric(school: School, name: str) -> float:
    """Return one metric of the edge."""
    with urllib.request.urlopen(
        f"http://{school.stack.exposition('edge')}/metrics", timeout=10
    ) as answer:
        lines = answer.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_frames_of_a_socket_appear_in_analytics_and_in_the_export(school: School) -> None:
    learner = school.new_learner()
    token = school.token(learner)
    async with (
        open_socket(school.stack.ws_url, token) as pupil,
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
    ):
        await teacher.ask("subscribe_learner", learner_id=learner)
        answered = [await pupil.interact(learner, content=SECRET) for _ in range(3)]
        await pupil.ask("ping")
        refused = await pupil.ask("subscribe_learner", learner_id="ben")
        await teacher.until_revision(learner, 3)
    interact, response = "virtual_brain_interact", "virtual_brain_response"
    wanted = {
        (interact, "learner", "inbound"): 3,
        (response, "learner", "outbound"): 3,
        ("ping", "learner", "inbound"): 1,
        ("subscribe_learner", "learner", "inbound"): 1,
        ("subscribe_learner", "teacher", "inbound"): 1,
        ("error", "learner", "outbound"): 1,
    }
    rows = await eventually(
        lambda: analytics(school),
        lambda seen: all(seen.get(key, {}).get("count") == wanted[key] for key in wanted),
    )
    pings = await analytics(school, "&type=ping&role=learner")
    records = await asyncio.to_thread(exported, school)
    mine = [one for one in records if one["user_id"] == school.user_id(learner)]
    traces = {one["trace_id"] for one in mine if one["type"] == interact}
    whole = str(records)

    assert refused["code"] == "forbidden"
    assert rows["subscribe_learner", "learner", "inbound"]["errors"] == 1
    sums = rows[interact, "learner", "inbound"]
    assert (sums["answered"], sums["errors"]) == (3, 0)
    assert 0 < sums["p50_ms"] <= sums["max_ms"]
    assert set(pings) == {("ping", "learner", "inbound")}
    assert {one["type"] for one in mine} >= {
        "authenticate",
        "connection_established",
        interact,
        response,
        "pong",
    }
    assert traces == {one["trace_id"] for one in answered}
    assert {one["outcome"] for one in mine} == {"ok", "forbidden"}
    assert "state_update" not in {one["type"] for one in records}
    assert not any(one["content"] or one["learner_id"] for one in records)
    assert not [secret for secret in (SECRET, token, *school.secrets) if secret in whole]


async def test_only_administrators_see_analytics(school: School) -> None:
    path = "/api/websocket/analytics"
    status, body = await asyncio.to_thread(
        request, school.stack, "GET", path, None, school.token("teacher")
    )
    assert (status, body["code"]) == (403, "forbidden")
    path += "?from=2020-01-01T00:00:00Z"
    status, body = await asyncio.to_thread(
        request, school.stack, "GET", path, None, school.token("admin")
    )
    assert (status, body["code"]) == (400, "bad_request")
    assert "1500 intervals" in body["detail"]


async def test_sockets_do_not_notice_when_the_metrics_service_dies_and_drops_are_counted(
    school: School,
) -> None:
    stack = school.stack
    async with open_socket(stack.ws_url, school.token("ben")) as pupil:
        await pupil.ask("ping")
        await asyncio.to_thread(stack.kill, "metrics")
        for revision in range(1, 31):
            assert (await pupil.interact("ben"))["revision"] == revision
        dropped = await asyncio.to_thread(metric, school, "aivo_edge_records_dropped_total")
        waiting = await asyncio.to_thread(metric, school, "aivo_edge_records_waiting")
        await asyncio.to_thread(stack.start, "metrics")
        await eventually(
            lambda: asyncio.to_thread(metric, school, "aivo_edge_records_waiting"),
            lambda seen: seen == 0,
        )
        sent = await asyncio.to_thread(metric, school, "aivo_edge_records_sent_total")
        await pupil.ask("ping")
        await eventually(
            lambda: asyncio.to_thread(metric, school, "aivo_edge_records_sent_total"),
            lambda seen: seen > sent,
        )
        assert pupil.close_code is None
    records = await eventually(
        lambda: asyncio.to_thread(exported, school),
        lambda seen: sum(one["user_id"] == school.user_id("ben") for one in seen) >= 30,
    )

    assert (
        10 <= dropped <= 30
    )  # of sixty, where forty find a place and some may be on their way when it dies
    assert 0 < waiting <= 20
    assert records


async def test_contents_are_kept_when_asked_and_erased_with_the_learner(
    telling_school: School,
) -> None:
    school = telling_school
    learner = school.new_learner()
    token, admin = school.token(learner), school.token("admin")
    async with open_socket(school.stack.ws_url, token) as pupil:
        await pupil.interact(learner, content=SECRET)
    records = await eventually(
        lambda: asyncio.to_thread(exported, school),
        lambda seen: any(SECRET in one["content"] for one in seen),
    )
    for erased in (1, 0):
        path = f"/api/learners/{learner}/data"
        status, body = await asyncio.to_thread(request, school.stack, "DELETE", path, None, admin)
        assert (status, body["interactions_erased"]) == (200, erased), body
    after = await asyncio.to_thread(exported, school)

    assert {one["type"] for one in records if one["content"]} == {
        "virtual_brain_interact",
        "virtual_brain_response",
    }
    assert {one["learner_id"] for one in records if one["content"]} == {learner}
    assert not [secret for secret in (token, *school.secrets) if secret in str(records)]
    assert not any(one["learner_id"] or one["content"] for one in after)
    assert {one["type"] for one in after} >= {"authenticate", "connection_established"}
