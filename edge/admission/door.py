"""Who may come in before they have said who they are: limits by address and origin, for HTTP and
sockets alike.
"""

from __future__ import annotations

import asyncio
import logging
import time
from weakref import WeakValueDictionary

from edge.admission.addresses import Proxies, shared_by
from edge.admission.budgets import Budgets
from edge.admission.limits import Known, Places
from edge.admission.origins import Origins
from edge.admission.turns import Turns
from edge.settings import EdgeSettings

logger = logging.getLogger(__name__)

MAX_TOLD = 100
"""Peers turned away that the log names; strangers cannot fill it with more."""
MAX_LOGINS = 64
"""Of one address at once; auth lets fewer wait and decides who is next, but must hear of no more.
"""
MAX_LOGINS_OF_DEVICE = 2
"""Of one device at once: one person has it in hand."""


class Door:
    """One for all that listens."""

    def __init__(self, settings: EdgeSettings) -> None:
        """Take the trusted proxies, allowed origins and limits from the settings."""
        self.proxies = Proxies(settings.trusted_proxies)
        self.origins = Origins(settings.allowed_origins)
        self.refused_requests = 0
        """Requests that could not be understood, or whose connection broke the rules."""
        self.abandoned_requests = 0
        """Requests whose answer failed when their client had gone."""
        self.budgets = Budgets(rate=settings.user_units_per_s, burst=settings.user_units_burst)
        """What users may ask for."""
        self.failures = Budgets(
            rate=settings.address_failures_per_s, burst=10 * settings.address_failures_per_s
        )
        """Bad tokens that addresses may show."""
        self.requests = Budgets(
            rate=settings.address_requests_per_s, burst=20 * settings.address_requests_per_s
        )
        """Requests of addresses without a good token."""
        self.known = Known()
        """Tokens that were good lately: who shows one pays for themselves, and for no neighbour."""
        self.readers = Turns()
        """Who reads the log now."""
        self.pages = asyncio.Semaphore(1)
        """Pages of logs that are read now: many at once would hold the brain's interpreter, and who
        answers would wait behind each of them.
        """
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._arrivals = Budgets(
            rate=settings.connections_per_s, burst=10 * settings.connections_per_s
        )
        self._told: set[str] = set()
        self.connections = Places(settings.max_connections_per_address)
        """HTTP connections of each address."""
        self.logins = Places(MAX_LOGINS)
        """Sign-ins under way, of each address."""
        self.logins_of_devices = Places(MAX_LOGINS_OF_DEVICE)
        """The same of each device that signed in here before, which needs no place of an address.
        """

    def reading(self, user_id: str) -> asyncio.Lock:
        """Return what a user holds while reading a page of a log, one at a time."""
        lock = self._reading.get(user_id)
        if lock is None:
            lock = self._reading[user_id] = asyncio.Lock()
        return lock

    def lets_come(self, peer: str) -> bool:
        """Count an arrival of this peer; False when it has come too often, or has as many
        connections as it may.

        Connections of our own proxies are those of many clients, and not limited.
        """
        if self.proxies.trust(peer):
            return True
        address, now = shared_by(peer), time.monotonic()
        return not self._arrivals.of(address, now).take(1.0, now) and self.connections.has(address)

    def admit(self, peer: str) -> bool:
        """Count a connection of this peer; False when it has too many, then it does not count."""
        return self.proxies.trust(peer) or self.connections.take(shared_by(peer))

    def tell_turned_away(self, peer: str, why: str) -> None:
        """Log that this peer did not come by the PROXY protocol, once each and for a few only."""
        if peer not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(peer)
            logger.warning("turned %s away: EDGE_PROXY_PROTOCOL is set, and %s", peer, why)

    def leave(self, peer: str) -> None:
        """One admitted connection of this peer less."""
        if not self.proxies.trust(peer):
            self.connections.leave(shared_by(peer))
