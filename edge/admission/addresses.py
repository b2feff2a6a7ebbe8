"""Which address a client has, on sockets and HTTP: the peer's, or the one that trusted proxies
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

EVERYBODY: Final = "*"
FORWARDED_FOR: Final = b"x-forwarded-for"
"""The header to which each proxy appends its peer."""
MAX_HOPS: Final = 32
"""Most hops read from a header, counted from its end; it has room for thousands."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as IPv6 writes them."""
_LONGEST: Final = 80
"""Characters of an address with a zone and a port, and some to spare."""


class Proxies:
    """The proxies we trust to name a client's address."""

    def __init__(self, trusted: Iterable[str]) -> None:
        """Take addresses, networks (10.0.0.0/8), or `*` for everybody.

        Raises `ValueError`, naming the entry, for anything else.
        """
        entries = tuple(trusted)
        self._everybody = EVERYBODY in entries
        self._networks = tuple(_network(entry) for entry in entries if entry != EVERYBODY)

    def __bool__(self) -> bool:
        """Whether anybody is trusted."""
        return self._everybody or bool(self._networks)

    @property
    def are_everybody(self) -> bool:
        """Whether every peer is trusted."""
        return self._everybody or any(not network.prefixlen for network in self._networks)

    def trust(self, address: str) -> bool:
        """Whether this is a proxy of ours."""
        if self._everybody:
            return True
        known = _parsed(address)
        return known is not None and any(known in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address: the last hop that is not one of our proxies.

        `forwarded` are the values of `FORWARDED_FOR`.
        Whatever precedes an untrusted hop is that hop's own claim and ignored, as is anything
        before an invalid address.
        """
        address = peer
        hops = [hop for value in forwarded for hop in value.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            if not self.trust(address):
                break
            known = _parsed(hop.strip())
            if known is None:
                break
            address = str(known)
        return address


@lru_cache(maxsize=4096)
def shared_by(address: str) -> str:
    """Return what to count limits by: the address, or for IPv6 the network that one client has."""
    known = _parsed(address)
    if isinstance(known, IPv6Address):
        return str(IPv6Network((known, 64), strict=False))
    return address if known is None else str(known)


def _network(entry: str) -> IPv4Network | IPv6Network:
    network = ip_network(entry, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        # As sockets of both families write it; addresses are compared as IPv4.
        inner = network.network_address.ipv4_mapped
        return IPv4Network((inner or 0, network.prefixlen - _MAPPED.prefixlen))
    return network


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address as proxies write it, also with a port; None for anything else."""
    return _read(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)  # each connection asks several times, mostly of few proxies
def _read(text: str) -> IPv4Address | IPv6Address | None:
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        known = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(known, "ipv4_mapped", None) or known
