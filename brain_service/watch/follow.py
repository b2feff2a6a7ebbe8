"""One watcher's position in one learner's history: what it got, what waits for it, what it must
fetch from the log.

`watch` drives it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from brain_service.engine.publication import Publication

if TYPE_CHECKING:
    from brain_service.model.alerts import Crossing

MAX_TRACEPARENTS: Final = 16
"""An update names at most this many of the interactions behind it."""
MAX_CROSSINGS: Final = 64
"""Above this many crossings in one slot, only the newest of each name and direction are kept."""


class Crossed(NamedTuple):
    """A crossing and where it happened."""

    revision: int
    crossing: Crossing


class Update(NamedTuple):
    """An update about one learner for a watcher."""

    publication: Publication
    """The revision; without an assessment only when the learner is gone."""
    coalesced: int
    """Revisions skipped since the last update."""
    crossings: tuple[Crossed, ...]
    """Everything that crossed since the last update, oldest first."""
    traceparents: tuple[str, ...]
    """Trace contexts of the interactions behind it, newest first."""


class Follow:
    """Follows one learner for one watcher: revisions strictly grow and none comes twice.

    Three revisions are its position: `sent` (last) ≤ `position` (last in hand) ≤ `known` (newest
    that exists). While `position` is less than `known`, the watcher is behind and the missing ones
    come from the log. Until `start` it only collects, so that nothing published while its starting
    point is being read gets lost.
    """

    __slots__ = ("_crossings", "_early", "_limit", "_newest", "_pending", "_seen", "_traceparents",
        "every", "gone",
                 "known", "learner_id", "sent")  # fmt: skip

    def __init__(self, learner_id: str, *, every: bool, limit: int) -> None:
        """Follow `learner_id` in `every` or latest mode, holding at most `limit` publications."""
        self.learner_id = learner_id
        self.every = every
        self.gone = False
        self.sent = self.known = self._seen = 0
        self._limit = limit
        self._early: deque[Publication] | None = deque(maxlen=limit)
        self._pending: deque[Publication] = deque()
        self._newest: Publication | None = None
        self._crossings: list[Crossed] = []
        self._traceparents: deque[str] = deque(maxlen=MAX_TRACEPARENTS)

    @property
    def behind(self) -> bool:
        """Return whether revisions are missing that only the log has."""
        return self.known > self._seen and not self.gone

    @property
    def due(self) -> bool:
        """Return whether `take` or the log has something for the watcher."""
        return self._early is None and (self.gone or self.known > self.sent)

    @property
    def room(self) -> int:
        """How many more publications may be held."""
        return self._limit - len(self._pending)

    @property
    def position(self) -> int:
        """The revision after which to read the log."""
        return self._seen

    def start(self, told: int, known: int, *, lookback: int | None = None) -> None:
        """Start after revision `told`; `known` is the store's newest revision.

        Of what was missed, only the last `lookback` revisions are fetched from the log; None
        fetches all.
        """
        early, self._early = self._early or (), None
        self.sent = self._seen = told
        self.known = max(told, known)
        if lookback is not None:
            self._seen = max(told, self.known - lookback)
        for publication in early:
            # An erasure before the first look at the store is part of that look, which then found
            # nothing.
            if not publication.gone or self.known:
                self.offer(publication)

    def offer(self, publication: Publication) -> bool:
        """Handle a publication, in any order and however often; returns whether something is
        due.
        """
        if self._early is not None:
            self._early.append(publication)
            return False
        if publication.gone:
            self._vanish()
        elif publication.revision > self.known:
            self.known = publication.revision
        if (
            publication.revision == self._seen + 1
            and publication.assessment is not None
            and not self.gone
        ):
            self._hold(publication)
        return self.due

    def observe(self, revision: int, known_before: int) -> bool:
        """Compare with the store's `revision`, read when `known` was `known_before`; returns
        whether something is due.

        A learner ahead of the store was erased, and the message about it was lost.
        """
        if self._early is not None:
            return False
        if revision < known_before:
            self._vanish()
        self.known = max(self.known, revision)
        return self.due

    def catch_up(self, publications: Iterable[Publication]) -> None:
        """Take a page of the log that starts after `position`; an empty one means the log has no
        more for now.
        """
        before = self._seen
        for publication in publications:
            if publication.revision > self._seen and not self.gone:
                self._hold(publication)
        if self._seen == before:
            self.known = before

    def take(self, limit: int) -> list[Update]:
        """Return at most `limit` updates and count them as sent. A latest follower stays silent
        while it is behind.
        """
        if self.gone:
            return [Update(Publication(self.learner_id, 0, None, (), "", 0, gone=True), 0, (), ())]
        if not self.every:
            return self._take_newest()
        updates: list[Update] = []
        while self._pending and len(updates) < limit:
            publication = self._pending.popleft()
            traceparents = (publication.traceparent,) if publication.traceparent else ()
            # Rows deleted from the log before they were read.
            skipped = publication.revision - self.sent - 1
            updates.append(Update(publication, skipped, tuple(_crossed(publication)), traceparents))
            self.sent = publication.revision
        return updates

    def _take_newest(self) -> list[Update]:
        newest = self._newest
        if newest is None or self.behind:
            return []
        update = Update(
            newest,
            newest.revision - self.sent - 1,
            tuple(self._crossings),
            tuple(self._traceparents),
        )
        self.sent = newest.revision
        self._clear()
        return [update]

    def _hold(self, publication: Publication) -> None:
        if self.every:
            if self.room <= 0:
                return
            self._pending.append(publication)
        else:
            self._newest = publication
            self._crossings += _crossed(publication)
            if len(self._crossings) > MAX_CROSSINGS:
                newest = {
                    (crossed.crossing.name, crossed.crossing.rising): crossed
                    for crossed in self._crossings
                }
                self._crossings = sorted(newest.values(), key=lambda crossed: crossed.revision)
            if publication.traceparent:
                self._traceparents.appendleft(publication.traceparent)
        self._seen = publication.revision
        self.known = max(self.known, self._seen)

    def _vanish(self) -> None:
        # Erased data is not sent any more, not even what was waiting.
        self.gone = True
        self._pending.clear()
        self._clear()

    def _clear(self) -> None:
        self._newest = None
        self._crossings = []
        self._traceparents.clear()


def _crossed(publication: Publication) -> list[Crossed]:
    return [Crossed(publication.revision, crossing) for crossing in publication.crossings]
