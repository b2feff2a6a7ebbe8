"""Frames as bytes (RFC 6455, section 5.2), where the protocol core is too slow."""

from __future__ import annotations

TEXT = 0x81
"""First byte of a whole text frame."""

CLOSE = 0x88
"""First byte of a close frame."""

CONTROL = 0x08
"""The bit that the opcodes of close, ping and pong share."""

PING = 0x09
"""The opcode of a ping."""


def prepare(payload: bytes) -> bytes:
    """Return the bytes of an unmasked text frame, the same for every client."""
    size = len(payload)
    if size < 126:
        return bytes((TEXT, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def find_close(data: bytes) -> tuple[bytes, bytes]:
    """Find a whole close frame among masked ones, skipping all others.

    Returns it, or nothing, and the rest to scan when more arrives.
    """
    position, end = 0, len(data)
    while end - position >= 2:
        size, start = data[position + 1] & 0x7F, position + 6
        if size == 126:
            size, start = int.from_bytes(data[position + 2 : position + 4]), position + 8
        elif size == 127:
            size, start = int.from_bytes(data[position + 2 : position + 10]), position + 14
        if start + size > end:
            break
        if data[position] == CLOSE:
            return data[position : start + size], b""
        position = start + size
    return b"", data[position:]
