"""What the engine needs from a durable log: the values, the errors and the `Store` protocol.

Depends on no database and no transport. `store.SqlStore` implements the protocol; test doubles
subclass that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from brain_service.engine.notices import Notice
from brain_service.model.increments import BankIncrements
from service_runtime.database.errors import (
    ConflictError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)

__all__ = [
    "Aged",
    "AuditEntry",
    "BankTotals",
    "Base",
    "ConflictError",
    "Declared",
    "Head",
    "LogRow",
    "Rebuilt",
    "Row",
    "SchemaError",
    "Shortened",
    "StateStamp",
    "Store",
    "StoreError",
    "StoreUnavailableError",
]


class Row(NamedTuple):
    """One applied interaction on its way into the log; a plain tuple, because the hot path makes
    one for each.
    """

    learner_id: str
    """Whose it is."""
    learner_key: int
    """The store's number of the learner; 0 when the learner has none yet and this commit should
    make it.
    """
    revision: int
    """The revision it makes, the learner's last one plus one."""
    interaction_id: str
    """Unique per learner."""
    kind: str
    """The model's name for the kind of interaction."""
    content: str
    """As sent."""
    response: str | None
    """As sent; None when there was none."""
    context_json: bytes
    """The whole context, a JSON object."""
    occurred_at_ms: int
    """The time the model counted with, Unix milliseconds."""
    received_at_ms: int
    """When it reached the system, Unix milliseconds."""
    traceparent: str
    """W3C trace context; empty when there was none."""
    assessment: bytes
    """The encoded assessment."""
    state: bytes
    """The encoded state after it."""


class LogRow(NamedTuple):
    """One applied interaction as read from the log; the fields of `Row` that history and export
    need.
    """

    revision: int
    interaction_id: str
    kind: str
    content: str
    response: str | None
    context_json: bytes
    occurred_at_ms: int
    received_at_ms: int
    traceparent: str
    assessment: bytes


class Head(NamedTuple):
    """Where a learner stands: the newest row, as far as the engine needs it."""

    learner_key: int
    revision: int
    occurred_at_ms: int
    assessment: bytes
    state: bytes


class StateStamp(NamedTuple):
    """Where a learner stands, without reading the stored bytes."""

    learner_key: int
    revision: int
    """Of the newest row; at least 1."""
    stamp: bytes
    """The first bytes of its state; what they mean is `codec`'s to say."""


class Rebuilt(NamedTuple):
    """A learner's newest state, computed anew from the log."""

    learner_key: int
    revision: int
    """The revision whose state it is; the learner must still stand there."""
    state: bytes
    assessment: bytes | None = None
    """The encoded assessment, where the stored one is unreadable; None keeps the stored one."""


class Aged(NamedTuple):
    """A row that is old enough to leave the log."""

    place: int
    learner_key: int
    row: LogRow


class Base(NamedTuple):
    """Where the log of a learner begins."""

    revision: int
    """The log was deleted up to this revision; 0 while it is complete."""
    state: bytes
    """The encoded state at that revision; empty at revision 0."""
    assessment: bytes
    """The last encoded assessment."""


class Shortened(NamedTuple):
    """The beginning of a learner's log that will be deleted, and the state that replaces it."""

    learner_key: int
    before: int
    """The log was already deleted up to this revision."""
    revision: int
    """It is deleted up to this revision from now on."""
    state: bytes
    """The encoded state at that revision."""
    places: Sequence[int]


class BankTotals(NamedTuple):
    """The store's totals for some items and subjects, each as (value, weight), for `Bank.load`."""

    items: dict[str, tuple[float, float]]
    """Easiness and answers."""
    norms: dict[str, tuple[float, float]]
    """Mean log time and observations."""


class Declared(NamedTuple):
    """The items and subjects that an operator declared, and a name of this list of them."""

    version: str
    """Empty while nothing was ever declared."""
    items: frozenset[str]
    subjects: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log. It names the learner by key and by a keyed digest, never by the
    id.
    """

    audit_id: int
    at_ms: int
    action: str
    """"export" or "erase"; "rebuild" and "rebuilt" are about all learners; "record" is about those
    for whom a service recorded interactions.
    """
    requested_by: str
    learner_key: int
    """The store's number of the learner, never used again; 0 when the learner was unknown."""
    interactions: int
    """How many interactions were exported, erased or recorded; how many learners are to be
    rebuilt.
    """


class Store(Protocol):
    """A durable log of applied interactions.

    Every method may raise `StoreUnavailableError`. Cancelling one does not stop what runs: it may
    still take effect.
    """

    @property
    def epoch(self) -> str:
        """A UUID made with the database; a different one means a different history."""

    async def load(self, learner_ids: Sequence[str], *, to_write: bool = False) -> dict[str, Head]:
        """Return where these learners stand; unknown ones are absent. `to_write` says that they
        are committed next: it may wait for a commit that is under way.
        """

    async def find(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], LogRow]:
        """Return the rows of these (learner id, interaction id); unknown ones are absent."""

    async def commit(
        self,
        rows: Sequence[Row],
        increments: BankIncrements,
        notices: Sequence[Notice] = (),
        recorded: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Write rows, increments and notices about learners of the rows in one transaction, durable
        on return; returns the keys of learners that it made.

        The audit log notes who `recorded` how many of the rows for others.

        Rows of one learner come in growing revision order. Raises `ConflictError` when anything is
        there already.
        """

    def commit_at_once(self, row: Row) -> bool:
        """Write one row of a known learner on the calling thread, durable on return. False, and
        nothing is written, where that might take longer than handing it to a thread.

        Raises `ConflictError` when anything is there already.
        """

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the newest revisions; unknown learners are absent."""

    async def history(
        self, learner_id: str, *, after_revision: int, limit: int, newest: bool
    ) -> list[LogRow]:
        """Return rows after a revision, or the last ones, oldest first; at most `limit`."""

    async def stamps(self, *, after: int, limit: int, stamp: int) -> list[StateStamp]:
        """Return learners that have interactions, in the order of their keys, those after one.

        At most `limit`, with the first `stamp` bytes of their states.
        """

    async def interactions(
        self, learner_key: int, *, after_revision: int, limit: int
    ) -> list[LogRow]:
        """Return the first rows of a learner after a revision, oldest first; at most `limit`."""

    async def rebuild(self, learners: Sequence[Rebuilt]) -> list[int]:
        """Replace newest states in one transaction; returns the keys of the learners that were
        updated.

        Learners that moved on meanwhile or were erased are left unchanged.
        """

    async def aged(self, *, before_ms: int, limit: int) -> list[Aged]:
        """Return the oldest rows of all learners, oldest first, up to the first that was received
        at a time (Unix milliseconds) or later; at most `limit`.
        """

    async def bases(self, learner_keys: Sequence[int]) -> dict[int, Base]:
        """Return where the logs of these learners begin; unknown ones are absent."""

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions up to which the logs of these learners were deleted, where above
        0.
        """

    async def shorten(self, learners: Sequence[Shortened]) -> int:
        """Delete rows from the log and store states in their place, in one transaction; returns the
        number of rows.

        Skips learners whose log begins elsewhere by now, and erased ones.
        """

    async def record_rebuild(self, action: str, *, at_ms: int, learners: int) -> None:
        """Write to the audit log that rebuilding begins ("rebuild") or has ended ("rebuilt")."""

    async def bank(self, items: Sequence[str], subjects: Sequence[str]) -> BankTotals:
        """Return the shared bank's totals for these items and subjects; unknown ones are absent."""

    async def prune_bank(self, *, before_day: int, items: int, subjects: int) -> int:
        """Delete items and subjects not taught since a day (days since 1970), and those with the
        fewest answers above a maximum number; returns how many were deleted.
        """

    async def declare(self, kind: str, names: Collection[str]) -> tuple[int, int]:
        """Replace the declared names of a kind, "item" or "subject"; returns how many are new and
        how many were removed.
        """

    async def declared(self, known: str) -> Declared | None:
        """Return what is declared; None while its version is the `known` one."""

    async def erase(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Delete everything about a learner, write who asked to the audit log, and return how many
        interactions went.

        On return the bytes are gone from the database's files, unless another process kept reading
        them: then `StoreUnavailableError` says so, and erasing again finishes the work.
        """

    async def record_export(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Write to the audit log that someone asked for a learner's data; returns the newest
        revision, or 0.
        """

    async def notices_of(self, learner_id: str) -> list[bytes]:
        """Return the bodies of a learner's undelivered notices."""

    async def audit(self, *, learner_id: str | None = None, after: int = 0) -> list[AuditEntry]:
        """Return the audit log's lines after one, oldest first; of one learner, or of all.

        Lines about recorded interactions are not among them, nor in any learner's.
        """

    async def newest_audit(self, limit: int) -> list[AuditEntry]:
        """Return the last lines of the audit log, of all kinds, oldest first."""
