"""Times as the protocol writes them: RFC 3339, UTC, milliseconds, `Z`."""

from __future__ import annotations

import time
from functools import lru_cache

_last_ms = -1
_last_text = ""


def timestamp() -> str:
    """Return the present moment in RFC 3339, UTC, with milliseconds and `Z`."""
    global _last_ms, _last_text
    ms = int(time.time() * 1000)
    if ms != _last_ms:
        _last_ms, _last_text = ms, rfc3339(ms)
    return _last_text


def rfc3339(ms: int) -> str:
    """Return a Unix time in milliseconds as RFC 3339, UTC, with milliseconds and `Z`."""
    second, millisecond = divmod(ms, 1000)
    return f"{_to_the_second(second)}{millisecond:03d}Z"


@lru_cache(maxsize=256)
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
