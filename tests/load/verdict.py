"""Whether the server kept its promises while it was loaded: what was lost, came twice, out of
order, or was stale.

Pure: it is told what was sent and received. The promises are those of docs/protocol.md.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_REMEMBERED: Final = 256
"""Revisions that a view remembers, to tell what came twice from what came late."""
_EXAMPLES: Final = 5
_GAP_KEPT: Final = 10_000

LOST, DUPLICATED, OUT_OF_ORDER, STALE = KINDS = ("lost", "duplicated", "out_of_order", "stale")


class Verdict:
    """Counts broken promises by kind and keeps the first few of each, in words."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self.examples: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def found(self, kind: str, example: str, count: int = 1) -> None:
        """Count what was found."""
        self.counts[kind] += count
        if len(self.examples[kind]) < _EXAMPLES:
            self.examples[kind].append(example)

    @property
    def kept(self) -> bool:
        """True while no promise is known to be broken."""
        return not any(self.counts.values())


class Writes:
    """What the server acknowledged, of all sockets: no two interactions may have made the same
    revision.
    """

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._taken: dict[str, set[int]] = {}
        self.newest: dict[str, int] = {}
        """Greatest acknowledged revision of each learner."""

    def acknowledged(self, learner_id: str, revision: int) -> None:
        """Note the revision of one interaction; call it once for each, however often it was
        sent.
        """
        taken = self._taken.setdefault(learner_id, set())
        if revision in taken:
            self._verdict.found(
                DUPLICATED, f"two interactions of {learner_id} were acknowledged as {revision}"
            )
        taken.add(revision)
        if revision > self.newest.get(learner_id, 0):
            self.newest[learner_id] = revision

    def account(self, learner_id: str, before: int, after: int, *, sole_writer: bool) -> int:
        """Compare revisions before and after the run with what was acknowledged; return those that
        nobody explains.

        They are other writers' work, or interactions applied twice: which of them, only a sole
        writer knows.
        """
        taken = self._taken.get(learner_id, set())
        unexplained = after - before - len(taken)
        if unexplained < 0 or (taken and max(taken) > after):
            self._verdict.found(
                LOST,
                f"{learner_id} went from revision {before} to {after} although {len(taken)} were"
                " acknowledged",
                max(1, -unexplained),
            )
            return 0
        if unexplained and sole_writer:
            self._verdict.found(
                DUPLICATED,
                f"{learner_id}: {unexplained} more revisions than interactions",
                unexplained,
            )
        return unexplained


class View:
    """What one client was shown of one learner, over all its sockets.

    `every`: no revision may be missing. Otherwise those may that an update says it skipped
    (`coalesced`).
    """

    def __init__(self, verdict: Verdict, name: str, learner_id: str, *, every: bool) -> None:
        """`name` is the client's, for examples."""
        self._verdict = verdict
        self._name = f"{name} of {learner_id}"
        self.learner_id = learner_id
        self.every = every
        self.epoch = ""
        self.revision = -1
        """Newest that was shown; -1 before the first `subscribed`."""
        self.written = 0
        """Newest acknowledged on the present socket."""
        self.coalesced = 0
        """Updates that were skipped, and said to be."""
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._missing: set[int] = set()

    def reconnected(self) -> None:
        """Begin on a new socket, which has written nothing yet."""
        self.written = 0

    def subscribed(self, epoch: str, revision: int) -> None:
        """The server answered a subscription; an `every` one after the updates that were missed."""
        if self.epoch and epoch != self.epoch:
            self._verdict.found(LOST, f"{self._name}: the history was lost, the epoch is another")
            self.revision = -1
        self.epoch = epoch
        if self.revision >= 0 and revision < self.revision:
            self._verdict.found(
                STALE, f"{self._name}: subscribed at {revision}, {self.revision} was shown before"
            )
            return
        if self.every and 0 <= self.revision < revision:
            self._miss(self.revision + 1, revision + 1)
        self._check_written("subscribed", revision)
        self.revision = revision

    def updated(self, revision: int, coalesced: int) -> None:
        """A `state_update` came."""
        if revision <= self.revision:
            self._not_new(revision)
            return
        if self.revision >= 0:
            skipped = 0 if self.every else coalesced
            self.coalesced += coalesced
            self._miss(self.revision + 1 + skipped, revision)
        self._check_written("update", revision)
        self.revision = revision
        self._recent.append(revision)

    def read(self, revision: int) -> None:
        """A `state_response` came."""
        self._check_written("state", revision)

    def acknowledged(self, revision: int) -> None:
        """A write of this socket was acknowledged."""
        self.written = max(self.written, revision)

    def end(self, newest: int) -> None:
        """Nothing will come any more; `newest` is the learner's greatest acknowledged revision."""
        if self.revision < newest:
            if self.every:
                self._miss(self.revision + 1, newest + 1)
            else:
                self._verdict.found(
                    STALE, f"{self._name}: the last shown is {self.revision}, not {newest}"
                )
        if self._missing:
            first = min(self._missing)
            self._verdict.found(
                LOST, f"{self._name}: update {first} never came", len(self._missing)
            )
            self._missing.clear()

    def _miss(self, first: int, end: int) -> None:
        kept = range(first, end)[: max(0, _GAP_KEPT - len(self._missing))]
        self._missing.update(kept)
        if beyond := max(0, end - first) - len(kept):
            self._verdict.found(LOST, f"{self._name}: {beyond} updates in a row never came", beyond)

    def _not_new(self, revision: int) -> None:
        if revision in self._missing:
            self._missing.discard(revision)
        elif revision == self.revision or revision in self._recent:
            self._verdict.found(DUPLICATED, f"{self._name}: update {revision} came twice")
            return
        self._verdict.found(
            OUT_OF_ORDER, f"{self._name}: update {revision} came after {self.revision}"
        )
        self._recent.append(revision)

    def _check_written(self, what: str, revision: int) -> None:
        if revision < self.written:
            self._verdict.found(
                STALE,
                f"{self._name}: {what} shows {revision} on the socket that had written"
                f" {self.written}",
            )
