"""The links to the brain: nothing is lost when a brain breaks, moves or comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from aivo.brain.v1 import brain_pb2
from edge.frames.incoming import Context, InteractionData
from edge.ports import Interaction
from edge.settings import EdgeSettings
from edge.upstream import watch as watch_room
from edge.upstream.brain import BrainLink
from service_runtime import slices
from service_runtime.grpc_client import open_channel
from service_runtime.trace_context import TraceContext
from tests.edge.services import (
    SETTINGS,
    WAIT_S,
    Brain,
    Watcher,
    adder,
    asked,
    assessment,
    moved,
    watching,
)
from tests.support.background import running, serving
from tests.support.eventually import until
from tests.support.turns import turns_beside

# History


async def test_others_have_their_turns_while_a_page_of_history_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    page = brain_pb2.GetHistoryResponse(
        epoch="e1",
        entries=[
            brain_pb2.HistoryEntry(revision=number + 1, assessment=assessment())
            for number in range(100)
        ],
    )

    async def history(*_: Any, **__: Any) -> brain_pb2.GetHistoryResponse:
        return page

    monkeypatch.setattr(BrainLink, "_history", history)
    channel = open_channel("127.0.0.1:1", SETTINGS)
    link = BrainLink(channel, SETTINGS)
    told, turns = await turns_beside(link.history("ada", after=0, limit=100, newest=False))
    assert (len(told["entries"]), turns >= 100) == (100, True)
    replayed, turns = await turns_beside(link._replay("ada", 0, 100))
    assert (len(replayed), turns >= 100) == (100, True)
    await channel.close()


# Interactions


def _interact(link: BrainLink, id: str) -> Callable[[Callable[[Any], None]], None]:
    data = InteractionData(learner_id="ada", type="practice", content="x")
    return lambda done: link.interact(
        Interaction(
            data,
            Context(),
            interaction_id=id,
            received_at_ms=1,
            trace=TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", False),
        ),
        done,
    )


async def test_an_interaction_that_a_breaking_brain_left_open_is_sent_again_under_its_id() -> None:
    brain = Brain()
    brain.break_next = 2
    async with serving(adder(brain)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = BrainLink(channel, SETTINGS)
        async with running(link.run()):
            answer = await asked(_interact(link, "i1"))
        await channel.close()

    assert (answer.revision, answer.duplicate) == (1, True)
    assert brain.batches == [["i1"]] * 3


async def test_a_brain_that_comes_back_answers_what_waited_for_it() -> None:
    brain = Brain()
    async with serving(adder(brain)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = BrainLink(channel, SETTINGS)
        assert (await _once(link, "i1")).revision == 1
    async with running(link.run()):
        waiting = asyncio.create_task(asked(_interact(link, "i2")))
        await asyncio.sleep(0)
        async with serving(adder(brain), port):
            assert (await waiting).revision == 2
    await channel.close()


async def _once(link: BrainLink, id: str) -> Any:
    async with running(link.run()):
        return await asked(_interact(link, id))


async def test_without_a_brain_the_client_hears_unavailable() -> None:
    settings = EdgeSettings(upstream_s=0.2)
    channel = open_channel("127.0.0.1:1", settings)
    answer = await _once(BrainLink(channel, settings), "i1")
    await channel.close()

    assert answer.code == "unavailable"
    assert 500 <= (answer.retry_after_ms or 0) <= 1500, "not everybody at the same moment"


# Watching


async def test_a_stream_that_breaks_is_opened_again_at_its_cursors() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 2)
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(brain.streams) == 2)
        assert brain.opened[-1][1] == ["ada"]
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 3)

    assert watcher.revisions() == [
        ("subscribed", "ada", 0),
        ("state_update", "ada", 1),
        ("state_update", "ada", 2),
    ]


async def test_a_brains_clock_is_told_by_the_quickest_of_its_heartbeats() -> None:
    def heartbeat(ahead_s: float) -> Any:
        sent_at_ms = int((time.time() + ahead_s) * 1000)
        return brain_pb2.WatchStateResponse(heartbeat=brain_pb2.Heartbeat(sent_at_ms=sent_at_ms))

    brain = Brain()
    async with watching(brain) as (_, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        brain.streams[-1].put_nowait(heartbeat(300))
        await until(lambda: link.skew.seconds > 0)
        brain.streams[-1].put_nowait(heartbeat(100))  # 200 s on its way, as after a pause
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        ahead = link.skew.seconds
        for _ in range(3):
            brain.streams[-1].put_nowait(heartbeat(0))
        await until(lambda: not link.skew.is_large)

    assert ahead == pytest.approx(300, abs=60)


async def test_a_forgotten_watch_is_opened_again_and_its_subscribers_are_answered() -> None:
    brain = Brain()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        brain.forget_watch = True
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)

    assert watcher.revisions() == [("subscribed", "ada", 0)]
    assert len({watch_id for watch_id, _ in brain.opened}) >= 2


async def test_a_snapshot_under_way_when_the_stream_breaks_still_comes() -> None:
    brain = Brain()
    brain.hold_modify = asyncio.Event()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(brain.streams) == 2)
        brain.hold_modify.set()
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.streams[-1].put_nowait(moved(brain, "ada"))
        await until(lambda: len(watcher.sink.frames) == 2)

    assert watcher.revisions() == [("subscribed", "ada", 0), ("state_update", "ada", 1)]


async def test_more_learners_than_one_call_holds_are_all_watched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_room, "MAX_CURSORS", 10)
    brain = Brain()
    async with watching(brain) as (edge, link):
        await asyncio.wait_for(link.is_open.wait(), WAIT_S)
        watcher = Watcher(edge)
        names = [f"l{number}" for number in range(34)]
        for name in names:
            watcher.subscribe(name)
        await until(lambda: len(watcher.sink.frames) == 34)
        brain.added.clear()
        brain.epoch = "e2"
        brain.revisions = dict.fromkeys(names, 7)
        watcher.sink.take()
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(watcher.sink.frames) == 34)

    again = [brain.opened[-1][1], *brain.added]
    assert [len(part) for part in again] == [10, 10, 10, 4]
    assert sorted(name for part in again for name in part) == sorted(names)
    assert {(one["type"], one["epoch"], one["revision"]) for one in watcher.sink.frames} == {
        ("state_update", "e2", 7)
    }


async def test_a_new_epoch_that_another_brain_told_first_still_brings_the_snapshots() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        brain.epoch = "e2"
        brain.revisions["ada"] = 3
        edge.hub.begin_epoch("e2")
        brain.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(watcher.sink.frames) == 2)

    assert watcher.revisions()[-1] == ("state_update", "ada", 3)


async def test_who_nobody_watches_any_more_is_removed() -> None:
    brain = Brain()
    async with watching(brain) as (edge, _):
        watcher = Watcher(edge)
        watcher.subscribe("ada")
        await until(lambda: len(watcher.sink.frames) == 1)
        watcher.session.end()
        await until(lambda: brain.removed == ["ada"])
