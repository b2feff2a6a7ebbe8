"""Makes named tuples quickly, where every interaction needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

Value = TypeVar("Value", bound=tuple[object, ...])


def maker(kind: type[Value]) -> Callable[[Iterable[object]], Value]:
    """Return what makes a `kind` of all its fields in order: unchecked, in half the time of
    a call.
    """
    return partial(tuple.__new__, kind)
