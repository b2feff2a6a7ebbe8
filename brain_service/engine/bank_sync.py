"""Synchronises this brain's item bank with the store's: reads what is missing, writes back what was
learned.

Depends on the bank, the store and intervals, not on what an interaction does.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from brain_service.engine.storage import Store, StoreError
from brain_service.model.bank import Bank, Stage
from brain_service.model.increments import BankIncrements
from brain_service.model.interaction import Interaction
from brain_service.model.prediction import Statistics
from brain_service.model.update import Increments

logger = logging.getLogger(__name__)

NOTHING: Final = BankIncrements()
_MAX_UNKNOWN: Final = 100_000


class BankSync:
    """One brain's bank beside the store's. Times are those of the event loop's clock, in seconds.

    Increments written twice (after a commit that was wrongly reported as failed) or lost (in a
    crash) cost the bank an observation, and learners nothing.
    """

    def __init__(
        self,
        bank: Bank,
        store: Store,
        *,
        flush_s: float,
        refresh_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix seconds, for the day of each lesson."""
        self._bank = bank
        self._store = store
        self._flush_s = flush_s
        self._refresh_s = refresh_s
        self._clock = clock
        self._flush_at = self._refresh_at = 0.0
        # Names that neither memory nor store knows, so that content views do not read the store
        # each time.
        self._unknown: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._written: dict[str, None] = {}

    def start(self, now: float) -> None:
        """Begin to count the intervals."""
        self._flush_at, self._refresh_at = now + self._flush_s, now + self._refresh_s

    def stage(self) -> Stage:
        """Return a view in which a group can learn."""
        return self._bank.stage()

    def lookup(self, interaction: Interaction) -> Statistics:
        """Return the statistics for an interaction that was prepared."""
        return self._bank.lookup(interaction)

    async def learn(self, increments: Increments) -> None:
        """Learn of one item, outside any group."""
        if increments.item is not None and not self._bank.knows(increments.item):
            await self._read([increments.item], [])
        stage = self._bank.stage()
        stage.add(increments)
        stage.commit()

    async def prepare(self, interactions: Iterable[Interaction]) -> None:
        """Read what these interactions need and memory lacks, in at most one read."""
        await self._read(*self._bank.missing(interactions))

    def is_prepared(self, interaction: Interaction) -> bool:
        """Return whether memory has what an interaction needs."""
        items, subjects = self._bank.missing((interaction,))
        return not any(self._unread(items, subjects))

    def is_due(self, now: float) -> bool:
        """Return whether increments should be written with the next commit."""
        return bool(self._bank.pending) and now >= self._flush_at

    def _unread(self, items: Iterable[str], subjects: Iterable[str]) -> tuple[list[str], list[str]]:
        """Leave out names that the store does not know either."""
        return (
            [item for item in items if ("item", item) not in self._unknown],
            [subject for subject in subjects if ("subject", subject) not in self._unknown],
        )

    async def _read(self, items: Iterable[str], subjects: Iterable[str]) -> None:
        wanted_items, wanted_subjects = self._unread(items, subjects)
        if not wanted_items and not wanted_subjects:
            return
        totals = await self._store.bank(wanted_items, wanted_subjects)
        self._bank.load(*totals)
        self._unknown.update(
            (("item", item), None) for item in wanted_items if item not in totals.items
        )
        self._unknown.update(
            (("subject", name), None) for name in wanted_subjects if name not in totals.norms
        )
        while len(self._unknown) > _MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    def due_at(self) -> float | None:
        """Return when increments should be written; None while there are none."""
        return self._flush_at if self._bank.pending else None

    def take(self, now: float) -> BankIncrements:
        """Take the increments for the next commit, if they are due; then call `written` or
        `not_written`.
        """
        return self._drain() if self.is_due(now) else NOTHING

    def _drain(self) -> BankIncrements:
        drained = self._bank.drain()
        return NOTHING if drained == NOTHING else drained._replace(day=int(self._clock() // 86_400))

    def written(self, increments: BankIncrements, now: float) -> None:
        """The increments are in the store."""
        if increments == NOTHING:
            return
        self._flush_at = now + self._flush_s
        for item in increments.items:
            self._written[item.item] = None
            self._unknown.pop(("item", item.item), None)
        for norm in increments.norms:
            self._unknown.pop(("subject", norm.subject), None)

    def not_written(self, increments: BankIncrements, now: float) -> None:
        """They are not; they are taken again next time."""
        if increments == NOTHING:
            return
        self._flush_at = now + self._flush_s
        self._bank.restore(increments)

    async def flush(self, now: float) -> None:
        """Write all increments now, alone. When that fails it is logged and they wait for the next
        time.
        """
        increments = self._drain()
        if increments == NOTHING:
            return
        try:
            await self._store.commit([], increments)
        except StoreError as error:
            logger.warning("the item bank was not written back: %s", error)
            self.not_written(increments, now)
        except BaseException:
            self.not_written(increments, now)
            raise
        else:
            self.written(increments, now)

    async def upkeep(self, now: float) -> None:
        """Do what is due: write increments; reread recently written items, which other brains may
        have changed.
        """
        if self.is_due(now):
            await self.flush(now)
        if self._written and now >= self._refresh_at:
            self._refresh_at = now + self._refresh_s
            items, self._written = list(self._written), {}
            self._bank.load(*await self._store.bank(items, ()))
