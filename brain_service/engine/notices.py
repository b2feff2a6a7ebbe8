"""What systems outside are told of learners, on its way into the store: the values, and what the
engine and who delivers ask of one another. Knows no database and no transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from brain_service.model import Assessment


class Notice(NamedTuple):
    """One message for one endpoint, which is committed together with the interaction behind it."""

    endpoint: str
    """The endpoint's name in the settings."""
    learner_id: str
    message_id: str
    """The same for every attempt: receivers tell repetitions by it."""
    since_ms: int
    """When it was made, Unix milliseconds."""
    body: bytes


class Waiting(NamedTuple):
    """A notice that is to be delivered now."""

    place: int
    """Never given twice, and growing for each learner."""
    message_id: str
    since_ms: int
    attempts: int
    """Made before."""
    body: bytes


class Postponed(NamedTuple):
    """A notice that could not be delivered."""

    place: int
    due_ms: int
    why: str
    """A few words that repeat nothing of the receiver's answer."""
    dead: bool
    """Whether it is not tried any more."""


class DeadLetter(NamedTuple):
    """A notice that is not tried any more."""

    message_id: str
    endpoint: str
    since_ms: int
    dead_ms: int
    attempts: int
    why: str
    body: bytes


class Backlog(NamedTuple):
    """What waits for an endpoint."""

    waiting: int
    dead: int
    oldest_ms: int
    """When the oldest that waits was made; 0 where nothing waits."""


class Notifier(Protocol):
    """Says what is to be told, and hears when that is durable. Both are quick."""

    def notices(
        self, learner_id: str, before: int, assessment: Assessment, occurred_at_ms: int
    ) -> Sequence[Notice]:
        """Return the notices of a learner whose attention was `before`."""

    def written(self) -> None:
        """Notices have been committed."""


class Outbox(Protocol):
    """Notices that are durable and not delivered yet. Every method may raise
    `StoreUnavailableError`.

    Only the holder of the lease delivers, so that several brains do not send the same.
    """

    async def lease(self, holder: str, seconds: float) -> bool:
        """Take or prolong the lease; False while somebody else holds it."""

    async def release(self, holder: str) -> None:
        """Give the lease back, if `holder` has it."""

    async def due(self, endpoint: str, *, now_ms: int, limit: int) -> list[Waiting]:
        """Return notices to deliver now, oldest first: of each learner the first that waits."""

    async def delivered(self, places: Sequence[int]) -> None:
        """Forget notices."""

    async def postpone(self, notices: Sequence[Postponed], *, now_ms: int) -> None:
        """Count an attempt, and say when the next one is due, or that there is none."""

    async def sweep(self, *, dead_before_ms: int, gone_before_ms: int, now_ms: int) -> int:
        """Give up notices made before a time, and forget those given up before another; returns how
        many were given up.
        """

    async def backlog(self) -> dict[str, Backlog]:
        """Return what waits, by endpoint."""

    async def dead(self, *, limit: int) -> list[DeadLetter]:
        """Return dead letters, oldest first."""

    async def redeliver(self, message_ids: Sequence[str], *, now_ms: int) -> int:
        """Have these dead letters delivered after all, or all where none is named; returns how
        many.
        """
