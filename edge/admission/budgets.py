"""What one person may ask of this edge in total, over all sockets and requests.

Everything has a price (`prices`) that reflects the work it causes. An expensive request may run up
a debt; the next one waits until it is paid off.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_REMEMBERED: Final = 65_536
"""How many budgets are kept, most recently used."""


class Budget:
    """One person's: `rate` units a second on average and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_units", "_updated")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        """Start full. A rate of 0 allows everything."""
        self._rate = rate
        self._burst = burst
        self._units = burst
        self._updated = now

    def take(self, price: float, now: float) -> float:
        """Take the price and return 0, or return the seconds to wait before trying again."""
        rate = self._rate
        if not rate:
            return 0.0
        units = self._units + (now - self._updated) * rate
        self._updated = now
        if units > self._burst:
            units = self._burst
        if units > 0.0:
            self._units = units - price
            return 0.0
        self._units = units
        return (1.0 - units) / rate

    def charge(self, price: float) -> None:
        """Take a price that is known only afterwards."""
        self._units -= price


class Budgets:
    """All budgets, by user id or, before login, by address."""

    def __init__(self, *, rate: float, burst: float) -> None:
        """All have the same rate and burst."""
        self._rate = rate
        self._burst = burst
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def of(self, name: str, now: float) -> Budget:
        """Return the budget of this name, always the same object."""
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(rate=self._rate, burst=self._burst, now=now)
            if len(self._budgets) > MAX_REMEMBERED:
                self._budgets.popitem(last=False)
        else:
            self._budgets.move_to_end(name)
        return budget
