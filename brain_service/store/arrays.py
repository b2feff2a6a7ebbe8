"""PostgreSQL arrays in binary form. The driver inspects every element for its type, which cost as
much as the rest of a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack
from typing import Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD: Final = Struct("!iiIii")
"""Header: one dimension, no NULL, the elements' type, their number, lower bound 1."""
_LENGTH: Final = Struct("!i")
_INT4, _INT8, _UUID, _BYTEA = 23, 20, 2950, 17
_UUID_LENGTH: Final = _LENGTH.pack(16)


class Array(bytes):
    """A whole array, for a parameter `%b` whose type the statement names."""


class _AsIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj


psycopg.adapters.register_dumper(Array, _AsIs)


def ints(numbers: Sequence[int]) -> Array:
    """Write an `int[]`."""
    return _numbers(numbers, _INT4, 4, "i")


def bigints(numbers: Sequence[int]) -> Array:
    """Write a `bigint[]`."""
    return _numbers(numbers, _INT8, 8, "q")


def uuids(keys: Sequence[bytes]) -> Array:
    """Write a `uuid[]`; each key has 16 bytes."""
    parts = [_head(_UUID, len(keys))]
    for key in keys:
        parts += (_UUID_LENGTH, key)
    return Array(b"".join(parts))


def byteas(values: Sequence[bytes]) -> Array:
    """Write a `bytea[]`."""
    length = _LENGTH.pack
    parts = [_head(_BYTEA, len(values))]
    for value in values:
        parts += (length(len(value)), value)
    return Array(b"".join(parts))


def _numbers(numbers: Sequence[int], element: int, size: int, code: str) -> Array:
    given = [size] * (2 * len(numbers))
    given[1::2] = numbers
    return Array(_head(element, len(numbers)) + pack(f"!{('i' + code) * len(numbers)}", *given))


def _head(element: int, count: int) -> bytes:
    return _HEAD.pack(1, 0, element, count, 1)
