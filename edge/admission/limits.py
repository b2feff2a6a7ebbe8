"""How much one client may ask. Pure arithmetic: the time comes in as an argument."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Places:
    """Caps how many each name holds at once; a limit of 0 means no cap."""

    def __init__(self, limit: int) -> None:
        """Begin with all free."""
        self._limit = limit
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are held in total."""
        return self._taken.total()

    def held(self, name: str) -> int:
        """Return how many this name holds."""
        return self._taken[name]

    def take(self, name: str) -> bool:
        """Take one; False when the name holds its limit already."""
        if not self.has(name):
            return False
        self._taken[name] += 1
        return True

    def has(self, name: str) -> bool:
        """Whether one is left for this name."""
        return not self._limit or self._taken[name] < self._limit

    def leave(self, name: str) -> None:
        """Give one back that was taken."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]


class Shares(Generic[T]):
    """Bytes kept per name and holder. When a name exceeds the limit, its largest holder must give
    way.
    """

    def __init__(self, limit: int) -> None:
        """Start empty; `limit` is in bytes, per name."""
        self._limit = limit
        self._kept: dict[str, dict[T, int]] = {}
        self._sums: Counter[str] = Counter()

    def __len__(self) -> int:
        """Bytes kept in all."""
        return self._sums.total()

    def keep(self, name: str, by: T, size: int) -> T | None:
        """Set what a holder keeps; return the holder that must give way, if any."""
        kept = self._kept.setdefault(name, {})
        self._sums[name] += size - kept.get(by, 0)
        kept[by] = size
        if self._sums[name] <= self._limit:
            return None
        return max(kept, key=kept.__getitem__)

    def leave(self, name: str, by: T) -> None:
        """Forget a holder."""
        kept = self._kept.get(name)
        if kept is None or by not in kept:
            return
        self._sums[name] -= kept.pop(by)
        if not kept:
            del self._kept[name], self._sums[name]


class Known:
    """Recently valid tokens, kept as fingerprints, and their owners."""

    def __init__(self, most: int = 65_536) -> None:
        """Remember so many at most."""
        self._most = most
        self._owners: OrderedDict[int, str] = OrderedDict()

    def __contains__(self, token: str) -> bool:
        """Whether this token was valid lately."""
        return hash(token) in self._owners

    def owner(self, token: str) -> str:
        """Return the user's id; empty for a token that is not known."""
        return self._owners.get(hash(token), "")

    def add(self, token: str, user_id: str) -> None:
        """Remember one."""
        self._owners[hash(token)] = user_id
        self._owners.move_to_end(hash(token))
        if len(self._owners) > self._most:
            self._owners.popitem(last=False)

    def discard(self, token: str) -> None:
        """Forget a token that is no longer valid."""
        self._owners.pop(hash(token), None)


class TokenBucket:
    """Allows `rate` takes a second on average and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        """Start full. A rate of 0 allows everything."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> float:
        """Take one and return 0, or return the seconds to wait before trying again."""
        rate = self._rate
        if not rate:
            return 0.0
        tokens = self._tokens + (now - self._updated) * rate
        self._updated = now
        if tokens > self._burst:
            tokens = self._burst
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / rate
