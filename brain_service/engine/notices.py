"""Notices about learners for outside systems: the values, and the protocols between the engine and
the dispatcher. Depends on no database and no transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from brain_service.model import Assessment


class Notice(NamedTuple):
    """One message for one endpoint, committed with the interaction behind it."""

    endpoint: str
    """The endpoint's name in the settings."""
    learner_id: str
    message_id: str
    """The same for every attempt, so that receivers recognise repetitions."""
    since_ms: int
    """When it was made, Unix milliseconds."""
    body: bytes


class Waiting(NamedTuple):
    """A notice to deliver now."""

    place: int
    """Unique, and growing for each learner."""
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
    """A few words, without the receiver's own text."""
    dead: bool
    """Whether it was given up."""


class DeadLetter(NamedTuple):
    """A notice that was given up."""

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
    """When the oldest waiting one was made; 0 if none waits."""


class Notifier(Protocol):
    """Makes notices, and is told when they are durable. Both calls are quick."""

    def notices(
        self, learner_id: str, before: int, assessment: Assessment, occurred_at_ms: int
    ) -> Sequence[Notice]:
        """Return the notices of a learner whose attention was `before`."""

    def written(self) -> None:
        """Notices have been committed."""


class Outbox(Protocol):
    """Notices that are durable and not delivered yet. Every method may raise
    `StoreUnavailableError`.

    Only the lease holder delivers, so that several brains do not send the same.
    """

    async def lease(self, holder: str, seconds: float) -> bool:
        """Take or extend the lease; False while somebody else holds it."""

    async def release(self, holder: str) -> None:
        """Give the lease back, if `holder` has it."""

    async def due(self, endpoint: str, *, now_ms: int, limit: int) -> list[Waiting]:
        """Return notices to deliver now, oldest first: the first waiting one of each learner."""

    async def delivered(self, places: Sequence[int]) -> None:
        """Delete notices."""

    async def postpone(self, notices: Sequence[Postponed], *, now_ms: int) -> None:
        """Record an attempt, and when the next one is due, if any."""

    async def sweep(self, *, dead_before_ms: int, gone_before_ms: int, now_ms: int) -> int:
        """Give up notices made before one time, and delete those given up before another; returns
        how many were given up.
        """

    async def backlog(self) -> dict[str, Backlog]:
        """Return what waits, by endpoint."""

    async def dead(self, *, limit: int) -> list[DeadLetter]:
        """Return dead letters, oldest first."""

    async def redeliver(self, message_ids: Sequence[str], *, now_ms: int) -> int:
        """Queue these dead letters again, or all if none is named; returns how many."""
