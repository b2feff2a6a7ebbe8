"""Who may come in before it is known who they are: addresses and origins. HTTP and sockets pass
the same door.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from weakref import WeakValueDictionary

from edge.admission.addresses import Proxies, shared_by
from edge.admission.budgets import Budgets
from edge.admission.origins import Origins
from edge.admission.turns import Turns
from edge.settings import EdgeSettings


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
        self.readers = Turns()
        """Who reads the log now."""
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._limit = settings.max_connections_per_address
        self._connections: Counter[str] = Counter()

    def reading(self, user_id: str) -> asyncio.Lock:
        """Return what a user holds while reading a page of a log, one at a time."""
        lock = self._reading.get(user_id)
        if lock is None:
            lock = self._reading[user_id] = asyncio.Lock()
        return lock

    def admit(self, peer: str) -> bool:
        """Count a connection of this peer; False when it has too many, then it does not count.

        Connections of our own proxies are those of many clients, and not limited.
        """
        key = shared_by(peer)
        if self._limit and self._connections[key] >= self._limit and not self.proxies.trust(peer):
            return False
        self._connections[key] += 1
        return True

    def leave(self, peer: str) -> None:
        """One admitted connection of this peer less."""
        key = shared_by(peer)
        self._connections[key] -= 1
        if not self._connections[key]:
            del self._connections[key]
