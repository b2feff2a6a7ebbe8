"""What the engine asks of a durable log, in the engine's terms: the values, the errors and the `Store` protocol.

Knows no database and no transport. `store.SqlStore` implements the protocol; a test double is a subclass with a twist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class StoreError(Exception):
    """The base of what a store raises; its text is one sentence that may be shown to an operator."""


class StoreUnavailableError(StoreError):
    """The store did not do it and nothing changed: locked, full, unreachable, damaged. Trying again later may succeed."""


class SchemaError(StoreError):
    """The database was made by another version of this program, or is none of ours."""


class ConflictError(StoreError):
    """Something written is there already (a repeated id, a revision that another brain took) or a learner was erased.

    Nothing changed; `Store.load` and `Store.find` tell which.
    """


class Row(NamedTuple):
    """One applied interaction on its way into the log. A plain tuple, because the hot path makes one per interaction."""

    learner_id: str
    """Whose it is."""
    learner_key: int
    """The store's number of the learner; 0 when the learner has none yet and this commit should make it."""
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
    outcome: bytes
    """The encoded outcome."""
    state: bytes
    """The encoded state after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a learner stands: the newest row, as far as the engine needs it."""

    learner_key: int
    revision: int
    interaction_id: str
    occurred_at_ms: int
    outcome: bytes
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row looked up by its interaction id."""

    revision: int
    occurred_at_ms: int
    outcome: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log."""

    audit_id: int
    at_ms: int
    action: str
    """"export" or "erase"."""
    requested_by: str
    learner_key: int
    """The store's number of the learner; 0 when the learner was unknown."""
    interactions: int
    """How many interactions were exported or erased."""


class Store(Protocol):
    """A durable log of applied interactions. Every method may raise `StoreUnavailableError`; cancelling one may or may not do it."""

    @property
    def epoch(self) -> str:
        """A UUID made once with the database: another one means that the history is another one."""

    async def load(self, learner_ids: Sequence[str]) -> dict[str, Head]:
        """Return where these learners stand; unknown ones are absent."""

    async def find(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Found]:
        """Return the rows of these (learner id, interaction id); unknown ones are absent."""

    async def commit(self, rows: Sequence[Row], bank: Any) -> dict[str, int]:
        """Write the rows and the bank's increments in one transaction, durable on return.

        Returns the keys of the learners whose `learner_key` was 0. Raises `ConflictError` when anything is there already.
        """

    async def revisions(self, learner_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the newest revisions; unknown learners are absent."""
