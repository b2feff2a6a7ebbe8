"""Checks the fields of requests; its sentences name the field and what it must be, and never repeat
its content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sized
from typing import Final

MAX_BATCH: Final = 1024
"""Interactions or queries per request."""
MAX_CURSORS: Final = 10_000
"""Learners added or removed per request: their snapshots fit into one message."""
MAX_TEXT: Final = 16_384
"""Characters of a content or a response."""
MAX_CONTEXT_BYTES: Final = 64 * 1024
MAX_ROOM_DATA_BYTES: Final = 64 * 1024
MAX_HISTORY: Final = 1000
DEFAULT_HISTORY: Final = 100

_ID: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")


class InvalidFieldError(ValueError):
    """A field of a request is wrong; sending it again cannot succeed."""


def identifier(field: str, value: str) -> str:
    """Return `value` when it is an id."""
    if _ID.fullmatch(value) is None:
        raise InvalidFieldError(f"{field} must be 1 to 128 characters of [A-Za-z0-9_.:@-].")
    return value


def text(field: str, value: str, most: int) -> str:
    """Return `value` when it has at most `most` characters."""
    if len(value) > most:
        raise InvalidFieldError(f"{field} must have at most {most:,} characters.")
    return value


def at_most(field: str, values: Sized, most: int) -> None:
    """Refuse more than `most` values."""
    if len(values) > most:
        raise InvalidFieldError(
            f"{field} must be at most {most:,}; send the rest in further requests."
        )


def data_json(value: bytes) -> bytes:
    """Return `value` when it is a JSON object that fits into a room's message."""
    if len(value) > MAX_ROOM_DATA_BYTES:
        raise InvalidFieldError(f"data_json must have at most {MAX_ROOM_DATA_BYTES:,} bytes.")
    try:
        ok = isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        ok = False
    if not ok:
        raise InvalidFieldError("data_json must be a JSON object.")
    return value


def context_json(value: bytes) -> bytes:
    """Return `value` when it can be stored; what it says was checked by the caller, and nobody here
    reads it.
    """
    if len(value) > MAX_CONTEXT_BYTES:
        raise InvalidFieldError(f"context_json must have at most {MAX_CONTEXT_BYTES:,} bytes.")
    if value and not (value.lstrip()[:1] == b"{" and value.rstrip()[-1:] == b"}"):
        raise InvalidFieldError("context_json must be a JSON object.")
    return value
