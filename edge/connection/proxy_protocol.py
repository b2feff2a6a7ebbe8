"""The PROXY protocol, version 2: how a proxy that only forwards bytes names its client.

The header stands before everything else on a connection
(https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2).
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16
_ADDRESSES: Final = {0x11: 4, 0x21: 16}
"""Bytes of an address, by family and transport (TCP over IPv4, TCP over IPv6)."""
MAX_BYTES: Final = 4_096
"""Far more than the fields that any proxy adds."""


class Header(NamedTuple):
    """What a header says."""

    address: str
    """The client's; empty when the proxy speaks for itself (a health check)."""
    size: int
    """Bytes of the header; what follows is the client's."""


class BadHeaderError(Exception):
    """These bytes do not begin a connection through the PROXY protocol."""


def parse(data: bytes) -> Header | None:
    """Return the header at the beginning of `data`, or None while it is not whole.

    Raises `BadHeaderError` as soon as the bytes cannot become one.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise BadHeaderError
    if len(data) < _FIXED:
        return None
    version_and_command, kind = data[12], data[13]
    size = _FIXED + int.from_bytes(data[14:16])
    if version_and_command >> 4 != 2 or version_and_command & 0x0F > 1 or size > MAX_BYTES:
        raise BadHeaderError
    if len(data) < size:
        return None
    width = _ADDRESSES.get(kind, 0)
    if version_and_command & 0x0F == 0 or not width:
        return Header("", size)
    if size < _FIXED + 2 * width + 4:
        raise BadHeaderError
    return Header(str(ip_address(data[_FIXED : _FIXED + width])), size)
