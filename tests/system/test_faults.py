"""What a user sees when a process dies, hangs or goes: the failure table of docs/architecture.md,
on one machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import signal
import urllib.request
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from tests.replay.lane import Tally
from tests.support.commands import auth_command
from tests.support.day import RECOVERY_S, school_day, until_acknowledged
from tests.support.eventually import eventually
from tests.support.ledger import assert_in_log_exactly_once
from tests.support.metrics import figures_stream
from tests.support.school import School, request
from tests.support.slow import clog, small_socket
from tests.support.socket import WAIT_S, Socket, answer, open_socket

logger = logging.getLogger(__name__)


HANG_S = 12.0
"""A service that hangs is to be noticed within ten seconds, and this machine may be busy."""


@pytest.fixture
async def school(own_school: School) -> AsyncIterator[School]:
    """A stack that a test may break; whatever does not run afterwards is started again."""
    await mend(own_school)
    yield own_school
    await mend(own_school)


async def mend(school: School) -> None:
    """Start what does not run, and wait until the edge reaches it: metrics, too, which no edge
    needs to be ready.
    """
    await asyncio.to_thread(school.stack.start)
    token = await asyncio.to_thread(school.token, "admin")
    await eventually(
        lambda: ask(school, "/api/websocket/metrics", token), lambda told: told[0] == 200
    )


async def ask(school: School, path: str, token: str | None = None) -> tuple[int, Any]:
    """Make a GET request."""
    return await asyncio.to_thread(request, school.stack, "GET", path, None, token)


async def answer_again_and_again(
    socket: Socket, learner: str, ids: list[str], acknowledged: dict[str, int]
) -> None:
    """Send answers in tens and note their revisions; what gets a retryable error is sent again
    under the same id.
    """
    waiting = list(ids)
    while waiting:
        now, waiting = waiting[:10], waiting[10:]
        asked = {(await socket.send_answers(learner, 1, interaction_id=id))[0]: id for id in now}
        for request_id, frame in zip(asked, await socket.responses(list(asked)), strict=True):
            if frame["type"] == "virtual_brain_response":
                acknowledged[asked[request_id]] = frame["revision"]
            else:
                assert frame["retryable"], frame
                waiting.insert(0, asked[request_id])


# The brain


async def test_a_killed_brain_costs_no_socket_and_no_interaction(
    school: School, learner: str
) -> None:
    acknowledged: dict[str, int] = {}
    ids = [str(uuid.uuid4()) for _ in range(300)]
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as latest,
        open_socket(school.stack.ws_url, school.token("teacher")) as every,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await latest.ask("subscribe_learner", learner_id=learner)
        await every.ask("subscribe_learner", learner_id=learner, mode="every")
        work = asyncio.create_task(answer_again_and_again(pupil, learner, ids, acknowledged))
        await every.until_revision(learner, 50)
        await asyncio.to_thread(school.stack.kill, "brain")
        await asyncio.to_thread(school.stack.start, "brain")
        async with asyncio.timeout(RECOVERY_S):
            await work
        for watcher in (latest, every):
            await watcher.until_revision(learner, len(ids))

    assert [update["revision"] for update in every.updates(learner)] == list(range(1, len(ids) + 1))
    newest = await assert_in_log_exactly_once(
        school, school.token("admin"), {learner: acknowledged}
    )
    assert newest == {learner: len(acknowledged)} == {learner: len(ids)}


async def test_without_a_brain_the_edge_says_so_and_nothing_is_lost_after(
    school: School, learner: str
) -> None:
    async with open_socket(school.stack.ws_url, school.token(learner)) as socket:
        await socket.ask("subscribe_learner", learner_id=learner)
        await socket.interact(learner)
        await asyncio.to_thread(school.stack.kill, "brain")
        ready = await eventually(lambda: ask(school, "/readyz"), lambda seen: seen[0] == 503)
        alive = await ask(school, "/healthz")
        read = await socket.ask("get_state", learner_id=learner)
        refused = await socket.interact(learner, interaction_id="once")
        await asyncio.to_thread(school.stack.start, "brain")
        accepted = await socket.interact(learner, interaction_id="once")
        await socket.until_revision(learner, 2)

    assert ready[1] == {"status": "unready", "missing": ["brain"]}
    assert alive[0] == 200
    for error in (read, refused):
        assert (error["code"], error["retryable"], error["retry_after_ms"] > 0) == (
            "unavailable",
            True,
            True,
        )
    assert accepted["revision"] == 2


# The edge


@pytest.mark.parametrize("service", ["brain", "auth"])
async def test_a_service_that_hangs_is_noticed_and_found_again(
    school: School, service: str
) -> None:
    """It holds its connections and says nothing, as one whose disk or machine stands still does."""
    os.kill(school.stack.pid(service), signal.SIGSTOP)
    try:
        status, told = await eventually(
            lambda: ask(school, "/readyz"), lambda told: told[0] == 503, within_s=HANG_S
        )
        assert (status, told["missing"]) == (503, [service])
    finally:
        os.kill(school.stack.pid(service), signal.SIGCONT)
    await eventually(lambda: ask(school, "/readyz"), lambda told: told[0] == 200)


async def test_a_metrics_service_that_hangs_is_told_and_stops_nobody(school: School) -> None:
    async def is_up() -> bool:
        url = f"http://{school.stack.exposition('edge')}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=WAIT_S).read())
        return bool(re.search(rb'upstream_up{[^}]*service="metrics"} 1', text))

    await eventually(is_up, bool)
    os.kill(school.stack.pid("metrics"), signal.SIGSTOP)
    try:
        await eventually(is_up, lambda up: not up, within_s=HANG_S)
        ready = await ask(school, "/readyz")
    finally:
        os.kill(school.stack.pid("metrics"), signal.SIGCONT)
    await eventually(is_up, bool)

    assert ready[0] == 200


async def test_after_a_crash_of_the_edge_watchers_resume_with_what_they_missed(
    school: School, learner: str
) -> None:
    token = school.token("teacher")
    async with open_socket(school.stack.ws_url, token) as before:
        subscribed = await before.ask("subscribe_learner", learner_id=learner, mode="every")
        await asyncio.to_thread(record, school, learner, 3)
        await before.until_revision(learner, 3)
        await asyncio.to_thread(school.stack.kill, "edge")
        assert await before.until_closed() == 1006
    await asyncio.to_thread(record, school, learner, 5)
    await asyncio.to_thread(school.stack.start, "edge")
    resume = {"epoch": subscribed["epoch"], "revision": 3}
    async with open_socket(school.stack.ws_url, token) as after:
        back = await after.ask("subscribe_learner", learner_id=learner, mode="every", resume=resume)

    assert [update["revision"] for update in after.updates(learner)] == [4, 5, 6, 7, 8]
    assert (back["missed"], back["recovered"], back["revision"]) == (5, True, 8)


def record(school: School, learner: str, count: int) -> None:
    """Record interactions as an internal service does."""
    with grpc.insecure_channel(school.stack.address("brain")) as channel:
        stub = brain_pb2_grpc.BrainServiceStub(channel)
        for _ in range(count):
            interaction = brain_pb2.Interaction(
                learner_id=learner,
                interaction_id=str(uuid.uuid4()),
                kind=brain_pb2.INTERACTION_KIND_CONTENT_VIEW,
                content="a page",
            )
            question = brain_pb2.RecordInteractionRequest(interaction=interaction)
            stub.RecordInteraction(question, metadata=school.stack.metadata, timeout=WAIT_S)


async def test_a_stopping_edge_acknowledges_what_is_under_way_and_sends_its_clients_elsewhere(
    school: School, learner: str
) -> None:
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as idle,
        open_socket(school.stack.ws_url, school.token(learner)) as busy,
    ):
        await busy.interact(learner)
        hung = school.stack.pid("brain")
        os.kill(hung, signal.SIGSTOP)
        try:
            asked = await busy.send_answers(learner, UNDER_WAY)
            await busy.ask("ping")  # the edge has taken all frames before this one
            os.kill(school.stack.pid("edge"), signal.SIGTERM)
            told = [await socket.expect(type="server_draining") for socket in (idle, busy)]
            ready = await ask(school, "/readyz")
            assert await idle.until_closed() == 1012
            assert busy.close_code is None
        finally:
            os.kill(hung, signal.SIGCONT)
        answers = await busy.responses(asked)
        assert await busy.until_closed() == 1012
    assert await asyncio.to_thread(school.stack.children["edge"].wait, RECOVERY_S)
    await asyncio.to_thread(school.stack.start, "edge")

    assert ready == (503, {"status": "draining", "missing": []})
    assert all(frame["reconnect_after_ms"] > 0 for frame in told)
    assert [frame["type"] for frame in answers] == ["virtual_brain_response"] * UNDER_WAY
    assert school.stack.children["edge"].exit_code is None
    told_revisions = {frame["interaction_id"]: frame["revision"] for frame in answers}
    newest = await assert_in_log_exactly_once(
        school, school.token("admin"), {learner: told_revisions}
    )
    assert newest == {learner: 1 + UNDER_WAY}


def test_a_stopping_edge_ends_streams_of_figures_well_and_does_not_wait_for_them(
    school: School,
) -> None:
    """Without being told they would be cut off when the server's patience ends."""
    with figures_stream(school.stack, school.token("admin"), interval_ms=10_000) as metrics:
        assert next(metrics)["edges"]["reporting"] == 1
        os.kill(school.stack.pid("edge"), signal.SIGTERM)
        assert list(metrics) == []
    assert school.stack.children["edge"].wait(RECOVERY_S)


def test_a_stream_of_figures_ends_with_the_metrics_service(school: School) -> None:
    with figures_stream(school.stack, school.token("admin")) as metrics:
        next(metrics)
        school.stack.kill("metrics")
        assert all(value["edges"]["reporting"] == 1 for value in metrics)


async def test_a_reader_that_stays_slow_is_closed_and_costs_nobody_else_anything(
    school: School, learner: str
) -> None:
    url, teacher, admin = school.stack.ws_url, school.token("teacher"), school.token("admin")
    async with (
        open_socket(url, teacher, sock=small_socket(school)) as slow,
        open_socket(url, teacher) as swift,
        open_socket(url, school.token(learner)) as pupil,
    ):
        epoch = (await slow.ask("subscribe_learner", learner_id=learner))["epoch"]
        await swift.ask("subscribe_learner", learner_id=learner, mode="every")
        before = await clog(school, slow, learner)
        closed = asyncio.create_task(
            eventually(
                lambda: ask(school, "/api/websocket/metrics", admin),
                lambda seen: (
                    seen[1]["connections"]["disconnections"]
                    > before["connections"]["disconnections"]
                ),
            )
        )
        written = 0
        while not closed.done():
            written = (await pupil.interact(learner))["revision"]
            await swift.until_revision(learner, written)
            await asyncio.sleep(0.05)  # below the rate limit
        await closed
        slow.go_on_reading()
        # 1013 when the close frame still found its way, 1006 when the edge gave up on that too.
        assert await slow.until_closed() in (1013, 1006)
        async with open_socket(url, teacher) as back:
            resume = {"epoch": epoch, "revision": 0}
            subscribed = await back.ask("subscribe_learner", learner_id=learner, resume=resume)

    assert (subscribed["revision"], subscribed["recovered"]) == (written, True)
    assert [update["revision"] for update in swift.updates(learner)] == list(range(1, written + 1))


# Auth


async def test_without_auth_open_sockets_live_on_and_new_ones_are_told_to_come_back(
    school: School, learner: str
) -> None:
    late = school.token("teacher")
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await teacher.ask("subscribe_learner", learner_id=learner)
        await pupil.interact(learner)
        await asyncio.to_thread(school.stack.kill, "auth")
        ready = await eventually(lambda: ask(school, "/readyz"), lambda seen: seen[0] == 503)
        for revision in range(2, 20):
            assert (await pupil.interact(learner))["revision"] == revision
        await teacher.until_revision(learner, 19)
        assert (await teacher.ask("get_state", learner_id=learner))["revision"] == 19
        async with open_socket(f"{school.stack.ws_url}?token={late}") as new:
            assert await new.until_closed() == 1013
        me = await ask(school, "/api/me", late)
        await asyncio.to_thread(school.stack.start, "auth")
        await eventually(lambda: ask(school, "/readyz"), lambda seen: seen[0] == 200)
        async with open_socket(school.stack.ws_url, late):
            pass
        assert (await pupil.interact(learner))["revision"] == 20
        await teacher.until_revision(learner, 20)

    assert ready[1] == {"status": "unready", "missing": ["auth"]}
    assert (new.frames[-1]["code"], new.frames[-1]["retryable"]) == ("unavailable", True)
    assert (me[0], me[1]["code"]) == (503, "unavailable")


async def test_what_was_revoked_while_auth_was_down_ends_when_it_is_back(
    school: School, learner: str
) -> None:
    async with open_socket(school.stack.ws_url, school.token("teacher")) as teacher:
        await teacher.ask("subscribe_learner", learner_id=learner)
        await teacher.ask("subscribe_learner", learner_id="ada")
        await asyncio.to_thread(school.stack.kill, "auth")
        await asyncio.to_thread(auth_command, school, "unrelate", "enrolled", learner, "5a")
        await asyncio.to_thread(school.stack.start, "auth")
        ended = await teacher.expect(type="unsubscribed", learner_id=learner)
        await teacher.ask("ping")

    assert ended["code"] == "revoked"
    assert not [
        frame for frame in teacher.frames if frame["type"] == "unsubscribed" and frame is not ended
    ]


# Metrics


async def test_without_metrics_nobody_notices_anything_and_reports_go_on_later(
    school: School, learner: str
) -> None:
    admin = school.token("admin")

    async def received() -> tuple[int, Any]:
        return await ask(school, "/api/websocket/metrics", admin)

    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as teacher,
        open_socket(school.stack.ws_url, school.token(learner)) as pupil,
    ):
        await teacher.ask("subscribe_learner", learner_id=learner)
        before = (await received())[1]["messages"]["received"]
        await asyncio.to_thread(school.stack.kill, "metrics")
        for revision in range(1, 31):
            assert (await pupil.interact(learner))["revision"] == revision
        await teacher.until_revision(learner, 30)
        down = await received()
        ready = await ask(school, "/readyz")
        async with open_socket(school.stack.ws_url, school.token(learner)) as new:
            await new.ask("ping")
        await asyncio.to_thread(school.stack.start, "metrics")
        after = await eventually(
            received, lambda seen: seen[0] == 200 and seen[1]["messages"]["received"] >= before + 30
        )

    assert (down[0], down[1]["code"]) == (503, "unavailable")
    assert ready[0] == 200
    assert after[1]["connections"]["active"] >= 2
    assert after[1]["learners"]["subscribed"] >= 1


# Everything


async def test_nothing_acknowledged_is_lost_when_every_process_is_killed_at_once(
    school: School, learner: str
) -> None:
    sent = [str(uuid.uuid4()) for _ in range(200)]
    async with open_socket(school.stack.ws_url, school.token(learner)) as pupil:
        for id in sent:
            await pupil.send(
                {"type": "virtual_brain_interact", "data": answer(learner, interaction_id=id)}
            )
        await pupil.until(lambda: len(told(pupil)) >= 20, "twenty answers")
        await asyncio.to_thread(school.stack.kill)
        await pupil.until_closed()
    acknowledged = told(pupil)
    await asyncio.to_thread(school.stack.start)
    kept = await assert_in_log_exactly_once(school, school.token("admin"), {learner: acknowledged})
    again: dict[str, int] = {}
    async with open_socket(school.stack.ws_url, school.token(learner)) as pupil:
        await answer_again_and_again(pupil, learner, sent, again)

    assert kept[learner] >= len(acknowledged) >= 20
    assert again.items() >= acknowledged.items()
    assert await assert_in_log_exactly_once(school, school.token("admin"), {learner: again}) == {
        learner: len(sent)
    }


def told(socket: Socket) -> dict[str, int]:
    """Return which interactions a socket heard to be committed, under which revisions."""
    frames = [frame for frame in socket.frames if frame["type"] == "virtual_brain_response"]
    return {frame["interaction_id"]: frame["revision"] for frame in frames}


LEARNERS = 6
INTERACTIONS = 4200
UNDER_WAY = 12
"""Answers that wait for a brain which hangs: no more than the edge takes of one socket."""


@pytest.mark.timeout(180)
async def test_a_school_day_with_every_kind_of_fault_loses_nothing_and_counts_nothing_twice(
    school: School,
) -> None:
    learners = [school.new_learner(f"day-{number}") for number in range(LEARNERS)]
    day = await school_day(
        school, learners, partial(make_trouble, school), interactions=INTERACTIONS
    )

    day.assert_nothing_lost_or_doubled()
    assert day.report.complete
    assert day.newest == dict.fromkeys(learners, INTERACTIONS // LEARNERS)
    assert day.tally.reconnects >= LEARNERS
    assert day.tally.resent > 0, "the faults should have hit work under way"
    assert min(day.latest.connections, day.every.connections) > 1


async def make_trouble(school: School, tally: Tally) -> None:
    """Kill or restart processes in a random order, each time when a further part of the log is
    acknowledged.
    """
    stack = school.stack
    faults = [
        ("brain",),
        ("edge",),
        ("auth",),
        ("metrics",),
        ("brain", "edge"),
        (),
        "edge",
        "brain",
    ]
    random.shuffle(faults)
    logger.info("faults in this order: %s", faults)
    for number, fault in enumerate(faults, 1):
        await until_acknowledged(tally, number * INTERACTIONS // (len(faults) + 2))
        if isinstance(fault, str):
            await asyncio.to_thread(stack.restart, fault)
        else:
            await asyncio.to_thread(stack.kill, *fault)
            await asyncio.to_thread(stack.start)
