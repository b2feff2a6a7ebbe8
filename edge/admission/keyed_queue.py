"""Lets each person read the log once at a time: asking for much delays only oneself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from edge.ports import Done, UpstreamError

T = TypeVar("T")


class KeyedQueue:
    """Calls that wait for an earlier one of the same person to be answered."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def __len__(self) -> int:
        """How many people's calls are under way."""
        return len(self._waiting)

    def take(self, name: str, start: Callable[[Done[T]], None], done: Done[T]) -> None:
        """Call `start` when no earlier call of this name is under way; it must call its argument
        once, and `done` gets the same.
        """
        queue = self._waiting.get(name)
        begin = partial(start, partial(self._answered, name, done))
        if queue is None:
            self._waiting[name] = deque()
            begin()
        else:
            queue.append(begin)

    def _answered(self, name: str, done: Done[T], answer: T | UpstreamError) -> None:
        queue = self._waiting[name]
        if queue:
            queue.popleft()()
        else:
            del self._waiting[name]
        done(answer)
