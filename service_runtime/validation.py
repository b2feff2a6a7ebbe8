"""Checks of outside input, by the same rules everywhere: ids, times, JSON.

Valid input can be stored, read back and shown to anybody. The error sentences go to the sender and
quote nothing.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

MAX_ID: Final = 128
"""Characters of an id, and of what is checked like one."""

ID_PATTERN: Final = rf"(?!\.\.?\Z)[A-Za-z0-9_.:@-]{{1,{MAX_ID}}}"
"""Ids of learners, classes, rooms, users and interactions. `.` and `..` would mean something else
in an address.
"""

ID_RULE: Final = f"1–{MAX_ID} characters of A–Z a–z 0–9 _ . : @ -, and not . or .."

MAX_NAME: Final = 256
"""Characters of a name in the audit log."""

NAME_RULE: Final = f"1 to {MAX_NAME} printable characters"

LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, Unix milliseconds: what dates can be written for."""

MAX_DEPTH: Final = 16
"""Objects and lists within each other."""

_ID: Final = re.compile(ID_PATTERN)
_LONG_NUMBER: Final = re.compile(rb"[0-9](?:[0-9]{16}|[eE][-+]?[0-9]{3})")
"""Finds candidates for numbers beyond 64-bit floats. That all of it begins with a digit lets the
search run over 60 KB of text in a quarter of a millisecond.
"""
_LARGEST: Final = int(sys.float_info.max)
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""Finds candidates for lone surrogates."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"is nested more than {MAX_DEPTH} levels deep"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OutsideError(ValueError):
    """Outside input is invalid; the text completes a sentence that begins with its name."""


def is_id(text: str) -> bool:
    """Whether this is a well-formed id."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether this is a valid name for the audit log."""
    return bool(text.strip()) and len(text) <= MAX_NAME and text.isprintable()


def is_moment(ms: int) -> bool:
    """Whether this is a time that can be written as a date: after 1970, before the year 10000."""
    return 0 < ms <= LAST_MS


def unix_ms(moment: datetime) -> int:
    """Return a moment with a time zone as Unix milliseconds.

    Raises OutsideError for what `is_moment` refuses.
    """
    try:
        ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    except OverflowError:  # the zone moves it out of what dates can say
        ms = 0
    if not is_moment(ms):
        raise OutsideError("must lie between 1970 and 9999")
    return ms


def check_nesting(data: bytes) -> None:
    """Refuse well-formed JSON that readers could choke on; nearly free for flat JSON.

    Raises OutsideError for nesting deeper than `MAX_DEPTH`, numbers beyond 64-bit floats, and lone
    surrogates.
    """
    if not _is_plain(data):
        _parsed(data)


def check_object(data: bytes, *, most: int) -> None:
    """Refuse anything but a JSON object in UTF-8 of at most `most` bytes that every reader takes.

    Raises OutsideError.
    """
    if len(data) > most:
        raise OutsideError(f"must have at most {most:,} bytes")
    try:
        value = json.loads(str(data, "utf-8")) if _is_plain(data) else _parsed(data)
    except OutsideError:
        raise
    except ValueError:
        raise OutsideError("must be a JSON object") from None
    if not isinstance(value, dict):
        raise OutsideError("must be a JSON object")


def _is_plain(data: bytes) -> bool:
    """Whether it cannot be too deep or odd, if it is JSON at all."""
    return not (
        data.count(b"{") + data.count(b"[") > MAX_DEPTH
        or (b"\\" in data and _HALF.search(data))
        or b"NaN" in data
        or b"Infinity" in data
        or _LONG_NUMBER.search(data)
    )


def _parsed(data: bytes) -> Any:
    try:
        value = json.loads(str(data, "utf-8"), parse_constant=_no_number, parse_float=_number)
    except OutsideError:
        raise
    except RecursionError:
        raise OutsideError(_TOO_DEEP) from None
    except ValueError:
        raise OutsideError("must be a JSON object") from None
    _check_value(value, MAX_DEPTH)
    return value


def _number(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        _no_number(text)
    return number


def _no_number(text: str) -> NoReturn:
    raise OutsideError("has a number that is invalid or beyond 64-bit floats")


def _check_value(value: Any, levels: int) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise OutsideError("has half a character (a lone surrogate)")
    elif isinstance(value, int):
        if abs(value) > _LARGEST:
            _no_number("")
    elif isinstance(value, dict | list):
        if not levels:
            raise OutsideError(_TOO_DEEP)
        for one in value:
            _check_value(one, levels - 1)
        if isinstance(value, dict):
            for one in value.values():
                _check_value(one, levels - 1)
