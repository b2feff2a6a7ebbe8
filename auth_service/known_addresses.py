"""Where people have signed in from before: they are not slowed down there by anybody's guesses.

Fingerprints, in this process's memory only: after a restart everybody is new once. A device's own
token (`devices`) lasts longer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final

FORGET_S: Final = 30 * 86_400.0
"""How long a place stays familiar after the last sign-in from there."""

MAX_PLACES: Final = 65_536
"""How many pairs are remembered, most recent first."""


class KnownAddresses:
    """Pairs of an account and an address with a successful sign-in."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._seen)

    def knows(self, account: str, address: str, now_s: float) -> bool:
        """Whether this account has signed in from this address lately."""
        seen_s = self._seen.get(self._print(account, address))
        return bool(address) and seen_s is not None and now_s - seen_s < FORGET_S

    def add(self, account: str, address: str, now_s: float) -> None:
        """Remember that it just has."""
        if address:
            key = self._print(account, address)
            self._seen[key] = now_s
            self._seen.move_to_end(key)
            while len(self._seen) > MAX_PLACES:
                self._seen.popitem(last=False)

    def _print(self, account: str, address: str) -> bytes:
        pair = f"{account} {address}".encode(errors="surrogatepass")
        return hashlib.blake2b(pair, key=self._salt, digest_size=16).digest()
