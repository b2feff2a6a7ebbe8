"""Clocks that tests move, and an event loop on which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

FAR_AHEAD_MS = 4_102_444_800_000
"""The year 2100."""


class FakeClock:
    """A clock that stands still until it is told how much time has passed."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class InstantLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time: its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout:
                self._ahead += timeout
            return select(0 if timeout is not None else None)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        """Return seconds, those that were jumped over included."""
        return super().time() + self._ahead


def run_instantly(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run `work` on an InstantLoop and return its result and how many seconds it would have
    taken.
    """
    loop = InstantLoop()
    try:
        started = loop.time()
        return loop.run_until_complete(work), loop.time() - started
    finally:
        loop.close()
