"""Who watches which learner, and what each watcher is told next.

A watch is one stream of one edge over many learners. Publications come from the bus and only mark
learners as due; the stream's own loop takes everything due at once, so while one message is on its
way more coalesces, and a slow reader costs nobody else anything: per learner it holds one slot
(latest) or a bounded queue that continues in the log (every).

The bus may lose publications, the store does not: every heartbeat compares revisions with it, some
learners at a time, going round. A new watcher is entered first and looks at the store second, so
that nothing falls between the two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from brain_service.engine.publication import Publication
from brain_service.watch.follow import Follow, Update
from service_runtime.database.errors import StoreError
from service_runtime.metrics import DURATION_S, Histogram

if TYPE_CHECKING:
    from brain_service.engine.submission import HistoryEntry, LearnerSnapshot

logger = logging.getLogger(__name__)

UNREAD: Final = "a watcher could not read the log; it tries again at a heartbeat"

MAX_UPDATES: Final = 512
"""Updates per batch: enough to make messages cheap, few enough to stay far below the largest
message.
"""
MAX_READS: Final = 16
"""Pages of the log per batch, so that one watcher's past does not delay another learner's present
for long.
"""

MAX_SNAPSHOTS: Final = 256
"""Learners looked up at a time: an edge that comes back with thousands must not stop the rest
meanwhile.
"""


class WatchEndedError(Exception):
    """The stream of a watch is over; the text says why and what to do."""


class WatchReplacedError(WatchEndedError):
    """Another stream was opened under the same id."""


class UnknownWatchError(Exception):
    """No open stream has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a watcher of one learner has come, and how it wants to go on."""

    learner_id: str
    epoch: str = ""
    """The epoch that `revision` belongs to; another one than the store's means: start now."""
    revision: int = 0
    """The revision seen last."""
    every: bool = False
    """True for each revision, False for the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an added learner stands."""

    snapshot: LearnerSnapshot
    recovered: bool
    """True when the watcher is brought from its cursor to the present without a gap.

    False when updates start after the snapshot, when a latest watcher missed so much that crossings
    long ago are not looked up, and when the cursor lies ahead: then the learner was erased, and is
    told as gone.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Tells an idle watcher what the store has."""

    sent_at_ms: int
    """Unix milliseconds."""
    revisions: Mapping[str, int]
    """Newest revisions of some watched learners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that was due."""

    updates: Sequence[Update]
    heartbeat: Heartbeat | None


class Source(Protocol):
    """What watches ask of the engine."""

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


class Watch:
    """One open stream. Get it from `Watches.open`, call `take` again and again, and `Watches.close`
    it at the end.
    """

    def __init__(self, watch_id: str, watches: Watches) -> None:
        self.watch_id = watch_id
        self.follows: dict[str, Follow] = {}
        self.ended: WatchEndedError | None = None
        self._watches = watches
        self._due: dict[Follow, None] = {}
        self._heartbeat: Heartbeat | None = None
        self._due_since = 0.0
        self._told = False
        self._wake = asyncio.Event()

    async def take(self) -> Batch:
        """Wait until something is due, take all of it (up to the limits of a batch) and count it as
        told.

        Raises WatchEndedError when the stream is over. A cancelled take may have counted updates as
        told that nobody
        saw: the stream is over then, and its owner resumes by its own cursors.
        """
        while True:
            while not (self.ended or self._due or self._heartbeat):
                self._wake.clear()
                await self._wake.wait()
            if self.ended:
                raise self.ended
            waited_s = time.monotonic() - self._due_since
            updates = await self._collect()
            heartbeat, self._heartbeat = self._heartbeat, None
            if updates:
                self._watches.lag_s.observe(waited_s)
            if updates or heartbeat:
                self._told = True
                return Batch(updates=updates, heartbeat=heartbeat)

    def mark(self, follow: Follow) -> None:
        """Note that `follow` has something due."""
        if not self._due:
            self._due_since = time.monotonic()
        self._due[follow] = None
        self._wake.set()

    def end(self, reason: WatchEndedError) -> None:
        """Make `take` raise `reason`, now and from now on."""
        self.ended = self.ended or reason
        self._wake.set()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send `heartbeat`, unless something else was sent since the last one."""
        if not self._told:
            self._heartbeat = heartbeat
            self._wake.set()
        self._told = False

    async def _collect(self) -> list[Update]:
        updates: list[Update] = []
        due, self._due = self._due, {}
        reads = 0
        for follow in due:
            if len(updates) >= MAX_UPDATES or (follow.behind and reads == MAX_READS):
                self._due[follow] = None
                continue
            if follow.behind:
                reads += 1
                if not await self._watches.catch_up(follow):
                    continue
            # Removed or replaced, perhaps while the log was read.
            if self.follows.get(follow.learner_id) is not follow:
                continue
            updates += follow.take(MAX_UPDATES - len(updates))
            if follow.gone:
                self._watches.drop(self, follow.learner_id)
            elif follow.due:
                self._due[follow] = None
        return updates


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
        the log. A latest watcher that missed more than `resume_limit` revisions is told the newest
        too, but only what crossed in the last so many. One heartbeat compares at most
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
        self._looking: asyncio.Task[None] | None = None

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
        """Note what happened; subscribe this to the bus. An unwatched learner costs one look into a
        dict.
        """
        followers = self._followers
        for publication in publications:
            seats = followers.get(publication.learner_id)
            if seats is not None:
                for watch, follow in seats:
                    if follow.offer(publication):
                        watch.mark(follow)

    def hear(self, publications: Sequence[Publication]) -> None:
        """Note what another brain published. Whoever is said to be erased is looked up: the word
        may come late, when the same learner has begun anew.
        """
        self.publish([each for each in publications if not each.gone])
        self._look_up(each.learner_id for each in publications if each.gone)

    def lose_touch(self) -> None:
        """Updates of other brains are found by heartbeats from now on."""

    def regain_touch(self) -> None:
        """Look up all who are watched: any of them may have been moved unheard."""
        self._look_up(self._followers)

    def _look_up(self, learner_ids: Iterable[str]) -> None:
        wanted = [learner_id for learner_id in learner_ids if learner_id in self._followers]
        if not wanted:
            return
        self._round += wanted  # taken from the end
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._beat_until(len(self._round) - len(wanted)))

    async def _beat_until(self, left: int) -> None:
        while len(self._round) > left:
            await self.beat()

    async def open(self, watch_id: str, cursors: Sequence[Cursor]) -> tuple[Watch, list[Standing]]:
        """Open a watch and tell where its learners stand; an open one with the same id ends.

        Failing or cancelled, it leaves nothing behind.
        """
        earlier = self._watches.get(watch_id)
        if earlier is not None:
            self.close(earlier, WatchReplacedError("another stream was opened with this watch_id."))
        watch = self._watches[watch_id] = Watch(watch_id, self)
        try:
            return watch, await self._add(watch, cursors)
        except BaseException:
            self.close(watch)
            raise

    async def modify(
        self, watch_id: str, add: Sequence[Cursor], remove: Sequence[str]
    ) -> list[Standing]:
        """Remove learners from an open watch, add others or move their cursors, and tell where the
        added ones stand.

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
        """Stop telling `watch` of a learner; harmless when it is not told anyway."""
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
        """Compare the next watched learners with the store, and tell idle watchers that they are
        current.
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

    async def _add(self, watch: Watch, cursors: Sequence[Cursor]) -> list[Standing]:
        if not cursors:
            return []
        # Entered before the store is looked at; an earlier follower of a learner goes on until this
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
        except BaseException:
            for follow in follows:
                self._unseat(watch, follow)
            raise
        return [
            self._start(watch, follow, cursor, snapshot)
            for follow, cursor, snapshot in zip(follows, cursors, snapshots, strict=True)
        ]

    def _start(
        self, watch: Watch, follow: Follow, cursor: Cursor, snapshot: LearnerSnapshot
    ) -> Standing:
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
            # What the watcher saw is not there any more: the learner was erased while it was away.
            follow.offer(Publication(follow.learner_id, 0, None, (), "", 0, gone=True))
        if follow.due:
            watch.mark(follow)
        recovered = same_history and missed >= 0 and (cursor.every or missed <= self._resume_limit)
        return Standing(snapshot=snapshot, recovered=recovered)

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
