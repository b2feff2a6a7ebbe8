"""Reads a request for a socket. Pure; nothing in a request makes it raise."""

from __future__ import annotations

from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from edge.admission.addresses import shared_by
from edge.admission.door import Door

PATH = "/ws"


class Headers(Protocol):
    """Headers of a request; one may come several times."""

    def get_all(self, name: str, /) -> list[str]:
        """Return all values of one."""


class Arrival(NamedTuple):
    """Who comes with a request for a socket."""

    address: str
    """Whom limits by address count the socket for."""
    is_allowed: bool
    """Whether a page of its origin may connect."""
    token: str
    """Empty when it brings none."""


def arrival(headers: Headers, query: str, door: Door, peer: str) -> Arrival:
    """Return who comes; `peer` is at the other end of the wire, perhaps a proxy."""

    def first(name: str) -> str | None:
        return next(iter(headers.get_all(name)), None)

    client = door.proxies.client(peer, headers.get_all("X-Forwarded-For"))
    return Arrival(
        shared_by(client),
        door.origins.allows(first("Origin"), first("Host")),
        token(query, first("Authorization")),
    )


def target(path: str) -> SplitResult | None:
    """Return the parts of a request's target; None when it has none that make sense."""
    try:
        return urlsplit(path)
    except ValueError:
        return None


def missing(path: str) -> str:
    """Return what to tell somebody who asks for a socket at another path than `PATH`."""
    hint = f" The socket is at {PATH}, without a slash at the end." if path == PATH + "/" else ""
    return f"No WebSocket here.{hint}\n"


def token(query: str, authorization: str | None) -> str:
    """Return the token that a request brings; empty when it brings none."""
    if authorization and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    try:
        values = parse_qs(query).get("token")
    except ValueError:  # more fields than anybody sends
        return ""
    return values[0] if values else ""
