"""Slows down repeated failures, per key and in bounded memory."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How failures slow a key down: the first `free` cost nothing, each later one doubles
    the wait.
    """

    free: int
    base_s: float = 1.0
    max_s: float = 60.0
    forget_s: float = 900.0
    """A key without a new attempt for this long starts afresh."""
    max_keys: int = 65_536
    """Keys remembered; the least recent is dropped first."""


@dataclass(slots=True)
class _Record:
    failures: int
    last_s: float
    blocked_until_s: float


class Throttle:
    """Counts attempts as failures until they succeed, so that parallel guesses count too."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._records: OrderedDict[bytes, _Record] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._records)

    def wait_s(self, key: str, now_s: float) -> float:
        """Return how many seconds `key` must still wait; 0 when it may try now. Changes nothing."""
        record = self._records.get(self._digest(key))
        if record is None or now_s - record.last_s >= self._policy.forget_s:
            return 0.0
        return max(0.0, record.blocked_until_s - now_s)

    def attempt(self, key: str, now_s: float) -> float:
        """Count one attempt of `key` and return a ticket for `refund`. The caller has made sure
        that `wait_s` is 0.
        """
        digest = self._digest(key)
        record = self._records.get(digest)
        if record is None or now_s - record.last_s >= self._policy.forget_s:
            record = self._records[digest] = _Record(0, now_s, 0.0)
        record.failures += 1
        record.last_s = now_s
        over = record.failures - self._policy.free
        if over >= 0:
            # The exponent is bounded because 2.0**1024 overflows.
            record.blocked_until_s = now_s + min(
                self._policy.base_s * 2.0 ** min(over, 64), self._policy.max_s
            )
        self._records.move_to_end(digest)
        while len(self._records) > self._policy.max_keys:
            self._records.popitem(last=False)
        return record.blocked_until_s

    def forgive(self, key: str) -> None:
        """Forget all attempts of `key`, which has authenticated."""
        self._records.pop(self._digest(key), None)

    def refund(self, key: str, ticket: float) -> None:
        """Take back one attempt of `key`, which succeeded, but not the failures before.

        Otherwise someone with an account of their own could sign in between guesses to keep an
        address unblocked.
        """
        record = self._records.get(self._digest(key))
        if record is None:
            return
        record.failures -= 1
        if record.blocked_until_s == ticket:
            record.blocked_until_s = 0.0
        if record.failures <= 0:
            self.forgive(key)

    def _digest(self, key: str) -> bytes:
        # Keyed, so that a memory dump does not list who tried to sign in; short, so that long keys
        # cost no memory.
        return hashlib.blake2b(
            key.encode(errors="surrogatepass"), key=self._salt, digest_size=16
        ).digest()


def address_key(address: str) -> str:
    """Return the key for a client address: for IPv6 its /64, which belongs to one customer.

    Empty for an empty or malformed address: those are not slowed by address.
    """
    try:
        ip = ipaddress.ip_address(address.strip().strip("[]"))
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return str(ip)
