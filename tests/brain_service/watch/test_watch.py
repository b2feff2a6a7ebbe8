"""Watches against a log in memory whose bus can lose, delay and repeat messages."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.engine.publication import Publication
from brain_service.engine.submission import HistoryEntry, LearnerSnapshot
from brain_service.watch.watch import Batch, Watch, WatchEndedError, WatchReplacedError
from brain_service.watch.watches import (
    UNREAD,
    Cursor,
    UnknownWatchError,
    Watches,
)
from service_runtime.database.errors import StoreUnavailableError

EPOCH = "epoch-1"


class Log:
    """A store in memory: `apply` commits, and what it returns may or may not be published."""

    def __init__(self) -> None:
        self.rows: dict[str, list[HistoryEntry]] = {}
        self.kept: dict[str, int] = {}
        """After which revisions logs are kept."""
        self.epoch = EPOCH
        self.broken = False
        self.error: Exception = OSError("the disk is away")
        self.reads = 0
        self.gate: asyncio.Event | None = None

    def apply(self, learner_id: str) -> Publication:
        rows = self.rows.setdefault(learner_id, [])
        revision = len(rows) + 1
        assessment: Any = f"assessment-{revision}"
        rows.append(
            HistoryEntry(
                revision=revision,
                interaction_id=f"i-{revision}",
                kind="practice",
                content="",
                response=None,
                context_json=b"{}",
                occurred_at_ms=revision,
                received_at_ms=revision,
                traceparent=f"trace-{revision}",
                assessment=assessment,
                crossings=(),
            )
        )
        return Publication(learner_id, revision, assessment, (), f"trace-{revision}", revision)

    def erase(self, learner_id: str) -> Publication:
        self.rows.pop(learner_id, None)
        return Publication(learner_id, 0, None, (), "", 0, gone=True)

    async def snapshots(self, queries: Sequence[tuple[str, int]]) -> list[LearnerSnapshot]:
        found = [self._snapshot(learner_id) for learner_id, _ in queries]
        await self._pass()
        return found

    async def history(
        self, learner_id: str, *, after_revision: int = 0, limit: int = 100, newest: bool = False
    ) -> tuple[Sequence[HistoryEntry], bool]:
        self.reads += 1
        after = max(after_revision, self.kept.get(learner_id, 0))
        rows = self.rows.get(learner_id, [])[after : after + limit]
        await self._pass()
        return rows, False

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        return {learner: self.kept[learner] for learner in learner_ids if learner in self.kept}

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        found = {
            learner_id: len(self.rows[learner_id])
            for learner_id in learner_ids
            if learner_id in self.rows
        }
        await self._pass()
        return found

    async def _pass(self) -> None:
        if self.broken:
            raise self.error
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)

    def _snapshot(self, learner_id: str) -> LearnerSnapshot:
        rows = self.rows.get(learner_id, [])
        assessment = rows[-1].assessment if rows else None
        return LearnerSnapshot(
            learner_id=learner_id,
            revision=len(rows),
            state=None,
            assessment=assessment,
            occurred_at_ms=0,
        )


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def watches(log: Log) -> Watches:
    return Watches(log, pending=4, resume_limit=10, beat_learners=3, clock=lambda: 1.5)


def told(batch: Batch) -> list[tuple[str, int, int]]:
    return [
        (update.publication.learner_id, update.publication.revision, update.coalesced)
        for update in batch.updates
    ]


async def take(watch: Watch) -> list[tuple[str, int, int]]:
    async with asyncio.timeout(5):
        return told(await watch.take())


def idle(watch: Watch) -> bool:
    return not watch.due


async def test_a_new_watcher_gets_the_snapshot_and_then_what_follows(
    log: Log, watches: Watches
) -> None:
    log.apply("mia")
    log.apply("mia")
    watch, (standing,) = await watches.open("w", [Cursor(learner_id="mia")])

    assert (standing.snapshot.revision, standing.recovered) == (2, False)
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
    watch, (standing,) = await watches.open("w", [cursor])

    assert (5, recovered) == (standing.snapshot.revision, standing.recovered)
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
    watch, [standing] = await watches.open(
        "w", [Cursor(learner_id="ada", epoch=EPOCH, revision=revision, every=every)]
    )
    assert (standing.snapshot.revision, standing.recovered) == (5, recovered)
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
    watch, (standing,) = await watches.open(
        "w", [Cursor(learner_id="mia", epoch=EPOCH, revision=2)]
    )

    assert not standing.recovered
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
    watch, (standing,) = await opening
    watches.publish([log.apply("mia")])
    reached = standing.snapshot.revision
    for _, revision, _ in await take(watch):
        assert revision > reached
        reached = revision

    assert reached == 2


async def test_many_learners_are_looked_up_in_parts(log: Log, watches: Watches) -> None:
    learners = [f"l{number}" for number in range(1000)]
    for learner in learners:
        log.apply(learner)
    watch, standings = await watches.open(
        "w", [Cursor(learner_id=learner, epoch=EPOCH) for learner in learners]
    )

    assert [
        (standing.snapshot.learner_id, standing.snapshot.revision) for standing in standings
    ] == [(learner, 1) for learner in learners]
    got: set[str] = set()
    while len(got) < 1000:
        got |= {learner for learner, _, _ in await take(watch)}


async def test_modify_adds_removes_and_moves(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    watches.publish([log.apply("mia"), log.apply("ben"), log.apply("ben")])

    standings = await watches.modify(
        "w",
        [Cursor(learner_id="ben", epoch=EPOCH, revision=0, every=True), Cursor(learner_id="zoe")],
        ["mia", "nobody"],
    )

    assert [
        (standing.snapshot.learner_id, standing.snapshot.revision, standing.recovered)
        for standing in standings
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


async def test_a_lost_message_arrives_with_the_heartbeat(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open(
        "w", [Cursor(learner_id="mia"), Cursor(learner_id="ben", every=True)]
    )
    for _ in range(3):
        log.apply("mia")
        log.apply("ben")
    assert idle(watch)
    await watches.beat()

    assert await take(watch) == [("mia", 3, 2), ("ben", 1, 0), ("ben", 2, 0), ("ben", 3, 0)]


async def test_heartbeats_go_round_and_only_to_the_idle(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id=f"l{number}") for number in range(5)])
    log.apply("l4")
    watches.publish([Publication("l4", 1, log.rows["l4"][0].assessment, (), "", 1)])
    assert await take(watch) == [("l4", 1, 0)]
    await watches.beat()
    assert idle(watch)

    seen: dict[str, int] = {}
    for _ in range(2):
        await watches.beat()
        batch = await watch.take()
        assert batch.heartbeat is not None
        assert batch.heartbeat.sent_at_ms == 1500
        assert len(batch.heartbeat.revisions) <= 3
        seen.update(batch.heartbeat.revisions)
        await watches.beat()

    assert {f"l{number}" for number in range(5)} >= set(seen)
    assert seen.get("l4", 1) == 1


async def test_a_heartbeat_of_a_watch_without_learners_is_empty(watches: Watches) -> None:
    watch, _ = await watches.open("w", [])
    await watches.beat()
    batch = await watch.take()

    assert batch.heartbeat is not None
    assert batch.heartbeat.revisions == {}


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
    watch, (standing,) = await watches.open(
        "w", [Cursor(learner_id="mia", epoch=EPOCH, revision=5, every=True)]
    )
    (update,) = (await watch.take()).updates

    assert (standing.snapshot.revision, standing.recovered) == (since, False)
    assert update.publication.gone
    assert watches.learners == 0


async def test_a_broken_log_delays_a_watcher_until_a_heartbeat(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    log.apply("mia")
    log.broken = True
    watches.publish([log.apply("mia"), log.apply("ben")])

    assert await take(watch) == [("ben", 1, 0)]
    await watches.beat()
    log.broken = False
    await watches.beat()
    assert await take(watch) == [("mia", 2, 1)]


@pytest.mark.parametrize(
    ("error", "level", "traced"),
    [
        (StoreUnavailableError("the database does not answer"), logging.WARNING, False),
        (OSError("nobody foresaw this"), logging.ERROR, True),
    ],
)
async def test_a_database_that_is_away_is_a_warning_and_what_nobody_foresaw_is_traced(
    log: Log,
    watches: Watches,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    traced: bool,
) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    log.apply("mia")
    log.broken, log.error = True, error
    watches.publish([log.apply("mia"), log.apply("ben")])
    await take(watch)

    [told] = [record for record in caplog.records if record.message == UNREAD]
    assert (told.levelno, bool(told.exc_info)) == (level, traced)


async def test_a_publication_of_an_unwatched_learner_costs_no_read(
    log: Log, watches: Watches
) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia")])
    watches.publish([log.apply("ben") for _ in range(100)])

    assert idle(watch)
    assert log.reads == 0


async def test_a_reader_that_never_takes_holds_little(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open(
        "w", [Cursor(learner_id="mia"), Cursor(learner_id="ben", every=True)]
    )
    for _ in range(1000):
        watches.publish([log.apply("mia"), log.apply("ben")])

    assert len(watch.follows["ben"]._pending) == 4
    assert len(watch.due) == 2
    got: list[int] = []
    while len(got) < 1000:
        got += [revision for learner, revision, _ in await take(watch) if learner == "ben"]
    assert list(range(1, 1001)) == got


LEARNERS = ("mia", "ben")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("apply"),
            st.sampled_from(LEARNERS),
            st.sampled_from(["now", "lost", "late", "twice", "bare"]),
        ),
        st.tuples(st.just("deliver_late"), st.randoms(use_true_random=False)),
        st.tuples(st.just("take"), st.sampled_from(["quiet", *LEARNERS])),
        st.tuples(st.just("beat")),
        st.tuples(st.just("rewatch"), st.sampled_from(LEARNERS)),
        st.tuples(st.just("reconnect")),
    ),
    max_size=60,
)


class Reader:
    """An edge: knows what it was told and insists on the promises."""

    def __init__(self, watches: Watches, *, every: bool) -> None:
        self.watches = watches
        self.every = every
        self.reached = dict.fromkeys(LEARNERS, 0)
        self.watch: Watch

    def cursors(self, learners: Sequence[str] = LEARNERS) -> list[Cursor]:
        return [
            Cursor(
                learner_id=learner, epoch=EPOCH, revision=self.reached[learner], every=self.every
            )
            for learner in learners
        ]

    async def connect(self) -> None:
        self.watch, standings = await self.watches.open(f"every={self.every}", self.cursors())
        assert all(standing.recovered for standing in standings)

    async def take(self, meanwhile: Sequence[Publication] = ()) -> None:
        if self.watch.due or self.watch.heartbeat:
            taking = asyncio.create_task(self.watch.take())
            for turn in range(50):
                await asyncio.sleep(0)
                self.watches.publish(meanwhile[turn : turn + 1])
            if taking.done():
                for update in taking.result().updates:
                    self.told(update)
            else:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    def told(self, update: Any) -> None:
        publication, before = update.publication, self.reached[update.publication.learner_id]
        assert publication.revision > before
        assert publication.assessment == f"assessment-{publication.revision}"
        assert update.coalesced == (0 if self.every else publication.revision - before - 1)
        if self.every:
            assert publication.revision == before + 1
        self.reached[publication.learner_id] = publication.revision


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_however_messages_get_lost_every_watcher_ends_at_the_newest_in_order(
    steps: list[Any],
) -> None:
    asyncio.run(_interleave(steps))


async def _interleave(steps: list[Any]) -> None:
    log = Log()
    watches = Watches(log, pending=3, resume_limit=1000, beat_learners=1)
    readers = [Reader(watches, every=False), Reader(watches, every=True)]
    for reader in readers:
        await reader.connect()
    late: list[Publication] = []
    for step in steps:
        await _do(step, log, watches, readers, late)
    for _ in range(len(LEARNERS) * 2):
        await watches.beat()
    for reader in readers:
        while not idle(reader.watch):
            await reader.take()
        assert {learner: len(log.rows.get(learner, ())) for learner in LEARNERS} == reader.reached


async def _do(
    step: Any, log: Log, watches: Watches, readers: list[Reader], late: list[Publication]
) -> None:
    match step:
        case ("apply", learner, fate):
            publication = log.apply(learner)
            if fate == "late":
                late.append(publication)
            elif fate == "bare":
                watches.publish([Publication(learner, publication.revision, None, (), "", 0)])
            elif fate != "lost":
                watches.publish([publication] * (2 if fate == "twice" else 1))
        case ("deliver_late", random):
            random.shuffle(late)
            watches.publish(late)
            late.clear()
        case ("take", meanwhile):
            for reader in readers:
                publications = (
                    [] if meanwhile == "quiet" else [log.apply(meanwhile), log.apply(meanwhile)]
                )
                await reader.take(publications)
        case ("beat",):
            await watches.beat()
        case ("rewatch", learner):
            for reader in readers:
                publication = log.apply(learner)
                modifying = asyncio.create_task(
                    watches.modify(reader.watch.watch_id, reader.cursors([learner]), [])
                )
                await asyncio.sleep(0)
                watches.publish([publication])
                await modifying
        case ("reconnect",):
            for reader in readers:
                watches.close(reader.watch)
                await reader.connect()
