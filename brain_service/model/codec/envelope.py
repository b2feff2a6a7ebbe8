"""What all stored bytes have in common: the number of their layout first, a CRC-32 last."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, TypeVar
from zlib import crc32

T = TypeVar("T")

_CRC: Final = Struct("<I")


class CorruptBytesError(ValueError):
    """Stored bytes are truncated or damaged."""


class UnknownLayoutError(ValueError):
    """Stored bytes have a layout that this version does not know."""


def seal(body: bytes) -> bytes:
    """Return the bytes with their checksum."""
    return body + _CRC.pack(crc32(body))


def unseal(data: bytes) -> bytes:
    """Return the bytes without their checksum. Raises `CorruptBytesError` if it does not match."""
    body = data[: -_CRC.size]
    if len(data) <= _CRC.size or crc32(body) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CorruptBytesError("Stored bytes are truncated or damaged.")
    return body


def layout_of(what: str, data: bytes, known: Mapping[int, T]) -> T:
    """Return the layout of stored bytes. Raises `UnknownLayoutError`."""
    if not data:
        raise UnknownLayoutError(f"The stored {what} is empty.")
    if data[0] not in known:
        whose = "; a later version wrote it" if data[0] > max(known) else ""
        raise UnknownLayoutError(
            f"The stored {what} has layout {data[0]}, which this version does not know{whose}."
        )
    return known[data[0]]
