"""Makes named tuples fast, for those that every interaction needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

Value = TypeVar("Value", bound=tuple[object, ...])


def maker(kind: type[Value]) -> Callable[[Iterable[object]], Value]:
    """Return a constructor of `kind` that takes all fields in order: unchecked, in half the time of
    a call.
    """
    return partial(tuple.__new__, kind)
