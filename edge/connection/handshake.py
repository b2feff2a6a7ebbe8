"""What a request for a socket says: pure questions, and no answer raises, whatever it says."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs, urlsplit

PATH = "/ws"


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
