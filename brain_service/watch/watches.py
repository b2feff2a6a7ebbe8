"""Who watches which learner: publications from the bus mark learners as due.

The bus may lose publications, the store does not: every heartbeat compares revisions with it, some
learners at a time, in turn. A new watcher is registered first and reads the store second, so that
nothing falls between the two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from brain_service.engine.publication import Publication
from brain_service.watch.follow import Follow
from brain_service.watch.watch import Heartbeat, Watch, WatchEndedError, WatchReplacedError
from service_runtime.database.errors import StoreError
from service_runtime.metrics import DURATION_S, Histogram

if TYPE_CHECKING:
    from brain_service.engine.submission import HistoryEntry, LearnerSnapshot

logger = logging.getLogger(__name__)

UNREAD: Final = "a watcher could not read the log; it tries again at a heartbeat"

MAX_SNAPSHOTS: Final = 256
"""Learners looked up at a time: an edge that returns with thousands must not block the others."""


class UnknownWatchError(Exception):
    """No open stream has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A watcher's position for one learner, and its mode."""

    learner_id: str
    epoch: str = ""
    """The epoch of `revision`; if it is not the store's: start now."""
    revision: int = 0
    """The revision seen last."""
    every: bool = False
    """True for each revision, False for the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """Where an added learner stands."""

    snapshot: LearnerSnapshot
    recovered: bool
    """True when the watcher is brought from its cursor to the present without a gap.

    False when updates start after the snapshot, when a latest watcher missed so much that old
    crossings are not looked up, when the log no longer reaches back to the cursor (what it has
    follows), and when the cursor is ahead: then the learner was erased, and is reported as gone.
    """


class Source(Protocol):
    """What watches need from the engine."""

    @property
    def epoch(self) -> str:
        """The epoch of the store."""

    async def snapshots(self, queries: Sequence[tuple[str, int]]) -> list[LearnerSnapshot]:
        """Return the present states of (learner, least revision), one each, in order."""

    async def history(
        self, learner_id: str, *, after_revision: int = 0, limit: int = 100, newest: bool = False
    ) -> tuple[Sequence[HistoryEntry], bool]:
        """Return a page of the log, oldest first, and whether more follows."""

    async def revisions(self, learner_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the store's newest revisions; unknown learners are absent or 0."""

    async def kept_after(self, learner_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the revisions up to which the log was deleted, where above 0."""


class Watches:
    """All open watches of this process, indexed by learner."""

    def __init__(
        self,
        source: Source,
        *,
        pending: int = 64,
        resume_limit: int = 1000,
        beat_learners: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Watch `source`.

        A watcher of every revision holds at most `pending` of them per learner, the rest waits in
        the log. A latest watcher that missed more than `resume_limit` revisions gets the newest
        state, but only the crossings of the last `resume_limit`. One heartbeat compares at most
        `beat_learners`. `clock` gives Unix seconds.
        """
        self.lag_s = Histogram(DURATION_S)
        """How long the first update of each batch was due before its stream took it, seconds."""
        self._source = source
        self._pending = pending
        self._resume_limit = resume_limit
        self._beat_learners = beat_learners
        self._clock = clock
        self._watches: dict[str, Watch] = {}
        self._followers: dict[str, list[tuple[Watch, Follow]]] = {}
        self._round: list[str] = []
        """Learners whom heartbeats have yet to compare, the next ones last."""
        self.looking: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> str:
        """The epoch of the store."""
        return self._source.epoch

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._watches)

    @property
    def learners(self) -> int:
        """How many learners are watched."""
        return len(self._followers)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Handle publications; subscribe this to the bus. An unwatched learner costs one dict
        lookup.
        """
        followers = self._followers
        for publication in publications:
            seats = followers.get(publication.learner_id)
            if seats is not None:
                for watch, follow in seats:
                    if follow.offer(publication):
                        watch.mark(follow)

    def hear(self, publications: Sequence[Publication]) -> None:
        """Handle another brain's publications. Erased learners are looked up: the message may be
        late, when the same learner has started again.
        """
        self.publish([each for each in publications if not each.gone])
        self._look_up(each.learner_id for each in publications if each.gone)

    def lose_touch(self) -> None:
        """Updates of other brains are found by heartbeats from now on."""

    def regain_touch(self) -> None:
        """Look up all watched learners: any of them may have changed unnoticed."""
        self._look_up(self._followers)

    def _look_up(self, learner_ids: Iterable[str]) -> None:
        wanted = [learner_id for learner_id in learner_ids if learner_id in self._followers]
        if not wanted:
            return
        self._round += wanted  # taken from the end
        if self.looking is None or self.looking.done():
            self.looking = asyncio.create_task(self._beat_until(len(self._round) - len(wanted)))

    async def _beat_until(self, left: int) -> None:
        while len(self._round) > left:
            await self.beat()

    async def open(
        self, watch_id: str, cursors: Sequence[Cursor]
    ) -> tuple[Watch, list[StartingPoint]]:
        """Open a watch and return its learners' positions; an open one with the same id ends.

        Failing or cancelled, it leaves nothing behind.
        """
        earlier = self._watches.get(watch_id)
        if earlier is not None:
            self.close(earlier, WatchReplacedError("another stream was opened with this watch_id."))
        watch = self._watches[watch_id] = Watch(
            watch_id, catch_up=self.catch_up, drop=self.drop, lag_s=self.lag_s
        )
        try:
            return watch, await self._add(watch, cursors)
        except BaseException:
            self.close(watch)
            raise

    async def modify(
        self, watch_id: str, add: Sequence[Cursor], remove: Sequence[str]
    ) -> list[StartingPoint]:
        """Remove learners from an open watch, add others or move their cursors, and return the
        positions of the added ones.

        Raises UnknownWatchError. Failing or cancelled, it adds and moves nothing.
        """
        watch = self._watches.get(watch_id)
        if watch is None:
            raise UnknownWatchError(
                "no stream with this watch_id is open here; open WatchState again."
            )
        for learner_id in remove:
            self.drop(watch, learner_id)
        return await self._add(watch, add)

    def close(self, watch: Watch, reason: WatchEndedError | None = None) -> None:
        """Free everything a watch holds and end its `take`; closing again is harmless."""
        watch.end(reason or WatchEndedError("the stream is closed."))
        if self._watches.get(watch.watch_id) is watch:
            del self._watches[watch.watch_id]
        for learner_id in tuple(watch.follows):
            self.drop(watch, learner_id)

    def drop(self, watch: Watch, learner_id: str) -> None:
        """Stop following a learner for `watch`; harmless when it does not."""
        follow = watch.follows.pop(learner_id, None)
        if follow is not None:
            self._unseat(watch, follow)

    async def run(self, heartbeat_s: float) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(heartbeat_s)
            try:
                await self.beat()
            except Exception:
                # Lost updates are found by heartbeats alone: one that fails must not be the last.
                logger.exception("a heartbeat failed")

    async def beat(self) -> None:
        """Compare the next watched learners with the store, and send heartbeats to idle
        watchers.
        """
        seats = [
            (watch, follow, follow.known)
            for learner in self._next_learners()
            for watch, follow in self._followers[learner]
        ]
        revisions = await self._revisions([follow.learner_id for _, follow, _ in seats])
        seen: dict[Watch, dict[str, int]] = {watch: {} for watch in self._watches.values()}
        if revisions is not None:
            for watch, follow, known in seats:
                revision = revisions.get(follow.learner_id, 0)
                if follow.observe(revision, known):
                    watch.mark(follow)
                if watch in seen:
                    seen[watch][follow.learner_id] = revision
        now_ms = int(self._clock() * 1000)
        for watch, theirs in seen.items():
            watch.beat(Heartbeat(sent_at_ms=now_ms, revisions=theirs))

    async def catch_up(self, follow: Follow) -> bool:
        """Read the next page of the log for a follower that is behind; returns whether that worked.

        After a failure the next heartbeats mark the follower again.
        """
        limit = min(self._pending, follow.room) if follow.every else self._resume_limit
        if limit <= 0:
            return True
        try:
            entries, _ = await self._source.history(
                follow.learner_id, after_revision=follow.position, limit=limit
            )
        except StoreError as error:
            logger.warning(UNREAD, extra={"reason": str(error)})
            return False
        except Exception:
            logger.exception(UNREAD)
            return False
        follow.catch_up(_publication(follow.learner_id, entry) for entry in entries)
        return True

    async def _add(self, watch: Watch, cursors: Sequence[Cursor]) -> list[StartingPoint]:
        if not cursors:
            return []
        # Registered before the store is read; an earlier follower of a learner continues until this
        # one can start.
        follows = [
            Follow(cursor.learner_id, every=cursor.every, limit=self._pending) for cursor in cursors
        ]
        for follow in follows:
            self._followers.setdefault(follow.learner_id, []).append((watch, follow))
        epoch = self._source.epoch
        try:
            snapshots: list[LearnerSnapshot] = []
            for start in range(0, len(cursors), MAX_SNAPSHOTS):
                part = cursors[start : start + MAX_SNAPSHOTS]
                queries = [
                    (cursor.learner_id, cursor.revision if cursor.epoch == epoch else 0)
                    for cursor in part
                ]
                snapshots += await self._source.snapshots(queries)
                if watch.ended:
                    raise watch.ended
            kept_after = await self._kept_after(cursors, snapshots)
        except BaseException:
            for follow in follows:
                self._unseat(watch, follow)
            raise
        return [
            self._start(watch, follow, cursor, snapshot, kept_after.get(cursor.learner_id, 0))
            for follow, cursor, snapshot in zip(follows, cursors, snapshots, strict=True)
        ]

    async def _kept_after(
        self, cursors: Sequence[Cursor], snapshots: Sequence[LearnerSnapshot]
    ) -> Mapping[str, int]:
        """Find out where the log begins for those who missed something."""
        behind = [
            cursor.learner_id
            for cursor, snapshot in zip(cursors, snapshots, strict=True)
            if cursor.epoch == self._source.epoch and cursor.revision < snapshot.revision
        ]
        return await self._source.kept_after(behind) if behind else {}

    def _start(
        self,
        watch: Watch,
        follow: Follow,
        cursor: Cursor,
        snapshot: LearnerSnapshot,
        kept_after: int,
    ) -> StartingPoint:
        same_history = cursor.epoch == self._source.epoch
        missed = snapshot.revision - cursor.revision
        self.drop(watch, follow.learner_id)
        watch.follows[follow.learner_id] = follow
        if same_history and missed >= 0:
            follow.start(
                cursor.revision,
                snapshot.revision,
                lookback=None if cursor.every else self._resume_limit,
            )
        else:
            follow.start(snapshot.revision, snapshot.revision)
        if same_history and missed < 0:
            # What the watcher saw is gone: the learner was erased while it was away.
            follow.offer(Publication(follow.learner_id, 0, None, (), "", 0, gone=True))
        if follow.due:
            watch.mark(follow)
        recovered = (
            same_history
            and missed >= 0
            and cursor.revision >= kept_after
            and (cursor.every or missed <= self._resume_limit)
        )
        return StartingPoint(snapshot=snapshot, recovered=recovered)

    def _unseat(self, watch: Watch, follow: Follow) -> None:
        left = [
            seat for seat in self._followers.get(follow.learner_id, ()) if seat[1] is not follow
        ]
        if left:
            self._followers[follow.learner_id] = left
        else:
            self._followers.pop(follow.learner_id, None)

    def _next_learners(self) -> list[str]:
        if not self._round:
            self._round = list(self._followers)
        chunk = self._round[-self._beat_learners :]
        del self._round[-self._beat_learners :]
        return [learner_id for learner_id in chunk if learner_id in self._followers]

    async def _revisions(self, learner_ids: Sequence[str]) -> Mapping[str, int] | None:
        if not learner_ids:
            return {}
        try:
            return await self._source.revisions(list(dict.fromkeys(learner_ids)))
        except Exception as error:
            logger.warning(
                "the store did not tell revisions", extra={"error": type(error).__name__}
            )
            return None


def _publication(learner_id: str, entry: HistoryEntry) -> Publication:
    return Publication(
        learner_id,
        entry.revision,
        entry.assessment,
        entry.crossings,
        entry.traceparent,
        entry.occurred_at_ms,
    )
