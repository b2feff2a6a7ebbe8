"""One edge's stream over many learners: what is due on it, and what it takes next.

Its own loop takes everything due at once, so changes coalesce while a message is being sent, and a
slow reader delays nobody else: per learner it holds one slot (latest) or a bounded queue that
continues in the log (every).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from brain_service.watch.follow import Follow, Update
from service_runtime.metrics import Histogram

MAX_UPDATES: Final = 512
"""Updates per batch: enough to make messages cheap, few enough to stay far below the largest
message.
"""
MAX_READS: Final = 16
"""Pages of the log per batch, so that one watcher's replay does not delay other learners' updates
for long.
"""


class WatchEndedError(Exception):
    """The stream of a watch is over; the text says why and what to do."""


class WatchReplacedError(WatchEndedError):
    """Another stream was opened under the same id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Tells an idle watcher the store's revisions."""

    sent_at_ms: int
    """Unix milliseconds."""
    revisions: Mapping[str, int]
    """Newest revisions of some watched learners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that was due."""

    updates: Sequence[Update]
    heartbeat: Heartbeat | None


class Watch:
    """One open stream. Get it from `Watches.open`, call `take` again and again, and `Watches.close`
    it at the end.
    """

    def __init__(
        self,
        watch_id: str,
        *,
        catch_up: Callable[[Follow], Awaitable[bool]],
        drop: Callable[[Watch, str], None],
        lag_s: Histogram,
    ) -> None:
        """`catch_up` reads the next page of the log for a follower that is behind, and returns
        whether that worked; `drop` ends following a learner; `lag_s` observes how long updates were
        due.
        """
        self.watch_id = watch_id
        self.follows: dict[str, Follow] = {}
        self.ended: WatchEndedError | None = None
        self._catch_up = catch_up
        self._drop = drop
        self._lag_s = lag_s
        self.due: dict[Follow, None] = {}
        self.heartbeat: Heartbeat | None = None
        self._due_since = 0.0
        self._told = False
        self._wake = asyncio.Event()

    async def take(self) -> Batch:
        """Wait until something is due, take all of it (up to the limits of a batch) and count it as
        sent.

        Raises WatchEndedError when the stream is over. A cancelled take may have counted updates
        that nobody saw: the stream is over then, and its owner resumes by its own cursors.
        """
        while True:
            while not (self.ended or self.due or self.heartbeat):
                self._wake.clear()
                await self._wake.wait()
            if self.ended:
                raise self.ended
            waited_s = time.monotonic() - self._due_since
            updates = await self._collect()
            heartbeat, self.heartbeat = self.heartbeat, None
            if updates:
                self._lag_s.observe(waited_s)
            if updates or heartbeat:
                self._told = True
                return Batch(updates=updates, heartbeat=heartbeat)

    def mark(self, follow: Follow) -> None:
        """Note that `follow` has something due."""
        if not self.due:
            self._due_since = time.monotonic()
        self.due[follow] = None
        self._wake.set()

    def end(self, reason: WatchEndedError) -> None:
        """Make `take` raise `reason`, now and from now on."""
        self.ended = self.ended or reason
        self._wake.set()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send `heartbeat`, unless something else was sent since the last one."""
        if not self._told:
            self.heartbeat = heartbeat
            self._wake.set()
        self._told = False

    async def _collect(self) -> list[Update]:
        updates: list[Update] = []
        due, self.due = self.due, {}
        reads = 0
        for follow in due:
            if len(updates) >= MAX_UPDATES or (follow.behind and reads == MAX_READS):
                self.due[follow] = None
                continue
            if follow.behind:
                reads += 1
                if not await self._catch_up(follow):
                    continue
            # Removed or replaced, perhaps while the log was read.
            if self.follows.get(follow.learner_id) is not follow:
                continue
            updates += follow.take(MAX_UPDATES - len(updates))
            if follow.gone:
                self._drop(self, follow.learner_id)
            elif follow.due:
                self.due[follow] = None
        return updates
