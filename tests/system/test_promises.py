"""The delivery promises of docs/protocol.md hold under concurrency, for slow readers and for those
who come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests.support.ledger import history, rows
from tests.support.school import School
from tests.support.second_edge import second_edge
from tests.support.slow import clog, small_socket
from tests.support.socket import Frame, Socket, open_socket

WRITERS = 6
ANSWERS_EACH = 100
TOTAL = WRITERS * ANSWERS_EACH
INTERVAL_MS = 200


@pytest.fixture
def learner(wide_school: School) -> str:
    """A learner that no other test has touched."""
    return wide_school.new_learner()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What everyone saw while six sockets of one learner answered as fast as they could."""

    learner: str
    writers: list[Socket]
    asked: list[list[str]]
    """Request ids of each writer's answers, in the order of sending."""
    latest: Socket
    every: Socket
    calm: Socket
    log: list[Frame]
    """The learner's history afterwards."""


@pytest.fixture(scope="module")
def crowd(wide_school: School) -> Crowd:
    """Let six sockets of one learner answer at once, before three watchers."""
    return asyncio.run(_crowd(wide_school))


async def _crowd(school: School) -> Crowd:
    learner = school.new_learner("crowd")
    url, teacher, own = school.stack.ws_url, school.token("teacher"), school.token(learner)
    async with contextlib.AsyncExitStack() as open_ones:
        latest, every, calm = [
            await open_ones.enter_async_context(open_socket(url, teacher)) for _ in range(3)
        ]
        await latest.ask("subscribe_learner", learner_id=learner)
        await every.ask("subscribe_learner", learner_id=learner, mode="every")
        await calm.ask("subscribe_learner", learner_id=learner, min_interval_ms=INTERVAL_MS)
        writers = [
            await open_ones.enter_async_context(open_socket(url, own)) for _ in range(WRITERS)
        ]
        for writer, mode in zip(writers, itertools.cycle(("latest", "every", "")), strict=False):
            if mode:
                await writer.ask("subscribe_learner", learner_id=learner, mode=mode)
        asked = await asyncio.gather(*(_answer_and_look(writer, learner) for writer in writers))
        for watcher in (latest, every, calm):
            await watcher.until_revision(learner, TOTAL)
        for watcher in (latest, every, calm, *writers):
            await watcher.ask("ping")
    log = await asyncio.to_thread(history, school, learner, teacher)
    return Crowd(
        learner=learner,
        writers=writers,
        asked=asked,
        latest=latest,
        every=every,
        calm=calm,
        log=log,
    )


async def _answer_and_look(writer: Socket, learner: str) -> list[str]:
    """Send answers without waiting, in ten bursts, and ask for the state after each; return the
    answers' ids.
    """
    ids: list[str] = []
    for _ in range(10):
        ids += await writer.send_answers(learner, ANSWERS_EACH // 10)
        await writer.responses(ids[-3:])
        await writer.ask("get_state", learner_id=learner)
    await writer.responses(ids)
    return ids


def revisions(frames: Sequence[Frame]) -> list[int]:
    """Return the revisions of frames."""
    return [frame["revision"] for frame in frames]


def crossings(frames: Sequence[Frame]) -> set[tuple[str, bool, int]]:
    """Return what crossed according to updates or log entries."""
    return {
        (one["name"], one["rising"], one["revision"])
        for frame in frames
        for one in frame["crossings"]
    }


def assert_accounted(updates: Sequence[Frame], after: int) -> None:
    """Check that updates grow and that each says how many were skipped since the one before."""
    for update in updates:
        assert update["revision"] == after + update["coalesced"] + 1
        assert update["coalesced"] >= 0
        after = update["revision"]


# 1. Growing order, never twice


def test_everyones_updates_grow_and_none_comes_twice(crowd: Crowd) -> None:
    for socket in (crowd.latest, crowd.every, crowd.calm, *crowd.writers):
        seen = revisions(socket.updates(crowd.learner))
        assert all(one < next for one, next in itertools.pairwise(seen))


def test_one_sockets_answers_are_applied_in_the_order_it_sent_them(crowd: Crowd) -> None:
    applied: dict[str, int] = {}
    for writer, ids in zip(crowd.writers, crowd.asked, strict=True):
        by_id = {
            frame["id"]: frame
            for frame in writer.frames
            if frame["type"] == "virtual_brain_response"
        }
        told = revisions([by_id[id] for id in ids])
        assert told == sorted(told)
        applied |= {by_id[id]["interaction_id"]: by_id[id]["revision"] for id in ids}

    assert sorted(applied.values()) == list(range(1, TOTAL + 1))
    assert applied == {entry["interaction_id"]: entry["revision"] for entry in crowd.log}


# 2. Latest


def test_latest_ends_with_the_newest_and_says_how_many_it_skipped(crowd: Crowd) -> None:
    for socket in (crowd.latest, crowd.calm):
        updates = socket.updates(crowd.learner)
        assert_accounted(updates, after=0)
        assert updates[-1]["revision"] == TOTAL
        assert updates[-1]["state"] == crowd.log[-1]["state"]


def test_no_crossing_is_skipped_silently(crowd: Crowd) -> None:
    happened = crossings(crowd.log)
    assert happened, "the answers should make something cross"
    for socket in (crowd.latest, crowd.every, crowd.calm):
        assert crossings(socket.updates(crowd.learner)) == happened


def test_updates_keep_their_distance_where_a_client_asks_for_one(crowd: Crowd) -> None:
    updates = crowd.calm.updates(crowd.learner)
    sent = [datetime.fromisoformat(update["timestamp"]) for update in updates]

    assert len(updates) < TOTAL
    # Both the clock of the timestamps and their rounding may take a millisecond off.
    assert all(
        (b - a).total_seconds() * 1000 >= INTERVAL_MS - 2 for a, b in itertools.pairwise(sent)
    )


async def test_subscriptions_made_at_the_moment_of_an_update_take_it_from_nobody(
    wide_school: School, learner: str
) -> None:
    url = wide_school.stack.ws_url
    ended = asyncio.Event()

    async def come_again_and_again(socket: Socket) -> None:
        while not ended.is_set():
            await socket.ask("subscribe_learner", learner_id=learner)
            socket.frames.clear()

    async with contextlib.AsyncExitStack() as open_ones, asyncio.TaskGroup() as group:
        watcher, *comers = [
            await open_ones.enter_async_context(open_socket(url, wide_school.token("teacher")))
            for _ in range(9)
        ]
        pupil = await open_ones.enter_async_context(open_socket(url, wide_school.token(learner)))
        await watcher.ask("subscribe_learner", learner_id=learner)
        for comer in comers:
            group.create_task(come_again_and_again(comer))
        for revision in range(1, 151):
            assert (await pupil.interact(learner))["revision"] == revision
            await watcher.until_revision(learner, revision)
        ended.set()

    assert_accounted(watcher.updates(learner), after=0)


async def test_a_reader_that_hangs_ends_with_the_newest_and_costs_nobody_else_an_update(
    wide_school: School, learner: str
) -> None:
    url = wide_school.stack.ws_url
    async with (
        open_socket(url, wide_school.token("teacher"), sock=small_socket(wide_school)) as slow,
        open_socket(url, wide_school.token("teacher")) as swift,
        open_socket(url, wide_school.token(learner)) as pupil,
    ):
        await slow.ask("subscribe_learner", learner_id=learner)
        await swift.ask("subscribe_learner", learner_id=learner, mode="every")
        await clog(wide_school, slow, learner)
        response = (await pupil.responses(await pupil.send_answers(learner, 200)))[-1]
        swift_updates = await swift.until_revision(learner, 200)
        slow.go_on_reading()
        slow_updates = await slow.until_revision(learner, 200)

    assert revisions(swift_updates) == list(range(1, 201))
    assert_accounted(slow_updates, after=0)
    assert len(slow_updates) < 10
    assert slow_updates[-1]["state"] == response["result"]["state"]
    assert crossings(slow_updates) == crossings(swift_updates)


# 3. Every


def test_every_delivers_each_revision(crowd: Crowd) -> None:
    updates = crowd.every.updates(crowd.learner)

    assert revisions(updates) == list(range(1, TOTAL + 1))
    assert {update["coalesced"] for update in updates} == {0}
    assert [update["state"] for update in updates] == [entry["state"] for entry in crowd.log]


async def test_what_was_missed_is_replayed_from_the_log_before_subscribed(
    wide_school: School, crowd: Crowd
) -> None:
    seen = 40
    async with open_socket(wide_school.stack.ws_url, wide_school.token("teacher")) as socket:
        epoch = crowd.every.updates(crowd.learner)[0]["epoch"]
        subscribed = await socket.ask(
            "subscribe_learner",
            learner_id=crowd.learner,
            mode="every",
            resume={"epoch": epoch, "revision": seen},
        )

    replayed = socket.updates(crowd.learner)
    assert socket.frames[-1] is subscribed
    assert revisions(replayed) == list(range(seen + 1, TOTAL + 1))
    assert [update["state"] for update in replayed] == [
        entry["state"] for entry in crowd.log[seen:]
    ]
    assert crossings(replayed) == crossings(crowd.log[seen:])
    assert (subscribed["missed"], subscribed["recovered"], subscribed["revision"]) == (
        TOTAL - seen,
        True,
        TOTAL,
    )


async def test_a_replay_goes_on_without_a_gap_while_the_learner_goes_on(
    wide_school: School, learner: str
) -> None:
    url = wide_school.stack.ws_url
    async with (
        open_socket(url, wide_school.token("teacher")) as watcher,
        open_socket(url, wide_school.token(learner)) as pupil,
    ):
        first = await pupil.send_answers(learner, 150)
        epoch = (await pupil.ask("get_state", learner_id=learner))["epoch"]
        await pupil.responses(first)
        rest = await pupil.send_answers(learner, 150)
        await watcher.ask(
            "subscribe_learner",
            learner_id=learner,
            mode="every",
            resume={"epoch": epoch, "revision": 0},
        )
        await pupil.responses(rest)
        updates = await watcher.until_revision(learner, 300)

    assert revisions(updates) == list(range(1, 301))


@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_a_client_that_comes_back_is_told_whether_its_place_is_known(
    wide_school: School, crowd: Crowd, mode: str
) -> None:
    epoch = crowd.every.updates(crowd.learner)[0]["epoch"]
    recovered = {}
    async with open_socket(wide_school.stack.ws_url, wide_school.token("teacher")) as socket:
        for name, resume in {
            "newest": {"epoch": epoch, "revision": TOTAL},
            "older": {"epoch": epoch, "revision": TOTAL - 5},
            "another epoch": {"epoch": "another", "revision": 5},
            "ahead": {"epoch": epoch, "revision": TOTAL + 5},
        }.items():
            position = len(socket.frames)
            subscribed = await socket.ask(
                "subscribe_learner", learner_id=crowd.learner, mode=mode, resume=resume
            )
            replayed = [
                frame for frame in socket.frames[position:] if frame["type"] == "state_update"
            ]
            recovered[name] = (subscribed["recovered"], subscribed["missed"], len(replayed))
            assert (subscribed["revision"], subscribed["state"]) == (TOTAL, crowd.log[-1]["state"])

    missed = 5 if mode == "every" else 0
    assert recovered == {
        "newest": (True, 0, 0),
        "older": (True, missed, missed),
        "another epoch": (False, 0, 0),
        "ahead": (False, 0, 0),
    }


# 4. A response means that it is committed


async def test_what_is_answered_is_in_the_file(wide_school: School, learner: str) -> None:
    async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as socket:
        for _ in range(20):
            response = await socket.interact(learner)
            assert rows(wide_school.stack, response["interaction_id"]) == 1


# 5. Once in effect


async def test_the_same_ids_through_several_sockets_of_two_edges_move_the_state_once(
    wide_school: School, learner: str
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(30)]
    token = wide_school.token(learner)

    async def send_all(socket: Socket) -> list[Frame]:
        asked = [(await socket.send_answers(learner, 1, interaction_id=id))[0] for id in ids]
        return await socket.responses(asked)

    with second_edge(wide_school.stack) as other_url:
        async with contextlib.AsyncExitStack() as open_ones:
            urls = [wide_school.stack.ws_url, other_url] * 3
            crowd = [await open_ones.enter_async_context(open_socket(url, token)) for url in urls]
            watcher = await open_ones.enter_async_context(
                open_socket(other_url, wide_school.token("teacher"))
            )
            await watcher.ask("subscribe_learner", learner_id=learner, mode="every")
            answers = await asyncio.gather(*(send_all(socket) for socket in crowd))
            fresh = await crowd[0].interact(learner)
            updates = await watcher.until_revision(learner, len(ids) + 1)

    for of_one_id in zip(*answers, strict=True):
        assert len({frame["revision"] for frame in of_one_id}) == 1
        assert [frame["duplicate"] for frame in of_one_id].count(False) == 1
        assert len({str(frame["result"]["state"]) for frame in of_one_id}) == 1
    assert fresh["revision"] == len(ids) + 1
    assert revisions(updates) == list(range(1, len(ids) + 2))


async def test_one_id_belongs_to_one_learner(wide_school: School) -> None:
    ann, bob = (wide_school.new_learner() for _ in range(2))
    async with open_socket(wide_school.stack.ws_url, wide_school.token("admin")) as socket:
        of_ann = await socket.interact(ann, interaction_id="shared")
        of_bob = await socket.interact(bob, interaction_id="shared")

    assert [(one["revision"], one["duplicate"]) for one in (of_ann, of_bob)] == [
        (1, False),
        (1, False),
    ]


# 6. Own writes


def test_a_socket_never_sees_less_than_its_own_writes(crowd: Crowd) -> None:
    for writer in crowd.writers:
        written = 0
        looked = 0
        for frame in writer.frames:
            if frame["type"] == "virtual_brain_response":
                written = max(written, frame["revision"])
            elif frame["type"] in ("state_update", "state_response"):
                assert frame["revision"] >= written, frame["type"]
                looked += frame["type"] == "state_response"
        assert looked == 10


def test_a_writer_of_every_revision_gets_each_once_before_later_answers(crowd: Crowd) -> None:
    for writer in crowd.writers[1::3]:
        assert revisions(writer.updates(crowd.learner)) == list(range(1, TOTAL + 1))


async def test_writers_see_their_own_writes_at_the_calmest_interval_too(
    wide_school: School, learner: str
) -> None:
    async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as socket:
        await socket.ask("subscribe_learner", learner_id=learner, min_interval_ms=INTERVAL_MS)
        for burst in range(10):
            await socket.responses(await socket.send_answers(learner, 10))
            state = await socket.ask("get_state", learner_id=learner)
            assert state["revision"] == 10 * (burst + 1)
        await socket.until_revision(learner, 100)

    written = 0
    for frame in socket.frames:
        if frame["type"] == "virtual_brain_response":
            written = frame["revision"]
        elif frame["type"] == "state_update":
            assert frame["revision"] >= written
    assert_accounted(socket.updates(learner), after=0)


async def test_whoever_subscribes_and_writes_at_once_is_never_shown_less_than_was_written(
    wide_school: School, learner: str
) -> None:
    """Also who resumes after a reconnect, while unanswered interactions are sent again."""

    async def connect(resume: dict[str, Any]) -> None:
        async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as socket:
            await socket.expect(type="connection_established")
            ids = await socket.send_answers(learner, 2)
            subscribe = {"type": "subscribe_learner", "learner_id": learner, "id": "s", **resume}
            await socket.send(subscribe)
            ids += await socket.send_answers(learner, 3)
            await socket.send({"type": "get_state", "learner_id": learner, "id": "g"})
            await socket.responses(ids)
            await socket.expect(type="state_response", id="g")
            await socket.expect(type="subscribed", id="s")
            # `every` goes through all that was, in order, and the answers wait for it.
            shown = {"subscribed", "state_response", "state_update"}
            shown -= {"state_update"} if resume.get("mode") == "every" else set()
            written = 0
            for frame in socket.frames:
                if frame["type"] == "virtual_brain_response":
                    written = max(written, frame["revision"])
                elif frame["type"] in shown:
                    assert frame["revision"] >= written, frame

    async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as first:
        epoch = (await first.ask("get_state", learner_id=learner))["epoch"]
    resume = {"resume": {"epoch": epoch, "revision": 0}}
    kinds: list[dict[str, Any]] = [{}, resume, {**resume, "mode": "every"}, {"mode": "every"}]
    for _ in range(5):
        await asyncio.gather(*(connect(kinds[one % 4]) for one in range(16)))


# Closing


async def test_the_edge_completes_the_closing_handshake_that_it_began(wide_school: School) -> None:
    async with open_socket(wide_school.stack.ws_url, wide_school.token("teacher")) as socket:
        for _ in range(300):
            await socket.send("not json")
        assert await socket.until_closed() == 4400

    assert socket.closed_cleanly


async def test_crossings_missed_before_a_latest_resume_are_listed_in_the_update_that_follows(
    wide_school: School, learner: str
) -> None:
    async with open_socket(wide_school.stack.ws_url, wide_school.token(learner)) as pupil:
        first = await pupil.interact(learner)
        start = await pupil.ask("get_state", learner_id=learner)
        for number in range(12):
            await pupil.interact(learner, correct=number % 4 == 3)
        async with open_socket(wide_school.stack.ws_url, wide_school.token("teacher")) as teacher:
            resume = {"epoch": start["epoch"], "revision": first["revision"]}
            subscribed = await teacher.ask("subscribe_learner", learner_id=learner, resume=resume)
            last = await pupil.interact(learner, correct=False)
            (update,) = await teacher.until_revision(learner, last["revision"])
    entries = history(wide_school, learner, wide_school.token("teacher"))

    assert subscribed["recovered"] is True
    assert update["crossings"] == [
        crossing for entry in entries[1:] for crossing in entry["crossings"]
    ]
    assert update["crossings"]
