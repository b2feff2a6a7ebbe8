"""Whose password is checked next, when more wait than can be checked at once.

Those who have tried least lately go first. Addresses with many refusals come last, whichever
accounts they name, because names are easily made up; then account, address and arrival decide. So
repeated attempts wait behind new users, wherever both come from. The last turn is kept for somebody
new from an address that has none, who would otherwise wait until a check ends. A check works on
several cores, so a school behind one address loses little.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

HALF_LIFE_S: Final = 30.0
"""Half-life of counted attempts, in seconds."""

OFTEN: Final = 2.0
"""Tries of an account, or refusals of an address, from which on somebody is no longer new."""

MAX_KEYS: Final = 65_536
"""Accounts and addresses whose attempts are remembered, most recent first."""


class TooManyWaitingError(Exception):
    """The queue is full; try again in a moment."""

    trailing_metadata = (("retry-after-ms", "1000"),)

    def __init__(self) -> None:
        super().__init__("too many sign-ins at once; try again in a moment")


@dataclass(slots=True, eq=False)
class _Waiting:
    account: str
    address: str
    arrived: int
    turn: asyncio.Future[bool] = field(default_factory=asyncio.Future)


class _Recent:
    """Recent attempts per key."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def add(self, key: str, now_s: float) -> None:
        self._asked[key] = (self.of(key, now_s) + 1.0, now_s)
        self._asked.move_to_end(key)
        while len(self._asked) > MAX_KEYS:
            self._asked.popitem(last=False)

    def of(self, key: str, now_s: float) -> float:
        asked, when_s = self._asked.get(key, (0.0, now_s))
        return float(asked * 0.5 ** ((now_s - when_s) / HALF_LIFE_S))


class FairQueue:
    """Limits concurrent work; the others wait for their turn."""

    def __init__(
        self,
        *,
        at_once: int,
        clock: Callable[[], float],
        max_waiting: int = 128,
        per_account: int = 2,
        per_address: int = 32,
    ) -> None:
        """The queue is limited in total, per account and per address; those who have tried more
        give way to those who have tried less. `clock` gives seconds.
        """
        self.free = at_once
        """How many may begin now."""
        self._kept = 1 if at_once > 1 else 0
        """How many of these for somebody new."""
        self._clock = clock
        self._max_waiting = max_waiting
        self._per_account = per_account
        self._per_address = per_address
        self._accounts, self._addresses, self._refused = _Recent(), _Recent(), _Recent()
        self._at_work = Counter[str]()
        """How many turns each address has."""
        self._working: set[asyncio.Future[Any]] = set()
        self._waiting: list[_Waiting] = []
        self._arrivals = 0

    async def take(self, account: str, address: str, work: Callable[[bool], Awaitable[T]]) -> T:
        """Wait for a turn and do the work, which gets whether a new user waits for it; what it
        raises counts against the address, which counts as one also when empty.

        Work that has begun is done to its end, and keeps its turn, when the caller gives up: a
        thread cannot be stopped. Raises TooManyWaitingError at once, or later when somebody who has
        asked less needs the place.
        """
        waiting = self._enter(account, address)
        try:
            is_new = await waiting.turn
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        task = asyncio.ensure_future(self._do(partial(work, is_new), address))
        self._working.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, should nobody wait for it any more

    async def _do(self, work: Callable[[], Awaitable[T]], address: str) -> T:
        try:
            return await work()
        except Exception:
            self._refused.add(address, self._clock())
            raise
        finally:
            self._give_back(address)

    def _enter(self, account: str, address: str) -> _Waiting:
        self._arrivals += 1
        waiting = _Waiting(account, address, self._arrivals)
        same = [one for one in self._waiting if account and one.account == account]
        beside = [one for one in self._waiting if one.address == address]
        if len(same) >= self._per_account:
            self._make_place(waiting, same)
        elif len(beside) >= self._per_address:
            self._make_place(waiting, beside)
        elif len(self._waiting) >= self._max_waiting:
            self._make_place(waiting, self._waiting)
        self._waiting.append(waiting)
        self._call()
        return waiting

    def _make_place(self, newcomer: _Waiting, among: list[_Waiting]) -> None:
        """Evict whoever has tried most, unless that is the newcomer."""
        now_s = self._clock()
        last = max([*among, newcomer], key=lambda one: self._rank(one, now_s))
        if last is newcomer:
            raise TooManyWaitingError
        self._waiting.remove(last)
        if not last.turn.done():  # else its caller has just given up
            last.turn.set_exception(TooManyWaitingError())

    def _call(self) -> None:
        now_s = self._clock()
        while self.free and (first := self._first(now_s)):
            self._waiting.remove(first)
            if first.turn.done():
                continue  # its caller has just given up
            is_new = self._is_new(first, now_s)
            self._accounts.add(first.account, now_s)
            self._addresses.add(first.address, now_s)
            self._at_work[first.address] += 1
            self.free -= 1
            first.turn.set_result(is_new)

    def _give_back(self, address: str) -> None:
        self._at_work[address] -= 1
        if not self._at_work[address]:
            del self._at_work[address]
        self.free += 1
        self._call()

    def _first(self, now_s: float) -> _Waiting | None:
        """Return the next one in the queue, if any."""
        may = self._waiting
        if self.free <= self._kept:
            may = [
                one for one in may if self._is_new(one, now_s) and not self._at_work[one.address]
            ]
        return min(may, key=lambda one: self._rank(one, now_s), default=None)

    def _is_new(self, one: _Waiting, now_s: float) -> bool:
        asked, refused = self._accounts.of(one.account, now_s), self._refused.of(one.address, now_s)
        return max(asked, refused) < OFTEN

    def _rank(self, one: _Waiting, now_s: float) -> tuple[float, float, float, int]:
        # In whole and tenths: what happened a moment earlier is no reason.
        return (
            round(self._refused.of(one.address, now_s), 1),
            round(self._accounts.of(one.account, now_s), 1),
            round(self._addresses.of(one.address, now_s), 1),
            one.arrived,
        )

    def _leave(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled() and not waiting.turn.exception():
            self._give_back(waiting.address)  # its turn had just come
