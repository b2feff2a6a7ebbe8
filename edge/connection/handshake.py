"""Reads a request for a socket. Pure; nothing in a request makes it raise.

Nearly all are plain and answered here: the core of `websockets` would parse the request again, for
half of what a new socket costs the edge. All others go through it; it knows what is wrong with
them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1
from typing import Final, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from edge.admission.addresses import shared_by
from edge.admission.door import Door

PATH = "/ws"
_PATH: Final = PATH.encode()


class Headers(Protocol):
    """Headers of a request; one may come several times."""

    def get_all(self, name: str, /) -> list[str]:
        """Return all values of one."""


class Fields:
    """Headers as the HTTP parser has them, names in lower case."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Look into `headers`."""
        self._headers = headers

    def get_all(self, name: str) -> list[str]:
        """Return all values of one."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self._headers if key == wanted]


class Plain(NamedTuple):
    """A plain request for a socket."""

    answer: bytes
    """The response that opens the socket."""
    query: str
    headers: Fields


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
_UNUSUAL: Final = frozenset([b"content-length", b"transfer-encoding", b"sec-websocket-protocol"])
_SINGLE: Final = frozenset(
    [b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"origin"]
)


def plain(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Plain | None:
    """Read a GET of HTTP/1.1, and answer it (RFC 6455 §4.2); None where anything about it is
    unusual.
    """
    path, _, query = target.partition(b"?")
    if path != _PATH or not target.isascii() or b"#" in query:
        return None
    told: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _UNUSUAL or name in told:
            return None
        if name in _SINGLE:
            told[name] = value
    key = told.get(b"sec-websocket-key", b"")
    if (
        told.get(b"upgrade", b"").lower() != b"websocket"
        or told.get(b"sec-websocket-version") != b"13"
        or not _KEY.fullmatch(key)
        or b"upgrade" not in told.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
    ):
        return None
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    return Plain(_SWITCH % accept, query.decode(), Fields(headers))


class Arrival(NamedTuple):
    """Who asks for a socket."""

    address: str
    """The address that limits count the socket for."""
    is_allowed: bool
    """Whether a page of its origin may connect."""
    token: str
    """Empty when it brings none."""


def arrival(headers: Headers, query: str, door: Door, peer: str) -> Arrival:
    """Return who asks; `peer` is at the other end of the wire, perhaps a proxy."""

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
    """Return the response for a socket request at another path than `PATH`."""
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
