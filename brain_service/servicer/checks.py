"""Checks the fields of requests; its sentences name the field and what it must be, and never repeat
its content.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from service_runtime import validation

MAX_BATCH: Final = 1024
"""Interactions or queries per request."""
MAX_CURSORS: Final = 10_000
"""Learners added or removed per request: their snapshots fit into one message."""
MAX_ROOM_DATA_BYTES: Final = 64 * 1024
MAX_HISTORY: Final = 1000
DEFAULT_HISTORY: Final = 100
UNNAMED: Final = "a service"
"""The audit log's name for callers that name nobody."""


class InvalidFieldError(ValueError):
    """A field of a request is wrong; sending it again cannot succeed."""


def identifier(field: str, value: str) -> str:
    """Return `value` when it is an id."""
    if not validation.is_id(value):
        raise InvalidFieldError(f"{field} must be {validation.ID_RULE}.")
    return value


def requester(value: str) -> str:
    """Return whom the audit log names for a call."""
    if value and not validation.is_name(value):
        raise InvalidFieldError(f"requested_by must be {validation.NAME_RULE}, or empty.")
    return value or UNNAMED


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
    try:
        validation.check_object(value, most=MAX_ROOM_DATA_BYTES)
    except validation.OutsideError as error:
        raise InvalidFieldError(f"data_json {error}.") from None
    return value
