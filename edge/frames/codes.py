"""Error codes, close codes and their meaning, as data."""

from __future__ import annotations

RETRYABLE = {
    "bad_request": False,
    "unknown_type": False,
    "unauthenticated": False,
    "forbidden": False,
    "not_found": False,
    "rate_limited": True,
    "overloaded": True,
    "too_many_subscriptions": False,
    "unavailable": True,
    "conflict": True,
    "internal": True,
}
"""Every error code, and whether sending the same frame again may succeed."""


class CloseCode:
    """Why the edge closes a socket; what the client should do is in docs/protocol.md."""

    NORMAL = 1000
    NONE = 1006
    """Never sent: the socket ended without a close frame (RFC 6455, section 7.4.1)."""
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_LATER = 1013
    NOT_JSON = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    TIMEOUT = 4408
    RATE_LIMITED = 4429
