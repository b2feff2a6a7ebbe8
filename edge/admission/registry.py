"""Every session of this edge, by user and address: for limits, revocations and the drain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edge.admission.limits import Places
from edge.telemetry.counters import EdgeCounters


class Listed(Protocol):
    """A session, as the registry sees it."""

    session_id: str

    @property
    def user_id(self) -> str:
        """Whose it is."""

    def recheck(self) -> None:
        """Check again whether it may still do what it does."""

    def revoke(self) -> None:
        """End it: its login is over."""


class Listing:
    """Sessions of one kind by their users."""

    def __init__(self, *, max_per_user: int) -> None:
        """A limit of 0 means none."""
        self._max_per_user = max_per_user
        self._by_user: dict[str, dict[Listed, None]] = {}

    def __len__(self) -> int:
        """How many are listed now."""
        return sum(map(len, self._by_user.values()))

    def add(self, session: Listed) -> bool:
        """Add an authenticated session; False when its user has too many, then it is not added."""
        sessions = self._by_user.setdefault(session.user_id, {})
        if self._max_per_user and len(sessions) >= self._max_per_user:
            return False
        sessions[session] = None
        return True

    def discard(self, session: Listed) -> bool:
        """Remove a session; False when it was not there."""
        sessions = self._by_user.get(session.user_id)
        if sessions is None or session not in sessions:
            return False
        del sessions[session]
        if not sessions:
            del self._by_user[session.user_id]
        return True

    def sessions(self) -> Iterator[Listed]:
        """Return every session; safe while sessions come and go."""
        for sessions in list(self._by_user.values()):
            yield from list(sessions)

    def of_user(self, user_id: str) -> list[Listed]:
        """Return the sessions of one user."""
        return list(self._by_user.get(user_id, ()))


class Registry(Listing):
    """Knows who is connected by sockets."""

    def __init__(self, counters: EdgeCounters, *, max_per_user: int, max_per_address: int) -> None:
        """A limit of 0 means none."""
        super().__init__(max_per_user=max_per_user)
        self._counters = counters
        self.addresses = Places(max_per_address)
        """Sockets per address, unauthenticated ones included."""

    def add(self, session: Listed) -> bool:
        """Add an authenticated session; False when its user has too many, then it is not added."""
        if not super().add(session):
            return False
        self._counters.users.add(session.user_id)
        self._counters.connections_opened += 1
        self._counters.connections_active += 1
        return True

    def remove(self, session: Listed) -> bool:
        """Remove a session; True when it was the last one of its user."""
        if not self.discard(session):
            return False
        self._counters.users.remove(session.user_id)
        self._counters.connections_closed += 1
        self._counters.connections_active -= 1
        return session.user_id not in self._by_user
