"""Delivers every revision of a learner to one socket, in order; what it missed comes from the
log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from edge.frames.codes import CloseCode
from edge.hub.subscription import Outlet, Phase, Subscriber, Subscription
from edge.ports import LearnerSnapshot, Update

MAX_QUEUED: Final = 1_024
"""Updates kept for one slow subscriber; beyond, its socket closes and it resumes from the log."""

REPLAY_PAGE: Final = 100
"""Updates read from the log at a time for one subscriber; the next follow once these are sent."""


class Every(Subscription):
    """Gets every revision, in order; what it missed comes from the log."""

    __slots__ = ("_queue",)

    every = True
    direct = False

    def __init__(
        self,
        outlet: Outlet,
        subscriber: Subscriber,
        learner_id: str,
        resume: tuple[str, int] | None,
    ) -> None:
        """Begin with an empty queue."""
        super().__init__(outlet, subscriber, learner_id, resume)
        self._queue: deque[Update] = deque()

    def take(self, update: Update) -> None:
        """Queue an update; too many close the socket, which resumes from the log."""
        self._queue.append(update)
        if len(self._queue) > MAX_QUEUED:
            self.sink.close(CloseCode.TRY_LATER, "reading too slowly; resume to get the rest")
        self.flush()

    def begin_epoch(self) -> None:
        """Drop the queue: it belongs to another history."""
        super().begin_epoch()
        self._queue.clear()

    def send(self, update: Update) -> None:
        """Send one update, whatever waits."""
        self.outlet.send(self, update, update.crossings, update.traceparents)

    def _recalls(self, missed: int) -> bool:
        return True

    def _catch_up(self, snapshot: LearnerSnapshot) -> None:
        _Replay(self, snapshot.revision, partial(self._caught_up, snapshot)).go_on()

    def _send_waiting(self) -> None:
        queue = self._queue
        while queue and not self.sink.paused:
            update = queue[0]
            if update.revision > self.delivered + 1:
                self.phase = Phase.REPLAYING
                _Replay(self, update.revision - 1, partial(self._gap_read, update)).go_on()
                return
            self._send_first()

    def _gap_read(self, filled: Update, _: int) -> None:
        """Continue once the gap before `filled` was read; a hole in the log itself must not be read
        forever.
        """
        self.phase = Phase.STANDING
        queue = self._queue
        if queue and queue[0] is filled and not self.sink.paused:
            self._send_first()
        self.flush()

    def _send_first(self) -> None:
        update = self._queue.popleft()
        if update.revision > self.delivered:
            self.send(update)
            self.subscriber.on_delivered(self)


class _Replay:
    """Brings an `Every` from its last revision to a later one, from the log, as fast as its client
    reads.
    """

    __slots__ = ("_epoch", "_page", "_sent", "_subscription", "_then", "_until")

    def __init__(self, subscription: Every, until: int, then: Callable[[int], None]) -> None:
        """`then` gets the number of updates sent."""
        self._epoch = subscription.outlet.epoch
        self._subscription = subscription
        self._until = until
        self._then = then
        self._page: deque[Update] = deque()
        self._sent = 0

    def go_on(self) -> None:
        """Send what was read, read more, or end."""
        subscription, page = self._subscription, self._page
        if subscription.outlet.epoch != self._epoch:
            self._then(self._sent)  # the log is another history now
            return
        while page and not subscription.sink.paused:
            subscription.send(page.popleft())
            self._sent += 1
        if subscription.sink.paused:
            subscription.blocked = self
        elif subscription.delivered < self._until:
            next_page = min(self._until, subscription.delivered + REPLAY_PAGE)
            subscription.outlet.read_log(subscription, next_page, self._read)
        else:
            self._then(self._sent)

    def _read(self, updates: list[Update]) -> None:
        if updates and updates[0].epoch == self._epoch:
            self._page.extend(updates)
            self.go_on()
        else:
            self._then(self._sent)  # the log has a hole; `coalesced` of the next update says so
