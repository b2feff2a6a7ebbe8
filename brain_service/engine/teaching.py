"""Lets learners teach the shared bank: each item once, so much a day, and no wild times.

Whether an answer was the learner's first to an item is told by the state, which remembers the last
64. A learner who answered more than that may have answered an older one too: then the log is asked
afterwards, in the background, and the bank learns some seconds later. So an item is taught once by
a learner, exactly, in bounded memory; what a crash or a full queue loses is one observation of the
bank's, never anything of a learner's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from itertools import groupby
from typing import Final

from brain_service.engine.bank_sync import BankSync
from brain_service.engine.group import Doubt, read_interaction
from brain_service.engine.journal import Store, StoreError
from brain_service.model import Increments, Statistics
from brain_service.model.prediction import item_key
from brain_service.model.teaching import Allowance, Allowances, plain_time
from brain_service.model.values import maker

logger = logging.getLogger(__name__)

_MAX_WAITING: Final = 50_000
"""Answers that wait until the log was asked; the oldest leave first."""
_MAX_ITEMS: Final = 200_000
"""Items of learners kept in memory, so that the log is read once and then only further."""
_PAGE: Final = 200
_REST: Final = 4.0
"""After asking the log this many times as long is rested, so that interactions come first."""


_increments: Final = maker(Increments)


class Teaching:
    """Decides what of each interaction the bank learns. All methods belong to one event loop."""

    def __init__(
        self,
        store: Store,
        bank: BankSync,
        allowance: Allowance,
        *,
        clock: Callable[[], float],
        ask_s: float,
    ) -> None:
        """`ask_s` is how long answers gather before the log is asked about them."""
        self._bank = bank
        self._clock = clock
        self._ask_s = ask_s
        self._allowances = Allowances(allowance)
        self._answered = _Answered(store)
        self._doubts: deque[Doubt] = deque(maxlen=_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask the log now and then."""
        self._task = asyncio.create_task(self._run(), name="teaching")

    async def stop(self) -> None:
        """Stop. What the log was not asked about is not learned."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def admit(self, learner_id: str, statistics: Statistics, increments: Increments) -> Increments:
        """Return what the bank learns at once of what an interaction would teach it."""
        item, base, delta, subject, log_time, repeated = increments
        now_s = self._clock()
        if item is not None and (
            repeated is not False or not self._allowances.take_item(learner_id, now_s)
        ):
            item = None
        if subject is not None:
            if self._allowances.take_time(learner_id, now_s):
                log_time = plain_time(log_time, statistics)
            else:
                subject = None
        return _increments((item, base, delta, subject, log_time, repeated))

    def ask(self, doubts: list[Doubt]) -> None:
        """Have the log asked about answers that are durable now."""
        self._doubts.extend(doubts)

    def forget(self) -> None:
        """Forget what learners answered: one was erased, and nothing of theirs may stay."""
        self._answered = _Answered(self._answered.store)

    async def settle(self) -> None:
        """Ask the log about all that waits. Raises `StoreUnavailableError`; the rest is then not
        learned.
        """
        waiting = sorted(self._doubts, key=lambda doubt: doubt[:3])
        self._doubts.clear()
        for learner_key, of_learner in groupby(waiting, key=lambda doubt: doubt.learner_key):
            doubts = {doubt.revision: doubt for doubt in of_learner}
            began = time.monotonic()
            for revision in await self._answered.firsts(learner_key, doubts.keys()):
                doubt = doubts[revision]
                if self._allowances.take_item(doubt.learner_id, self._clock()):
                    await self._bank.learn(doubt.increments._replace(subject=None))
            await asyncio.sleep(_REST * (time.monotonic() - began))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._ask_s)
            try:
                await self.settle()
            except StoreError as error:
                logger.warning("the log could not be asked for first answers: %s", error)
            except Exception:
                logger.exception("asking the log for first answers failed")


class _Known:
    """The items that a learner answered up to a revision."""

    __slots__ = ("items", "until")

    def __init__(self) -> None:
        self.until = 0
        self.items: set[bytes] = set()


class _Answered:
    """Which items learners answered, as the log has it; those of the learners asked about last."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._size = 0

    async def firsts(self, learner_key: int, revisions: Collection[int]) -> list[int]:
        """Return those of these revisions that were the learner's first answer to their item."""
        known = self._known.pop(learner_key, None) or _Known()
        before = len(known.items)
        firsts = []
        last = max(revisions)
        while known.until < last:
            rows = await self.store.interactions(
                learner_key, after_revision=known.until, limit=min(_PAGE, last - known.until)
            )
            if not rows:  # erased
                break
            for row in rows:
                interaction = read_interaction(row)
                if interaction is None or interaction.correct is None:
                    continue
                key = item_key(interaction.item)
                if key not in known.items:
                    known.items.add(key)
                    if row.revision in revisions:
                        firsts.append(row.revision)
            known.until = rows[-1].revision
        self._keep(learner_key, known, len(known.items) - before)
        return firsts

    def _keep(self, learner_key: int, known: _Known, grown: int) -> None:
        self._known[learner_key] = known
        self._size += grown
        while self._size > _MAX_ITEMS and len(self._known) > 1:
            _, forgotten = self._known.popitem(last=False)
            self._size -= len(forgotten.items)
