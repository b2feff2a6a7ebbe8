"""Which brain serves which learner: rendezvous hashing, so that a brain more or less moves only its
own share.

Correctness never depends on it: brains agree through their store.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from edge.frames.incoming import AdaptData, Context, InteractionData
from edge.frames.outgoing import StateResponse
from edge.ports import Adapted, Applied, Done, LearnerSnapshot, Members, Update
from edge.upstream.brain import BrainLink
from edge.upstream.rooms import RoomsLink
from edge.upstream.watch import WatchLink
from service_runtime.trace_context import TraceContext


def owner(key: str, addresses: Sequence[str]) -> int:
    """Return the index of the address that serves `key` (highest random weight; Thaler and
    Ravishankar 1998).
    """
    if len(addresses) == 1:
        return 0
    weights = [
        hashlib.blake2b(f"{address}|{key}".encode(), digest_size=8).digest()
        for address in addresses
    ]
    return weights.index(max(weights))


class Brains:
    """All brains as one: a Brain, a Feed and a RoomLink that ask the right one."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """The links are added by the composition root, in the order of the addresses."""
        self._addresses = tuple(addresses)
        self.links: list[BrainLink] = []
        self.watches: list[WatchLink] = []
        self.room_links: list[RoomsLink] = []

    def index(self, key: str) -> int:
        """Return which brain serves a learner or room."""
        return owner(key, self._addresses)

    def of(self, learner_id: str) -> BrainLink:
        """Return the brain that serves a learner."""
        return self.links[self.index(learner_id)]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The brains' addresses, in the order of the links."""
        return self._addresses

    @property
    def ready(self) -> bool:
        """Whether every brain is reached."""
        return all(watch.is_open.is_set() for watch in self.watches)

    def interact(
        self,
        data: InteractionData,
        context: Context,
        *,
        interaction_id: str,
        received_at_ms: int,
        trace: TraceContext,
        done: Done[Applied],
    ) -> None:
        """Send an interaction to its learner's brain."""
        self.of(data.learner_id).interact(
            data,
            context,
            interaction_id=interaction_id,
            received_at_ms=received_at_ms,
            trace=trace,
            done=done,
        )

    def get_state(self, learner_id: str, *, min_revision: int, done: Done[StateResponse]) -> None:
        """Read a state from its learner's brain."""
        self.of(learner_id).get_state(learner_id, min_revision=min_revision, done=done)

    def adapt(self, data: AdaptData, *, done: Done[Adapted]) -> None:
        """Adapt content by its learner's brain."""
        self.of(data.learner_id).adapt(data, done=done)

    def replay(self, learner_id: str, *, after: int, until: int, done: Done[list[Update]]) -> None:
        """Read missed updates from its learner's brain."""
        self.of(learner_id).replay(learner_id, after=after, until=until, done=done)

    async def history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> dict[str, Any]:
        """Return a page of a learner's log. Raises UpstreamError."""
        return await self.of(learner_id).history(
            learner_id, after=after, limit=limit, newest=newest
        )

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        """Delete everything stored about a learner. Raises UpstreamError."""
        return await self.of(learner_id).erase(learner_id, requested_by=requested_by)

    def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner. Raises UpstreamError."""
        return self.of(learner_id).export(learner_id, requested_by=requested_by)

    def watch(self, learner_id: str, done: Done[LearnerSnapshot]) -> None:
        """Begin or change watching a learner."""
        self.watches[self.index(learner_id)].watch(learner_id, done)

    def unwatch(self, learner_id: str) -> None:
        """Stop watching a learner."""
        self.watches[self.index(learner_id)].unwatch(learner_id)

    def join(self, room_id: str, member: Any, done: Done[Members]) -> None:
        """Bring a member into a room."""
        self.room_links[self.index(room_id)].join(room_id, member, done)

    def leave(self, room_id: str, connection_id: str, done: Done[bool] | None) -> None:
        """Take a member out of a room."""
        self.room_links[self.index(room_id)].leave(room_id, connection_id, done)

    def publish(self, room_id: str, connection_id: str, data: bytes, done: Done[bool]) -> None:
        """Send a message to the others in a room."""
        self.room_links[self.index(room_id)].publish(room_id, connection_id, data, done)
