"""One timer for everything that becomes due: keepalives, expiries, conflation intervals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

TICK_S = 0.05
"""Resolution of the wheel; timers fire up to this much late, never early."""


class Timed(Protocol):
    """Something in at most one slot of the wheel."""

    tick: int
    """Its slot; 0 when it does not wait."""

    def on_due(self, now: float) -> None:
        """It is due; it may schedule itself again."""


class TimerWheel:
    """A timing wheel: scheduling, cancelling and firing cost the same for one and for a hundred
    thousand.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._slots: dict[int, dict[Timed, None]] = {}
        self._reached = self._tick_of(clock())
        self._handle: asyncio.TimerHandle | None = None

    def schedule(self, timed: Timed, due: float) -> None:
        """Wake `timed` once at `due`, replacing any earlier schedule."""
        self.cancel(timed)
        timed.tick = max(self._tick_of(due) + 1, self._reached + 1)
        self._slots.setdefault(timed.tick, {})[timed] = None

    def cancel(self, timed: Timed) -> None:
        """Cancel the schedule of `timed`; harmless when it has none."""
        if timed.tick:
            slot = self._slots.get(timed.tick)
            if slot is not None:
                slot.pop(timed, None)
            timed.tick = 0

    def turn(self) -> None:
        """Wake everything due by now."""
        now = self._clock()
        target = self._tick_of(now)
        while self._reached < target:
            self._reached += 1
            slot = self._slots.pop(self._reached, None)
            for timed in slot or ():
                if timed.tick == self._reached:  # else another timer has cancelled or moved it
                    timed.tick = 0
                    self._wake(timed, now)

    @staticmethod
    def _wake(timed: Timed, now: float) -> None:
        try:
            timed.on_due(now)
        except Exception:
            logger.exception("what became due failed")  # the others, and the wheel, continue

    def start(self) -> None:
        """Turn every tick from now on; needs a running event loop."""
        self.turn()
        self._handle = asyncio.get_running_loop().call_later(TICK_S, self.start)

    def stop(self) -> None:
        """Stop turning."""
        if self._handle is not None:
            self._handle.cancel()

    @staticmethod
    def _tick_of(moment: float) -> int:
        return int(moment / TICK_S)
