"""The items that a learner answered lately, packed into bytes, oldest first.

A dictionary of 64 keys would be copied for each answer and encoded key by key. Bytes are searched,
cut and stored as is.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from brain_service.model.params import MAX_ITEMS

KEY_SIZE: Final = 8
_COUNT: Final = Struct("<i")
COUNT_SIZE: Final = _COUNT.size
_KEYS: Final = MAX_ITEMS * KEY_SIZE
_COUNTS: Final = MAX_ITEMS * COUNT_SIZE


def take(keys: bytes, counts: bytes, key: bytes) -> tuple[int, bytes, bytes]:
    """Return the count of an item, 0 for one that is not remembered, and all others' keys and
    counts.
    """
    at = keys.find(key)
    while at % KEY_SIZE and at >= 0:  # the key may match across the boundary of two others
        at = keys.find(key, at + 1)
    if at < 0:
        return 0, keys, counts
    place = at // KEY_SIZE * COUNT_SIZE
    (count,) = _COUNT.unpack_from(counts, place)
    return count, keys[:at] + keys[at + KEY_SIZE :], counts[:place] + counts[place + COUNT_SIZE :]


def put(keys: bytes, counts: bytes, key: bytes, count: int) -> tuple[bytes, bytes]:
    """Return keys and counts with a new item appended; the latest 64 remain."""
    return (keys + key)[-_KEYS:], (counts + _COUNT.pack(count))[-_COUNTS:]


def is_full(keys: bytes) -> bool:
    """Return whether items may have been dropped, because there is no room for more."""
    return len(keys) >= _KEYS


def listed(keys: bytes, counts: bytes) -> dict[bytes, int]:
    """Return the counts by key."""
    apart = [keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)]
    return dict(zip(apart, (count for (count,) in _COUNT.iter_unpack(counts)), strict=True))
