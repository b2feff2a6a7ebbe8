"""Limits for clients that are not authenticated yet, by address and origin, for HTTP and
sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol
from weakref import WeakValueDictionary

from edge.admission.addresses import Proxies, shared_by
from edge.admission.budgets import Budgets
from edge.admission.keyed_queue import KeyedQueue
from edge.admission.limits import Known, Places, Shares
from edge.admission.origins import Origins
from edge.settings import EdgeSettings

logger = logging.getLogger(__name__)

MAX_TOLD = 100
"""How many refused peers the log names, so that strangers cannot fill it."""
UNFINISHED_BYTES = 32 * 1024 * 1024
"""Most bytes kept of one address's unfinished requests: eight of the largest."""
MAX_LOGINS = 64
"""Concurrent sign-ins of one address. Auth queues fewer and picks the next; this caps what it sees.
"""
MAX_LOGINS_OF_DEVICE = 2
"""Concurrent sign-ins of one device, which one person holds."""


class Holder(Protocol):
    """A connection that keeps part of a request."""

    def give_way(self) -> None:
        """End: it keeps more than any other connection of its address."""


class Door:
    """Shared by all listeners."""

    def __init__(self, settings: EdgeSettings) -> None:
        """Take the trusted proxies, allowed origins and limits from the settings."""
        self.proxies = Proxies(settings.trusted_proxies)
        self.origins = Origins(settings.allowed_origins)
        self.refused_requests = 0
        """Requests that could not be understood, or whose connection broke the rules."""
        self.abandoned_requests = 0
        """Requests whose answer failed because the client had gone."""
        self.budgets = Budgets(rate=settings.user_units_per_s, burst=settings.user_units_burst)
        """Budgets of users."""
        self.failures = Budgets(
            rate=settings.address_failures_per_s, burst=10 * settings.address_failures_per_s
        )
        """Budgets of addresses for bad tokens."""
        self.requests = Budgets(
            rate=settings.address_requests_per_s, burst=20 * settings.address_requests_per_s
        )
        """Budgets of addresses for requests without a valid token."""
        self.known = Known()
        """Recently valid tokens: their requests are charged to the user, not to a shared address.
        """
        self.readers = KeyedQueue()
        """Users who are reading the log now."""
        self.pages = asyncio.Semaphore(1)
        """Log pages being read now. Many at once would hold the brain's interpreter and delay every
        answer.
        """
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._arrivals = Budgets(
            rate=settings.connections_per_s, burst=10 * settings.connections_per_s
        )
        self._told: set[str] = set()
        self.connections = Places(settings.max_connections_per_address)
        """HTTP connections of each address."""
        self.unfinished: Shares[Holder] = Shares(UNFINISHED_BYTES)
        """Bytes kept of unfinished requests, by address and connection."""
        self.logins = Places(MAX_LOGINS)
        """Sign-ins in progress per address."""
        self.logins_of_devices = Places(MAX_LOGINS_OF_DEVICE)
        """The same per device that signed in here before; these do not count for the address."""

    def reading(self, user_id: str) -> asyncio.Lock:
        """Return a guard that a user holds while reading one page of a log at a time."""
        lock = self._reading.get(user_id)
        if lock is None:
            lock = self._reading[user_id] = asyncio.Lock()
        return lock

    def lets_come(self, peer: str) -> bool:
        """Count an arrival of this peer; False when it connects too often or has too many
        connections.

        Our own proxies carry many clients and are not limited.
        """
        if self.proxies.trust(peer):
            return True
        address, now = shared_by(peer), time.monotonic()
        return not self._arrivals.of(address, now).take(1.0, now) and self.connections.has(address)

    def admit(self, peer: str) -> bool:
        """Count a connection of this peer; False, and not counted, when it has too many."""
        return self.proxies.trust(peer) or self.connections.take(shared_by(peer))

    def tell_turned_away(self, peer: str, why: str) -> None:
        """Log that this peer did not use the PROXY protocol: once per peer, for a few peers."""
        if peer not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(peer)
            logger.warning("turned %s away: EDGE_PROXY_PROTOCOL is set, and %s", peer, why)

    def leave(self, peer: str) -> None:
        """Release an admitted connection of this peer."""
        if not self.proxies.trust(peer):
            self.connections.leave(shared_by(peer))
