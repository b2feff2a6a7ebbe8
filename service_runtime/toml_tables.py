"""Reads tables of TOML files into frozen values, and says what is wrong in a sentence with its
place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Final

_KINDS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "str": ((str,), "text"),
    "bool": ((bool,), "a bool"),
    "float": ((int, float), "a number"),
}


def fields_of(
    kind: type[Any],
    table: Any,
    where: str,
    *,
    error: Callable[[str], Exception],
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values of a table by the fields of the dataclass `kind`, lists of strings as
    tuples; fields of other types are for the caller to check.

    Raises `error` for anything but a table, an unknown name or one of `without`, and a wrong type.
    """
    if not isinstance(table, dict):
        raise error(f"{where}: expected a table")
    known = {one.name: one for one in dataclasses.fields(kind) if one.name not in without}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise error(f"{where}: `{name}` is unknown; known are {', '.join(known)}")
        expected = str(known[name].type)
        if expected.startswith("tuple"):
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise error(f"{where}: `{name}` must be a list of strings")
            value = tuple(value)
        elif expected in _KINDS:
            kinds, wanted = _KINDS[expected]
            if type(value) not in kinds:
                raise error(f"{where}: `{name}` must be {wanted}")
        values[name] = value
    return values
