"""The timers that the machine asks for, on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aivo_client.values import Wake

_SLACK_S: Final = 0.001


class Timers:
    """One per name; the last call counts.

    Most calls postpone a distant timer, at every frame. So a timer that fires too early is rearmed,
    instead of moving it in the loop each time.
    """

    def __init__(self, woken: Callable[[str], None]) -> None:
        self._woken = woken
        self._due: dict[str, float] = {}
        self._armed: dict[str, asyncio.TimerHandle] = {}

    def wake(self, effect: Wake) -> None:
        """(Re)start one."""
        loop = asyncio.get_running_loop()
        timer, due = effect.timer, loop.time() + effect.after_s
        self._due[timer] = due
        armed = self._armed.get(timer)
        if armed is None or armed.when() > due:
            if armed is not None:
                armed.cancel()
            self._armed[timer] = loop.call_at(due, self._fire, timer)

    def cancel(self) -> None:
        """Stop all of them."""
        for armed in self._armed.values():
            armed.cancel()
        self._armed.clear()
        self._due.clear()

    def _fire(self, timer: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._due[timer] - _SLACK_S:
            self._armed[timer] = loop.call_at(self._due[timer], self._fire, timer)
            return
        del self._armed[timer], self._due[timer]
        self._woken(timer)
