"""Watches through the contract: what their streams tell, and that they leave nothing behind."""

from __future__ import annotations

import gc

import grpc

from aivo.brain.v1 import brain_pb2 as pb
from aivo.brain.v1 import brain_pb2_grpc
from service_runtime.grpc_client import ClientSettings, open_channel
from tests.brain_service.servicer.servicer_support import (
    CREDENTIAL,
    ROOT,
    Stack,
    interact,
    interaction,
    read,
    status_of,
    watching,
)


async def test_a_watch_starts_with_snapshots_and_follows(stack: Stack) -> None:
    await stack.record(count=2)
    async with watching(stack, pb.Cursor(learner_id="mia"), pb.Cursor(learner_id="new")) as (
        call,
        first,
    ):
        assert first.epoch == stack.engine.epoch
        assert [(snapshot.learner_id, snapshot.revision) for snapshot in first.snapshots] == [
            ("mia", 2),
            ("new", 0),
        ]
        assert first.snapshots[0].assessment.levels.engagement > 0

        recorded = await stack.record(traceparent=ROOT)
        (update,) = (await read(call)).updates

        assert (update.learner_id, update.revision, update.coalesced) == ("mia", 3, 0)
        assert update.assessment == recorded.applied.assessment
        assert list(update.traceparents) == [ROOT]


async def test_a_watch_resumes_where_it_was(stack: Stack) -> None:
    await stack.record(count=10)
    epoch = stack.engine.epoch
    every = pb.Cursor(learner_id="mia", epoch=epoch, revision=3, mode=pb.DELIVERY_MODE_EVERY)
    async with watching(stack, every) as (call, first):
        assert first.snapshots[0].recovered
        got: list[int] = []
        while len(got) < 7:
            got += [update.revision for update in (await read(call)).updates]
        assert got == [4, 5, 6, 7, 8, 9, 10]
    async with watching(stack, pb.Cursor(learner_id="mia", epoch=epoch, revision=3)) as (
        call,
        first,
    ):
        (update,) = (await read(call)).updates
        assert (update.revision, update.coalesced) == (10, 6)
    async with watching(stack, pb.Cursor(learner_id="mia", epoch="other", revision=3)) as (
        call,
        first,
    ):
        assert not first.snapshots[0].recovered


async def test_crossings_are_told_with_their_revision(stack: Stack) -> None:
    wrong = pb.Context(correct=False, difficulty=5, time_taken_s=5, skills=["addition"], attempts=4)
    for _ in range(12):
        await stack.record(context=wrong)
    history = await stack.call("GetHistory", pb.GetHistoryRequest(learner_id="mia"))
    expected = [crossing for entry in history.entries for crossing in entry.crossings]
    assert expected, "twelve failures cross something"
    assert all(
        crossing.revision == entry.revision
        for entry in history.entries
        for crossing in entry.crossings
    )
    cursor = pb.Cursor(learner_id="mia", epoch=stack.engine.epoch)
    async with watching(stack, cursor) as (call, _):
        (update,) = (await read(call)).updates
        assert list(update.crossings) == expected


async def test_a_watch_is_modified_while_it_runs(stack: Stack) -> None:
    await stack.record("ben")
    async with watching(stack, pb.Cursor(learner_id="mia")) as (call, _):
        request = pb.ModifyWatchRequest(
            watch_id="w", add=[pb.Cursor(learner_id="ben")], remove=["mia"]
        )
        response = await stack.call("ModifyWatch", request)
        assert (response.epoch, response.snapshots[0].revision) == (stack.engine.epoch, 1)

        await stack.record("mia")
        await stack.record("ben")
        (update,) = (await read(call)).updates
        assert (update.learner_id, update.revision) == ("ben", 2)


async def test_modifying_a_watch_that_is_not_open_is_not_found(stack: Stack) -> None:
    code, _ = await status_of(stack.call("ModifyWatch", pb.ModifyWatchRequest(watch_id="nope")))

    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_second_stream_with_the_same_id_ends_the_first(stack: Stack) -> None:
    async with watching(stack) as (first, _), watching(stack) as (second, _):
        code, _details = await status_of(read(first))
        assert code is grpc.StatusCode.ABORTED
        await stack.watches.beat()
        assert (await read(second)).HasField("heartbeat")


async def test_a_heartbeat_tells_what_the_store_has(stack: Stack) -> None:
    await stack.record(count=2)
    async with watching(stack, pb.Cursor(learner_id="mia")) as (call, _):
        await stack.watches.beat()
        heartbeat = (await read(call)).heartbeat
        assert [(one.learner_id, one.revision) for one in heartbeat.revisions] == [("mia", 2)]
        assert heartbeat.sent_at_ms > 0


async def test_an_update_whose_message_was_lost_arrives_with_a_heartbeat(stack: Stack) -> None:
    async with watching(stack, pb.Cursor(learner_id="mia")) as (call, _):
        stack.unsubscribe()
        await stack.record(count=3)
        await stack.watches.beat()
        (update,) = (await read(call)).updates
        assert (update.revision, update.coalesced) == (3, 2)


async def test_cancelled_watches_leave_nothing_behind(stack: Stack) -> None:
    for number in range(20):
        async with watching(stack, pb.Cursor(learner_id="mia"), watch_id=f"w{number}"):
            await stack.record()
    await stack.watches.until_none()

    assert stack.watches.learners == 0


async def test_a_cancelled_watch_that_was_not_read_leaves_nothing_behind(stack: Stack) -> None:
    every = pb.Cursor(learner_id="mia", mode=pb.DELIVERY_MODE_EVERY)
    async with watching(stack, every):
        await interact(stack, *[[interaction() for _ in range(500)] for _ in range(4)])
        # More than flow control lets through, so the stream stands in the middle of a write.
        assert stack.watches.learners == 1
    await stack.watches.until_none()

    assert stack.watches.learners == 0


async def test_watches_of_a_vanished_client_leave_nothing_behind(stack: Stack) -> None:
    other = open_channel(f"127.0.0.1:{stack.server.port}", ClientSettings(credential=CREDENTIAL))
    call = brain_pb2_grpc.BrainServiceStub(other.channel).WatchState(
        pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor(learner_id="mia")]),
        metadata=other.metadata,
    )
    await read(call)
    await other.close()
    del call
    gc.collect()
    await stack.watches.until_none()

    assert stack.watches.learners == 0


async def test_a_slow_reader_gets_the_newest_and_every_watcher_gets_all(stack: Stack) -> None:
    latest = pb.Cursor(learner_id="mia")
    every = pb.Cursor(learner_id="mia", mode=pb.DELIVERY_MODE_EVERY)
    async with (
        watching(stack, latest, watch_id="a") as (slow, _),
        watching(stack, every, watch_id="b") as (all_, _),
    ):
        for _ in range(10):
            await interact(stack, [interaction() for _ in range(50)])
        reached = 0
        while reached < 500:
            for update in (await read(slow)).updates:
                assert update.revision == reached + update.coalesced + 1
                reached = update.revision
        got: list[int] = []
        while len(got) < 500:
            got += [update.revision for update in (await read(all_)).updates]
    assert got == list(range(1, 501))
