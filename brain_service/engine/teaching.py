"""Decides what learners teach the shared bank: who may, each item once, daily limits, no wild
times; and bounds its rows.

The state knows whether an answer was the learner's first to an item, for the last 64 items. A
learner with more may have answered an older item too: then the log is checked afterwards, in the
background, and the bank learns some seconds later. So a learner teaches each item exactly once, in
bounded memory; a crash or a full queue loses one observation of the bank's, never anything of a
learner's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from brain_service.engine.allowances import Allowances
from brain_service.engine.bank_sync import BankSync
from brain_service.engine.group import Doubt, read_interaction
from brain_service.engine.storage import Declared, Store, StoreError
from brain_service.engine.submission import Submission
from brain_service.model import Increments, Statistics
from brain_service.model.interaction import MAX_NAME
from brain_service.model.prediction import item_key
from brain_service.model.teaching import (
    CALLS,
    ITEMS,
    LESSONS,
    TIMES,
    Allowance,
    Teachers,
    plain_time,
    without_calls,
)
from brain_service.model.values import maker

logger = logging.getLogger(__name__)

_MAX_WAITING: Final = 50_000
"""Answers waiting for a check of the log; the oldest are dropped first."""
_MAX_ITEMS: Final = 200_000
"""Items of learners kept in memory, so that the log is read once and then only continued."""
_PAGE: Final = 200
_REST: Final = 4.0
"""After reading the log, pause this many times as long, so that interactions come first."""


_PRUNE_S: Final = 3600.0
"""How often to look for rows to delete."""
_NOTHING: Final = Increments(None, 0.0, 0.0, None, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachingOptions:
    """Who may teach the bank how much, and how much it keeps."""

    teachers: Teachers = Teachers.ANYBODY
    guarded: bool = True
    """Whether one learner's influence is bounded. If not, every answer and time counts and nothing
    else is shared, as in the reference calculation.
    """
    allowance: Allowance = Allowance()
    """How much one learner may teach on one day."""
    ask_s: float = 10.0
    """How long answers gather before the log is read."""
    items: int = 1_000_000
    """Items kept in the store; those with the fewest answers are deleted first."""
    subjects: int = 10_000
    """Subjects kept in the store."""
    age_days: int = 400
    """Days after which untaught rows are deleted; 0 for never."""


_increments: Final = maker(Increments)


class BadNameError(ValueError):
    """An invalid list of names; the text says why."""


async def declare_command(store: Store, kind: str, names: Iterable[str]) -> str:
    """Run `python -m brain_service declare` for one list; returns the sentence to print.

    `kind` is "item" or "subject"; empty names are left out. The list replaces the previous one.
    Raises `BadNameError` and `StoreUnavailableError`.
    """
    declared = {name.strip() for name in names} - {""}
    for name in declared:
        if len(name) > MAX_NAME or not name.isprintable():
            raise BadNameError(
                f"{name[:40]!r} can be no {kind}: at most {MAX_NAME} characters, none that control"
            )
    new, gone = await store.declare(kind, declared)
    return f"{len(declared):,} {kind}s are declared: {new:,} new, {gone:,} no longer."


class Teaching:
    """Decides what of each interaction the bank learns. All methods belong to one event loop."""

    def __init__(
        self,
        store: Store,
        bank: BankSync,
        options: TeachingOptions,
        *,
        clock: Callable[[], float],
    ) -> None:
        """`clock` tells the day, Unix seconds."""
        self._store = store
        self._bank = bank
        self._options = options
        self._clock = clock
        self._everybody = options.teachers is Teachers.ANYBODY
        self._declared = Declared("", frozenset(), frozenset())
        self._allowances = Allowances(*options.allowance)
        self._answered = _Answered(store)
        self._doubts: deque[Doubt] = deque(maxlen=_MAX_WAITING)
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the periodic checks of the log. Raises `StoreUnavailableError`."""
        await self._read_declared()
        self._task = asyncio.create_task(self._run(), name="teaching")

    async def stop(self) -> None:
        """Stop. Unchecked answers are not learned."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def admit(
        self, submission: Submission, statistics: Statistics, increments: Increments
    ) -> Increments:
        """Return the part of an interaction's increments that the bank learns at once.

        `repeated` is None in it where the log must be asked first, see `ask`.
        """
        item, base, delta, subject, log_time, repeated, lesson = increments
        learner_id = submission.learner_id
        if not self._everybody:
            if not self._may_teach(submission):
                return _NOTHING
            if (
                self._options.teachers is Teachers.DECLARED
                and subject not in self._declared.subjects
            ):
                subject = None
        if not self._options.guarded:
            return _increments((item, base, delta, subject, log_time, False, None))
        left = self._allowances.left(learner_id, self._clock())
        if item is not None:
            if not left[ITEMS]:
                item, repeated = None, False  # nor need the log be read for it
            elif repeated is not False:
                item = None
            else:
                left[ITEMS] -= 1
        if subject is not None:
            if not left[TIMES]:
                subject = None
            else:
                left[TIMES] -= 1
                log_time = plain_time(log_time, statistics)
        if lesson is not None:
            if not left[LESSONS]:
                lesson = None
            else:
                left[LESSONS] -= 1
                if left[CALLS]:
                    left[CALLS] -= 1
                else:
                    lesson = without_calls(lesson)
        return _increments((item, base, delta, subject, log_time, repeated, lesson))

    def ask(self, doubts: list[Doubt]) -> None:
        """Queue durable answers for a check of the log."""
        self._doubts.extend(doubts)

    def forget(self) -> None:
        """Drop the cache of answered items: a learner was erased, and nothing of theirs may
        stay.
        """
        self._answered = _Answered(self._answered.store)

    async def settle(self) -> None:
        """Check all queued answers against the log. Raises `StoreUnavailableError`; the rest is
        then not learned.
        """
        async with self._asking:
            await self._ask_all()

    async def _ask_all(self) -> None:
        waiting = sorted(self._doubts, key=lambda doubt: doubt[:3])
        self._doubts.clear()
        for learner_key, of_learner in groupby(waiting, key=lambda doubt: doubt.learner_key):
            doubts = {doubt.revision: doubt for doubt in of_learner}
            began = time.monotonic()
            items = {each.revision: each.increments.item for each in doubts.values()}
            for revision in await self._answered.firsts(learner_key, items):
                doubt = doubts[revision]
                left = self._allowances.left(doubt.learner_id, self._clock())
                if left[ITEMS]:
                    left[ITEMS] -= 1
                    await self._bank.learn(doubt.increments._replace(subject=None, lesson=None))
            await asyncio.sleep(_REST * (time.monotonic() - began))

    def _may_teach(self, submission: Submission) -> bool:
        if self._options.teachers is Teachers.TRUSTED:
            return submission.verified
        return submission.interaction.item in self._declared.items

    async def _run(self) -> None:
        prune_at = time.monotonic()
        while True:
            try:
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + _PRUNE_S
                    await self._prune()
                await self._read_declared()
                await self.settle()
            except StoreError as error:
                logger.warning("the store is not available for the item bank: %s", error)
            except Exception:
                logger.exception("the upkeep of the item bank failed")
            await asyncio.sleep(self._options.ask_s)

    async def _prune(self) -> None:
        options = self._options
        today = int(self._clock() // 86_400)
        removed = await self._store.prune_bank(
            before_day=today - options.age_days if options.age_days else 0,
            items=options.items,
            subjects=options.subjects,
        )
        if removed:
            logger.info("%d items and subjects left the bank", removed)

    async def _read_declared(self) -> None:
        if self._options.teachers is Teachers.DECLARED:
            self._declared = await self._store.declared(self._declared.version) or self._declared


class _Known:
    """The items that a learner answered up to a revision."""

    __slots__ = ("items", "until")

    def __init__(self) -> None:
        self.until = 0
        self.items: set[bytes] = set()


class _Answered:
    """Which items learners answered, from the log, for the most recent learners."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._size = 0

    async def firsts(self, learner_key: int, items: Mapping[int, str | None]) -> list[int]:
        """Return those of these revisions that were the learner's first answer to their items."""
        known = self._known.pop(learner_key, None) or _Known()
        before = len(known.items)
        firsts = []
        last = max(items)
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
                    if items.get(row.revision) == interaction.item:
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
