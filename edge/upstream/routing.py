"""Which brain serves which learner: rendezvous hashing, so that adding or removing a brain moves
only its share.

Correctness never depends on it: brains agree through their store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


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
