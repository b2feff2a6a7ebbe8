"""Protobuf's wire format, as far as the hot path writes it without messages in between."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor

VARINT: Final = 0
"""Wire type of a whole number."""
FIXED64: Final = 1
"""Wire type of a double."""
BYTES: Final = 2
"""Wire type of text, a submessage or a packed list."""

SHORT: Final = tuple(bytes((value,)) for value in range(128))
"""Whole numbers of one byte, tags among them."""


def tag(message: Descriptor | None, field: str, wire_type: int) -> int:
    """Return the byte that announces a field."""
    number = message.fields_by_name[field].number if message else 0
    if not 0 < number < 16:
        raise NotImplementedError(f"the tag of {field} is not one byte")
    return number << 3 | wire_type


def varint(value: int) -> bytes:
    """Return a whole number as protobuf writes it: seven bits a byte, the lowest first."""
    if value < 128:
        return SHORT[value]
    if value < 16_384:
        return bytes((value & 127 | 128, value >> 7))
    return bytes((value & 127 | 128,)) + varint(value >> 7)
