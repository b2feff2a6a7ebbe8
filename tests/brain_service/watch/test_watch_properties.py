"""However messages get lost, delayed or repeated: every watcher ends at the newest, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.engine.publication import Publication
from brain_service.watch.watch import Watch
from brain_service.watch.watches import (
    Cursor,
    Watches,
)
from tests.brain_service.watch.watch_support import EPOCH, Log, idle

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
        self.watch, starts = await self.watches.open(f"every={self.every}", self.cursors())
        assert all(start.recovered for start in starts)

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
