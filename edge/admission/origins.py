"""Which web pages may talk to this edge, on sockets and HTTP: its own and those of a list."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

ANY = "*"
MAX_TOLD = 100
"""How many refused origins the log names, once each, so that a stranger cannot fill it."""

HINT = "To allow it, put it into EDGE_ALLOWED_ORIGINS."


class Origins:
    """The origins that may connect besides the edge's own."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Take origins as browsers send them, such as `https://school.example`; `*` allows all."""
        self.allowed = frozenset(allowed)
        self._told: set[str] = set()

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these headers `Origin` and `Host` may be answered.

        Only browsers send an origin, and only they ask on behalf of a page. A refusal is logged,
        once for each origin.
        """
        if origin is None or ANY in self.allowed or origin in self.allowed:
            return True
        if host and _host(origin) == host:
            return True
        if origin not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(origin)
            logger.warning("refused the origin %.200r, asking %.200r. %s", origin, host, HINT)
        return False


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
