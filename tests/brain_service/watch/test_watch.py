"""Watches against a log in memory whose bus can lose, delay and repeat messages."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from brain_service.watch.watch import WatchEndedError, WatchReplacedError
from brain_service.watch.watches import (
    Cursor,
    UnknownWatchError,
    Watches,
)
from tests.brain_service.watch.watch_support import EPOCH, Log, idle, take


async def test_a_new_watcher_gets_the_snapshot_and_then_what_follows(
    log: Log, watches: Watches
) -> None:
    log.apply("mia")
    log.apply("mia")
    watch, (start,) = await watches.open("w", [Cursor(learner_id="mia")])

    assert (start.snapshot.revision, start.recovered) == (2, False)
    assert idle(watch)

    watches.publish([log.apply("mia")])

    assert await take(watch) == [("mia", 3, 0)]


async def test_everything_due_comes_in_one_batch(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open(
        "w", [Cursor(learner_id="mia"), Cursor(learner_id="ben", every=True)]
    )
    watches.publish(
        [log.apply("mia"), log.apply("ben"), log.apply("mia"), log.apply("ben"), log.apply("zoe")]
    )

    assert await take(watch) == [("mia", 2, 1), ("ben", 1, 0), ("ben", 2, 0)]


@pytest.mark.parametrize(
    ("epoch", "revision", "every", "recovered", "expected"),
    [
        (EPOCH, 5, False, True, []),
        (EPOCH, 2, False, True, [("mia", 5, 2)]),
        (EPOCH, 2, True, True, [("mia", 3, 0), ("mia", 4, 0), ("mia", 5, 0)]),
        (EPOCH, 0, True, True, [("mia", 1, 0), ("mia", 2, 0), ("mia", 3, 0), ("mia", 4, 0)]),
        ("another", 2, False, False, []),
        ("another", 2, True, False, []),
        ("", 0, True, False, []),
    ],
)
async def test_resume(
    log: Log,
    watches: Watches,
    epoch: str,
    revision: int,
    every: bool,
    recovered: bool,
    expected: Any,
) -> None:
    for _ in range(5):
        log.apply("mia")
    cursor = Cursor(learner_id="mia", epoch=epoch, revision=revision, every=every)
    watch, (start,) = await watches.open("w", [cursor])

    assert (5, recovered) == (start.snapshot.revision, start.recovered)
    assert expected == (await take(watch) if expected else [])
    if len(expected) != 4:
        assert idle(watch)
    watches.publish([log.apply("mia")])
    if len(expected) != 4:
        assert await take(watch) == [("mia", 6, 0)]


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize(("revision", "recovered"), [(0, False), (2, False), (3, True), (5, True)])
async def test_whom_the_log_does_not_reach_back_to_is_not_called_recovered(
    every: bool, revision: int, recovered: bool
) -> None:
    log = Log()
    for _ in range(5):
        log.apply("ada")
    log.kept["ada"] = 3
    watches = Watches(log)
    watch, [start] = await watches.open(
        "w", [Cursor(learner_id="ada", epoch=EPOCH, revision=revision, every=every)]
    )
    assert (start.snapshot.revision, start.recovered) == (5, recovered)
    watches.publish([log.apply("ada")])

    told = {}
    while 6 not in told:
        updates = (await watch.take()).updates
        told |= {each.publication.revision: each.coalesced for each in updates}
    # What is kept follows, and what is not is counted.
    first = max(revision, 3) + 1
    assert list(told) == (list(range(first, 7)) if every else [6])
    assert sum(told.values()) == 6 - revision - len(told)


async def test_a_latest_watcher_too_far_back_is_told_the_newest_but_not_called_recovered(
    log: Log, watches: Watches
) -> None:
    for _ in range(50):
        log.apply("mia")
    watch, (start,) = await watches.open("w", [Cursor(learner_id="mia", epoch=EPOCH, revision=2)])

    assert not start.recovered
    assert await take(watch) == [("mia", 50, 47)]
    assert log.reads == 1
    watches.publish([log.apply("mia")])
    assert await take(watch) == [("mia", 51, 0)]


async def test_an_every_watcher_far_back_gets_the_whole_log_in_pages(
    log: Log, watches: Watches
) -> None:
    for _ in range(50):
        log.apply("mia")
    watch, _ = await watches.open("w", [Cursor(learner_id="mia", epoch=EPOCH, every=True)])
    watches.publish([log.apply("mia")])
    got: list[int] = []
    while len(got) < 51:
        got += [revision for _, revision, _ in await take(watch)]

    assert list(range(1, 52)) == got
    assert idle(watch)


async def test_what_happens_while_the_snapshot_is_read_is_not_lost(
    log: Log, watches: Watches
) -> None:
    log.gate = asyncio.Event()
    opening = asyncio.create_task(watches.open("w", [Cursor(learner_id="mia")]))
    await asyncio.sleep(0)
    watches.publish([log.apply("mia")])
    log.gate.set()
    watch, (start,) = await opening
    watches.publish([log.apply("mia")])
    reached = start.snapshot.revision
    for _, revision, _ in await take(watch):
        assert revision > reached
        reached = revision

    assert reached == 2


async def test_many_learners_are_looked_up_in_parts(log: Log, watches: Watches) -> None:
    learners = [f"l{number}" for number in range(1000)]
    for learner in learners:
        log.apply(learner)
    watch, starts = await watches.open(
        "w", [Cursor(learner_id=learner, epoch=EPOCH) for learner in learners]
    )

    assert [(start.snapshot.learner_id, start.snapshot.revision) for start in starts] == [
        (learner, 1) for learner in learners
    ]
    got: set[str] = set()
    while len(got) < 1000:
        got |= {learner for learner, _, _ in await take(watch)}


async def test_modify_adds_removes_and_moves(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    watches.publish([log.apply("mia"), log.apply("ben"), log.apply("ben")])

    starts = await watches.modify(
        "w",
        [Cursor(learner_id="ben", epoch=EPOCH, revision=0, every=True), Cursor(learner_id="zoe")],
        ["mia", "nobody"],
    )

    assert [
        (start.snapshot.learner_id, start.snapshot.revision, start.recovered) for start in starts
    ] == [("ben", 2, True), ("zoe", 0, False)]
    assert await take(watch) == [("ben", 1, 0), ("ben", 2, 0)]
    watches.publish([log.apply("mia"), log.apply("zoe")])
    assert await take(watch) == [("zoe", 1, 0)]
    assert watches.learners == 2


async def test_modify_of_an_unknown_watch_is_refused(watches: Watches) -> None:
    with pytest.raises(UnknownWatchError):
        await watches.modify("nope", [Cursor(learner_id="mia")], [])


async def test_a_failed_modify_changes_nothing(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia")])
    log.broken = True
    with pytest.raises(OSError, match="disk"):
        await watches.modify(
            "w", [Cursor(learner_id="mia", every=True), Cursor(learner_id="ben")], []
        )
    log.broken = False

    assert watches.learners == 1
    watches.publish([log.apply("mia"), log.apply("mia")])
    assert await take(watch) == [("mia", 2, 1)]


async def test_a_cancelled_open_leaves_nothing_behind(log: Log, watches: Watches) -> None:
    log.gate = asyncio.Event()
    opening = asyncio.create_task(watches.open("w", [Cursor(learner_id="mia")]))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert (len(watches), watches.learners) == (0, 0)


async def test_a_watch_that_ends_while_it_is_modified_leaves_nothing_behind(
    log: Log, watches: Watches
) -> None:
    watch, _ = await watches.open("w", [])
    log.gate = asyncio.Event()
    modifying = asyncio.create_task(watches.modify("w", [Cursor(learner_id="mia")], []))
    await asyncio.sleep(0)
    watches.close(watch)
    log.gate.set()
    with pytest.raises(WatchEndedError):
        await modifying

    assert watches.learners == 0


async def test_a_second_stream_with_the_same_id_ends_the_first(log: Log, watches: Watches) -> None:
    first, _ = await watches.open("w", [Cursor(learner_id="mia")])
    waiting = asyncio.create_task(first.take())
    await asyncio.sleep(0)
    second, _ = await watches.open("w", [Cursor(learner_id="mia")])
    with pytest.raises(WatchReplacedError):
        await waiting
    watches.close(first)
    watches.publish([log.apply("mia")])

    assert await take(second) == [("mia", 1, 0)]
    assert len(watches) == 1


async def test_a_closed_watch_leaves_nothing_behind(log: Log, watches: Watches) -> None:
    gone = []
    for number in range(50):
        watch, _ = await watches.open(
            f"w{number}", [Cursor(learner_id=f"l{n}", every=n % 2 == 0) for n in range(20)]
        )
        watches.publish([log.apply(f"l{n}") for n in range(20)])
        await watches.beat()
        waiting = asyncio.create_task(watch.take())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        watches.close(watch)
        gone.append(weakref.ref(watch))
        del watch, waiting
    gc.collect()

    assert (len(watches), watches.learners) == (0, 0)
    assert [ref for ref in gone if ref() is not None] == []


async def test_an_erased_learner_is_told_gone_and_followed_no_more(
    log: Log, watches: Watches
) -> None:
    for lost in (False, True):
        log.apply("mia")
        watch, _ = await watches.open("w", [Cursor(learner_id="mia")])
        gone = log.erase("mia")
        if lost:
            await watches.beat()
        else:
            watches.publish([gone])
        (update,) = (await watch.take()).updates

        assert update.publication.gone
        assert watches.learners == 0
        watches.close(watch)


@pytest.mark.parametrize("since", [0, 2])
async def test_a_learner_erased_while_the_watcher_was_away_is_told_gone(
    log: Log, watches: Watches, since: int
) -> None:
    for _ in range(since):
        log.apply("mia")
    watch, (start,) = await watches.open(
        "w", [Cursor(learner_id="mia", epoch=EPOCH, revision=5, every=True)]
    )
    (update,) = (await watch.take()).updates

    assert (start.snapshot.revision, start.recovered) == (since, False)
    assert update.publication.gone
    assert watches.learners == 0
