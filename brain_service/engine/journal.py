"""What the engine asks of a durable log, in the engine's terms: the values, the errors and the
`Store` protocol.

Knows no database and no transport. `store.SqlStore` implements the protocol; a test double is a
subclass with a twist.
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
    "Standing",
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


class Standing(NamedTuple):
    """Where a learner stands, as far as it can be told without reading what is stored of them."""

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
    """The encoded assessment, where the stored one cannot be read; None leaves what was told."""


class Aged(NamedTuple):
    """A row that is old enough to leave the log."""

    place: int
    learner_key: int
    row: LogRow


class Base(NamedTuple):
    """Where the log of a learner begins."""

    revision: int
    """Up to this one it is not kept any more; 0 while all of it is."""
    state: bytes
    """The encoded state at that revision; empty at revision 0."""
    assessment: bytes
    """The encoded assessment told last."""


class Shortened(NamedTuple):
    """The beginning of a learner's log that is to leave, and what takes its place."""

    learner_key: int
    before: int
    """Up to this revision the log was not kept already."""
    revision: int
    """Up to this revision it is not kept from now on."""
    state: bytes
    """The encoded state at that revision."""
    places: Sequence[int]


class BankTotals(NamedTuple):
    """What the store knows of some items and subjects, each as (value, weight); what `Bank.load`
    takes.
    """

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
        """A UUID made once with the database: another one means that the history is another one."""

    async def load(self, learner_ids: Sequence[str]) -> dict[str, Head]:
        """Return where these learners stand; unknown ones are absent."""

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

        The audit log tells who `recorded` how many of the rows for others.

        Rows of one learner come in growing revision order. Raises `ConflictError` when anything is
        there already.
        """

    def commit_at_once(self, row: Row) -> bool:
        """Write one row of a known learner on the calling thread, durable on return, if that takes
        no longer than handing it over; False, and nothing is written, where it may.

        Raises `ConflictError` when anything is there already.
        """

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the newest revisions; unknown learners are absent."""

    async def history(
        self, learner_id: str, *, after_revision: int, limit: int, newest: bool
    ) -> list[LogRow]:
        """Return rows after a revision, or the last ones, oldest first; at most `limit`."""

    async def standings(self, *, after: int, limit: int, stamp: int) -> list[Standing]:
        """Return learners that have interactions, in the order of their keys, those after one.

        At most `limit`, with the first `stamp` bytes of their states.
        """

    async def interactions(
        self, learner_key: int, *, after_revision: int, limit: int
    ) -> list[LogRow]:
        """Return the first rows of a learner after a revision, oldest first; at most `limit`."""

    async def rebuild(self, learners: Sequence[Rebuilt]) -> list[int]:
        """Put states in place of the newest ones, in one transaction; returns the keys of learners
        who were put right.

        Others have moved on meanwhile, or were erased: nothing of theirs has changed.
        """

    async def aged(self, *, before_ms: int, limit: int) -> list[Aged]:
        """Return the oldest rows of all learners, oldest first, up to the first that was received
        at a time (Unix milliseconds) or later; at most `limit`.
        """

    async def bases(self, learner_keys: Sequence[int]) -> dict[int, Base]:
        """Return where the logs of these learners begin; unknown ones are absent."""

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions up to which the logs of these learners are not kept any more, where
        that is above 0.
        """

    async def shorten(self, learners: Sequence[Shortened]) -> int:
        """Take rows out of the log and put states in their place, in one transaction; returns how
        many rows went.

        Whoever's log begins elsewhere by now, or was erased, is left out.
        """

    async def record_rebuild(self, action: str, *, at_ms: int, learners: int) -> None:
        """Write to the audit log that rebuilding begins ("rebuild") or has ended ("rebuilt")."""

    async def bank(self, items: Sequence[str], subjects: Sequence[str]) -> BankTotals:
        """Return the shared bank's totals for these items and subjects; unknown ones are absent."""

    async def prune_bank(self, *, before_day: int, items: int, subjects: int) -> int:
        """Delete items and subjects that nobody taught since a day (days since 1970), and those
        with the least behind them while there are more than so many; returns how many went.
        """

    async def declare(self, kind: str, names: Collection[str]) -> tuple[int, int]:
        """Make these all the declared names of a kind, "item" or "subject"; returns how many are
        new and how many went.
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
        """Return the bodies of what systems outside are still to be told of a learner."""

    async def audit(self, *, learner_id: str | None = None, after: int = 0) -> list[AuditEntry]:
        """Return the audit log's lines after one, oldest first; of one learner, or of all.

        Who recorded interactions is not among them, nor in any learner's.
        """

    async def newest_audit(self, limit: int) -> list[AuditEntry]:
        """Return the last lines of the audit log, of all kinds, oldest first."""
