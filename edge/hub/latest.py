"""Delivers the newest state of a learner to one socket. It may skip updates and says so; it never
skips a crossing silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from edge.frames.outgoing import Crossing
from edge.hub.subscription import Outlet, Subscriber, Subscription
from edge.ports import LearnerSnapshot, Update
from edge.telemetry.tracing import MAX_CAUSES

MAX_RECALLED: Final = 1_000
"""Missed revisions whose crossings a resuming subscription still gets; beyond, it is not
recovered.
"""


class Latest(Subscription):
    """Gets the newest state, at once while its client reads, at most once per interval, with all
    crossings of skipped updates.
    """

    __slots__ = ("_causes", "_crossings", "_interval_s", "_next_at", "_recalled", "_slot", "direct")

    every = False

    def __init__(
        self,
        outlet: Outlet,
        subscriber: Subscriber,
        learner_id: str,
        resume: tuple[str, int] | None,
        *,
        interval_s: float,
    ) -> None:
        """Begin; `interval_s` is the least time between two updates."""
        super().__init__(outlet, subscriber, learner_id, resume)
        self.direct = False
        self._interval_s = interval_s
        self._slot: Update | None = None
        """The newest update, while it waits."""
        self._crossings: list[Crossing] = []
        """Crossings of updates that were skipped."""
        self._recalled: list[Crossing] = []
        """Crossings before the snapshot that the client does not know."""
        self._causes: tuple[tuple[int, Sequence[str]], ...] = ()
        """Trace contexts behind the update that waits, with their revisions, newest first."""
        self._next_at = 0.0

    def take(self, update: Update) -> None:
        """Replace the waiting update by this one, and add its crossings."""
        self._crossings += [one for one in update.crossings if one.revision > self.delivered]
        self.direct = False
        if update.revision > self.gate:
            self._slot = update
            if update.traceparents:
                cause = (update.revision, update.traceparents)
                self._causes = (cause, *self._causes)[:MAX_CAUSES]
            self.flush()

    def begin_epoch(self) -> None:
        """Drop what waits: it belongs to another history."""
        super().begin_epoch()
        self._slot, self._crossings, self._causes = None, [], ()

    def _recalls(self, missed: int) -> bool:
        return missed <= MAX_RECALLED

    def _catch_up(self, snapshot: LearnerSnapshot) -> None:
        self.outlet.read_log(self, snapshot.revision, partial(self._recall, snapshot))

    def _recall(self, snapshot: LearnerSnapshot, missed: list[Update]) -> None:
        """Let the next update list the crossings of the missed ones."""
        if snapshot.epoch == self.outlet.epoch:
            self._recalled += [crossing for update in missed for crossing in update.crossings]
        else:
            self._recalled = []
        self._caught_up(snapshot, 0)

    def _settle(self, snapshot: LearnerSnapshot) -> None:
        newer = [one for one in self._crossings if one.revision > snapshot.revision]
        self._crossings, self._recalled = self._recalled + newer, []
        self._causes = tuple(one for one in self._causes if one[0] > snapshot.revision)
        super()._settle(snapshot)

    def _send_waiting(self) -> None:
        if self._slot is not None:
            self._send_slot(self._slot)
        self.direct = not (self._interval_s or self._slot or self._crossings)

    def _send_slot(self, update: Update) -> None:
        now = self.outlet.now()
        if update.revision <= self.gate:
            self._slot, self._causes = None, ()
        elif now < self._next_at:
            self.outlet.wake(self, self._next_at)
        else:
            self._next_at = now + self._interval_s
            crossings, self._crossings = self._crossings, []
            causes, self._causes = self._causes, ()
            self._slot = None
            self.outlet.send(
                self, update, crossings, [one for _, several in causes for one in several]
            )
