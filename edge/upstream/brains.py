"""All brains as one: calls the one that serves a learner or room, and follows as brains come and
go.

The ring has the brains that serve now: known and reachable. One whose stream has been closed for a
while leaves it until the stream is open again; a new one enters with its stream. What a brain that
lost its share has not answered is sent to the learner's new brain in the same order under the same
ids, so clients do not notice.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from edge.frames.incoming import AdaptData
from edge.frames.outgoing import StateResponse, VirtualBrainResponse
from edge.hub.hub import Hub
from edge.hub.rooms import Rooms
from edge.ports import Adapted, Done, Interaction, LearnerSnapshot, Members, Update, UpstreamError
from edge.upstream import discovery
from edge.upstream.brain import BrainLink
from edge.upstream.discovery import Resolve
from edge.upstream.rooms import RoomsLink
from edge.upstream.routing import owner
from edge.upstream.watch import WatchLink
from service_runtime.grpc_client import Channel

logger = logging.getLogger(__name__)

FAILOVER_S: Final = 0.5
"""How long a brain's stream may be closed before others serve its learners, so that a network
hiccup moves nobody.
"""
_NEVER_OPEN: Final = -math.inf
_AGAIN_S: Final = 0.2
"""Seconds between two tries while no brain can answer."""

Answer = TypeVar("Answer")

Make = Callable[
    [str, Callable[[str], bool], Callable[[], None]],
    tuple[Channel, BrainLink, WatchLink, RoomsLink],
]
"""Makes the links to the brain at an address. They ask whether a learner or room is theirs, and
report when their stream opens or closes.
"""


@dataclass(slots=True, eq=False)
class Node:
    """This edge's links to one brain."""

    address: str
    channel: Channel
    link: BrainLink
    watch: WatchLink
    rooms: RoomsLink
    closed_at: float | None
    """When its stream closed, by the loop's clock; None while it is open."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Brains:
    """A Brain, a Feed and a RoomLink over all brains. All methods belong to one event loop."""

    def __init__(self, addresses: Sequence[str], *, patience_s: float = 5.0) -> None:
        """`begin` makes the links. Unanswered calls are retried for `patience_s`."""
        self._settings = tuple(addresses)
        self._patience_s = patience_s
        self._nodes: dict[str, Node] = {}
        self._ring: tuple[Node, ...] = ()
        self._ring_addresses: tuple[str, ...] = ()
        self._is_running = False

    def begin(self, make: Make, hub: Hub, rooms: Rooms) -> None:
        """Make the links to the named brains; `run` makes them work."""
        self._make, self._hub, self._rooms = make, hub, rooms
        for address in map(discovery.target, self._settings):
            self._add(address)
        self._review()

    async def run(self, *, every_s: float, resolve: Resolve = discovery.resolve) -> None:
        """Talk to the brains until cancelled, and resolve names again periodically."""
        self._is_running = True
        try:
            for node in self._nodes.values():
                self._start(node)
            if not any(map(discovery.is_name, self._settings)):
                await asyncio.get_running_loop().create_future()
            while True:
                await self._look(resolve)
                await asyncio.sleep(every_s)
        finally:
            self._is_running = False
            for node in list(self._nodes.values()):
                await _end(node)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All known brains."""
        return tuple(self._nodes.values())

    @property
    def ready(self) -> bool:
        """Whether every learner has a reachable brain."""
        return any(map(_is_reached, self._ring))

    @property
    def clocks_agree(self) -> bool:
        """Whether no brain's clock is far from ours."""
        return not any(node.watch.skew.is_large for node in self.nodes)

    def node(self, key: str) -> Node:
        """Return the brain that serves a learner or room."""
        return self._ring[owner(key, self._ring_addresses)]

    def of(self, learner_id: str) -> BrainLink:
        """Return the link to the brain that serves a learner."""
        return self.node(learner_id).link

    # Membership

    async def _look(self, resolve: Resolve) -> None:
        try:
            found = await resolve(self._settings)
        except OSError as error:
            logger.warning("brains' names cannot be resolved", extra={"error": str(error)})
            return
        if not found:
            return
        for address in found:
            if address not in self._nodes:
                self._start(self._add(address, is_new=True))
        gone = [node for address, node in self._nodes.items() if address not in found]
        # A brain keeps its share until its successors are reachable.
        stay = [node for node in self._nodes.values() if node not in gone]
        if any(map(_is_reached, gone)) and not any(map(_is_reached, stay)):
            return
        for node in gone:
            del self._nodes[node.address]
        self._review()
        for node in gone:
            logger.info("a brain has left", extra={"address": node.address})
            await _end(node)

    def _add(self, address: str, *, is_new: bool = False) -> Node:
        node: Node

        def is_mine(key: str) -> bool:
            return self.node(key) is node

        def changed() -> None:
            self._on_change(node)

        # The first brains have a moment to answer; a new one must prove itself first.
        closed_at = _NEVER_OPEN if is_new else asyncio.get_running_loop().time()
        node = Node(address, *self._make(address, is_mine, changed), closed_at)
        self._nodes[address] = node
        return node

    def _start(self, node: Node) -> None:
        for link in (node.link, node.watch, node.rooms):
            node.tasks.append(asyncio.create_task(link.run()))
        if node.closed_at not in (None, _NEVER_OPEN):
            node.closed_at = asyncio.get_running_loop().time()
            self._review_soon()

    def _on_change(self, node: Node) -> None:
        loop = asyncio.get_running_loop()
        node.closed_at = None if _is_reached(node) else loop.time()
        if node.closed_at is None:
            self._review()
        else:
            self._review_soon()

    def _review_soon(self) -> None:
        if self._is_running:
            asyncio.get_running_loop().call_later(FAILOVER_S, self._review)

    def _review(self) -> None:
        """Let the reachable brains serve; while there are none, keep the previous ones."""
        now = asyncio.get_running_loop().time()
        nodes = sorted(self._nodes.values(), key=lambda node: node.address)
        is_anybody_reached = any(map(_is_reached, nodes))
        lately = [
            node for node in nodes if node.closed_at is None or now - node.closed_at < FAILOVER_S
        ]
        ring = tuple(
            lately if is_anybody_reached else [n for n in nodes if n in self._ring] or nodes
        )
        if ring and ring != self._ring:
            self._change(ring)

    def _change(self, ring: tuple[Node, ...]) -> None:
        before, self._ring = self._ring, ring
        self._ring_addresses = tuple(node.address for node in ring)
        if not before:
            return
        logger.info(
            "the brains that serve have changed", extra={"brains": ", ".join(self._ring_addresses)}
        )
        # A brain keeps its share when others leave; when one joins, all lose a part.
        grows = any(node not in before for node in ring)
        losers = [node for node in before if grows or node not in ring]
        self._ask_again(losers)
        self._move_watches(before)
        self._move_rooms(before)

    def _ask_again(self, losers: Iterable[Node]) -> None:
        for node in losers:
            for interaction, done, queued in node.link.interactions.withdraw():
                new = self.of(interaction.data.learner_id).interactions
                new.submit(interaction, done, queued)
            for query, done, queued in node.link.states.withdraw():
                self.of(query.learner_id).states.submit(query, done, queued)
            for learner_id, done, queued in node.watch.changes.withdraw():
                self.node(learner_id).watch.changes.submit(learner_id, done, queued)

    def _move_watches(self, before: Sequence[Node]) -> None:
        for learner_id in self._hub.learners():
            old, new = _served(learner_id, before), self.node(learner_id)
            if old is not new:
                new.watch.watch(learner_id, _ignore)
                if _is_reached(old):
                    old.watch.unwatch(learner_id)

    def _move_rooms(self, before: Sequence[Node]) -> None:
        coming: dict[Node, set[str]] = {}
        going: dict[Node, set[str]] = {}
        for room_id, _ in self._rooms.memberships():
            old, new = _served(room_id, before), self.node(room_id)
            if old is not new:
                coming.setdefault(new, set()).add(room_id)
                going.setdefault(old, set()).add(room_id)
        for node, room_ids in coming.items():
            node.rooms.take_over(room_ids)
        for node, room_ids in going.items():
            node.rooms.hand_over(room_ids)

    # Calls

    def interact(
        self, interaction: Interaction, done: Done[VirtualBrainResponse], *, alone: bool = False
    ) -> None:
        """Send an interaction to its learner's brain; see `BrainLink.interact`."""
        self.of(interaction.data.learner_id).interact(interaction, done, alone=alone)

    def get_state(self, learner_id: str, *, min_revision: int, done: Done[StateResponse]) -> None:
        """Read a state from its learner's brain."""
        self.of(learner_id).get_state(learner_id, min_revision=min_revision, done=done)

    def adapt(self, data: AdaptData, *, done: Done[Adapted]) -> None:
        """Adapt content by its learner's brain."""
        self._until_answered(lambda told: self.of(data.learner_id).adapt(data, done=told), done)

    def replay(self, learner_id: str, *, after: int, until: int, done: Done[list[Update]]) -> None:
        """Read missed updates from its learner's brain."""

        def ask(told: Done[list[Update]]) -> None:
            self.of(learner_id).replay(learner_id, after=after, until=until, done=told)

        self._until_answered(ask, done)

    async def history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> dict[str, Any]:
        """Return a page of a learner's log. Raises UpstreamError."""
        deadline = self._deadline()
        while True:
            try:
                return await self.of(learner_id).history(
                    learner_id, after=after, limit=limit, newest=newest
                )
            except UpstreamError as error:
                if not self._may_ask_again(error, deadline):
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        """Delete everything stored about a learner. Raises UpstreamError."""
        return await self.of(learner_id).erase(learner_id, requested_by=requested_by)

    def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner. Raises UpstreamError."""
        return self.of(learner_id).export(learner_id, requested_by=requested_by)

    def watch(self, learner_id: str, done: Done[LearnerSnapshot]) -> None:
        """Begin or change watching a learner."""
        self.node(learner_id).watch.watch(learner_id, done)

    def unwatch(self, learner_id: str) -> None:
        """Stop watching a learner."""
        self.node(learner_id).watch.unwatch(learner_id)

    def join(self, room_id: str, member: Any, done: Done[Members]) -> None:
        """Bring a member into a room."""

        def ask(told: Done[Members]) -> None:
            self.node(room_id).rooms.join(room_id, member, told)

        self._until_answered(ask, done)

    def leave(self, room_id: str, connection_id: str, done: Done[bool] | None) -> None:
        """Take a member out of a room."""
        self.node(room_id).rooms.leave(room_id, connection_id, done)

    def publish(self, room_id: str, connection_id: str, data: bytes, done: Done[bool]) -> None:
        """Send a message to the others in a room. It is said once: whether one got lost on its way
        nobody knows.
        """
        self.node(room_id).rooms.publish(room_id, connection_id, data, done)

    # Asking again what changes nothing

    def _until_answered(self, ask: Callable[[Done[Answer]], None], done: Done[Answer]) -> None:
        deadline = self._deadline()

        def told(answer: Answer | UpstreamError) -> None:
            if isinstance(answer, UpstreamError) and self._may_ask_again(answer, deadline):
                asyncio.get_running_loop().call_later(_AGAIN_S, ask, told)
            else:
                done(answer)

        ask(told)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._patience_s

    def _may_ask_again(self, error: UpstreamError, deadline: float) -> bool:
        """Tell whether another brain may answer what this one could not: not where there is one."""
        now = asyncio.get_running_loop().time()
        return len(self._nodes) > 1 and error.code == "unavailable" and now < deadline


def _is_reached(node: Node) -> bool:
    return node.watch.is_open.is_set()


def _served(key: str, nodes: Sequence[Node]) -> Node:
    return nodes[owner(key, [node.address for node in nodes])]


async def _end(node: Node) -> None:
    for task in node.tasks:
        task.cancel()
    await asyncio.gather(*node.tasks, return_exceptions=True)
    await node.channel.close()


def _ignore(answer: object) -> None:
    """Nobody waits for a learner who moves."""
