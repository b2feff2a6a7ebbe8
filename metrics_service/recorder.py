"""Writes message records and totals to the store without making senders wait.

Senders put batches in a bounded queue on the event loop; one task writes what waits in a thread,
every half second. A batch that finds the queue full is dropped and counted. While the disk fails,
what could not be written is kept and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from metrics_service.aggregate import Retained
from metrics_service.exchanges import Exchanges, check
from metrics_service.records import AnalyticsRow, MessageRecord, Query
from metrics_service.store import Store, StoreUnavailableError, Tally

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

MOST_MESSAGES = 20_000
"""Messages of one transaction, unless its first batch has more: the writer is busy for some 50 ms
at most.
"""
WRITE_S = 0.5
"""Pause after a write, for the next batches to gather: a transaction costs as much as a hundred
messages.
"""
PAGE = 20
"""Batches of one page of an export."""
ERASE_SPAN = 200
"""Batch ids that one step of erasing scans."""
PRUNE = 500
"""Batches that one cleanup step deletes."""
RETRY_S = 1.0
"""Pause before a failed write is tried again."""
TIDY_S = 60.0
"""Pause between deletions of expired records."""

_DAY_MS = 24 * 3600 * 1000


class RecordingOffError(Exception):
    """This service keeps no message records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept, for how long."""

    recording: bool
    queue: int
    """Slots; a message takes one and one more per 256 characters of content. An empty queue takes
    any batch.
    """
    record_retention_days: float
    sums_retention_days: float
    totals_interval_s: float


class Recorder:
    """Keeps the records, and the fleet's totals that `retain` returns, on the disk."""

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits,
        retain: Callable[[], Retained],
        wall_ms: Callable[[], int],
        tally: Tally,
    ) -> None:
        """Write to `store`, from which `tally` was loaded. `wall_ms` gives Unix milliseconds."""
        self._store = store
        self._limits = limits
        self._retain = retain
        self._wall_ms = wall_ms
        self._recorded = tally.recorded
        self._dropped = tally.dropped
        self._waiting: deque[Exchanges] = deque()
        self._writing: list[Exchanges] = []
        self._slots = 0
        self._arrived = asyncio.Event()
        self._crowded = asyncio.Event()
        """Set when half of the slots are taken, and at the end: writing should not wait."""
        self._stopping = asyncio.Event()
        self._is_failing = False
        self._saved: tuple[Retained, Tally] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # One thread writes, so that writes never wait for each other's locks; readers do not hold
        # it up.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="metrics-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="metrics-reader")

    @property
    def tally(self) -> Tally:
        """Records that reached the disk and that were dropped, ever."""
        return Tally(recorded=self._recorded, dropped=self._dropped)

    @property
    def waiting(self) -> int:
        """Messages that wait for the disk."""
        return _messages(self._waiting) + _messages(self._writing)

    def start(self) -> None:
        """Start writing, saving and cleaning up."""
        loops = (self._write_batches(), self._save_totals(), self._tidy_up())
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]

    async def stop(self, *, within_s: float) -> None:
        """Write what waits and save the totals, for at most `within_s` seconds; the rest is lost,
        and logged.

        Call it once, when nothing is submitted any more.
        """
        self._stopping.set()
        self._arrived.set()
        self._crowded.set()
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*self._tasks)
                self._count_lost()
                await self._save()
            is_writer_free = True
        except TimeoutError:
            self._count_lost()
            is_writer_free = False
        self._writer.shutdown(wait=is_writer_free, cancel_futures=True)
        self._readers.shutdown(wait=is_writer_free, cancel_futures=True)

    def _count_lost(self) -> None:
        if lost := self.waiting:
            self._dropped += lost
            logger.error(
                "message records are lost: the disk was too slow",
                extra={"records": lost},
            )

    def require_recording(self) -> None:
        """Raise RecordingOffError when this service keeps no records."""
        if not self._limits.recording:
            raise RecordingOffError(
                "this metrics service keeps no message records (METRICS_RECORDING is off)"
            )

    def submit(self, batch: Exchanges, *, dropped: int = 0) -> int:
        """Queue a batch if there is room and return the number of messages queued; never waits.

        `dropped` were dropped before they came here. Raises BadRecordError, and RecordingOffError;
        nothing is queued then.
        """
        self.require_recording()
        check(batch)
        self._dropped += dropped
        messages, slots = batch.messages, batch.slots
        if self._slots and self._slots + slots > self._limits.queue:
            self._dropped += messages
            return 0
        if messages:
            self._waiting.append(batch)
            self._slots += slots
            self._arrived.set()
            if self._slots > self._limits.queue // 2:
                self._crowded.set()
        return messages

    async def analytics(self, query: Query) -> list[AnalyticsRow]:
        """Sum the messages that reached the disk. Raises StoreUnavailableError, BadQueryError."""
        return await self._in(self._readers, self._store.analytics, query)

    async def export(
        self, *, from_ms: int, to_ms: int | None
    ) -> AsyncIterator[list[MessageRecord]]:
        """Yield the records on the disk page by page. Raises StoreUnavailableError."""
        pages: Iterator[list[MessageRecord]] = self._store.pages(
            from_ms=from_ms, to_ms=to_ms, size=PAGE
        )
        while page := await self._in(self._readers, next, pages, None):
            yield page

    async def erase(self, *, user_id: str = "", learner_id: str = "") -> int:
        """Delete the records of a user or about a learner, waiting ones too; return how many.
        Raises StoreUnavailableError.

        When cancelled, some may be deleted and others not.
        """
        erased = self._forget_waiting(user_id, learner_id)
        position: int | None = 0
        while position is not None:
            count, position = await self._in(
                self._writer,
                self._store.erase,
                user_id=user_id,
                learner_id=learner_id,
                after=position,
                span=ERASE_SPAN,
            )
            erased += count
        if not await self._in(self._writer, self._store.forget_erased):
            logger.warning(
                "erased records remain in the write-ahead file until its next checkpoint"
            )
        logger.info("erased message records", extra={"records": erased})
        return erased

    def _forget_waiting(self, user_id: str, learner_id: str) -> int:
        # The batches being written now are erased from the disk afterwards, by the same thread;
        # they are filtered here for the case that writing fails and is tried again.
        def rest(batches: Iterable[Exchanges]) -> list[Exchanges]:
            return list(
                filter(
                    None, (one.without(user_id=user_id, learner_id=learner_id) for one in batches)
                )
            )

        before = _messages(self._waiting)
        self._writing = rest(self._writing)
        self._waiting = deque(rest(self._waiting))
        self._recount_slots()
        return before - _messages(self._waiting)

    def _recount_slots(self) -> None:
        self._slots = sum(batch.slots for batch in (*self._waiting, *self._writing))

    async def _write_batches(self) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting or self._writing:
                self._writing = self._writing or self._next_batches()
                if not await self._write(self._writing):
                    if self._stopping.is_set():
                        return
                    await self._pause(RETRY_S)
            if self._stopping.is_set():
                return
            self._arrived.clear()
            self._crowded.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._crowded.wait(), WRITE_S)

    def _next_batches(self) -> list[Exchanges]:
        batches = [self._waiting.popleft()]
        messages = batches[0].messages
        while self._waiting and messages < MOST_MESSAGES:
            batches.append(self._waiting.popleft())
            messages += batches[-1].messages
        return batches

    async def _write(self, batches: list[Exchanges]) -> bool:
        """Write some batches; return False when that should be tried again."""
        messages = _messages(batches)
        tally = Tally(recorded=self._recorded + messages, dropped=self._dropped)
        try:
            await self._in(self._writer, self._store.append, batches, tally)
        except StoreUnavailableError as error:
            self._note_failure(error)
            return False
        except Exception:
            # Batches that the database will never take must not keep the others from it.
            logger.exception("message records cannot be stored", extra={"records": messages})
            self._dropped += messages
        else:
            self._recorded += messages
            self._note_success()
        self._writing = []
        self._recount_slots()
        return True

    async def _save_totals(self) -> None:
        while not self._stopping.is_set():
            await self._save()
            await self._pause(self._limits.totals_interval_s)

    async def _save(self) -> None:
        state = self._retain(), self.tally
        if state == self._saved:
            return
        try:
            await self._in(self._writer, self._store.save, *state)
        except StoreUnavailableError as error:
            self._note_failure(error)
        else:
            self._saved = state
            self._note_success()

    async def _tidy_up(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                while await self._prune() and not self._stopping.is_set():
                    pass
            await self._pause(TIDY_S)

    async def _prune(self) -> bool:
        now_ms = self._wall_ms()
        return await self._in(
            self._writer,
            self._store.prune,
            records_before_ms=now_ms - round(self._limits.record_retention_days * _DAY_MS),
            sums_before_ms=now_ms - round(self._limits.sums_retention_days * _DAY_MS),
            most=PRUNE,
        )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _in(
        self, threads: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await asyncio.wrap_future(threads.submit(work, *args, **kwargs))

    def _note_failure(self, error: StoreUnavailableError) -> None:
        if not self._is_failing:
            logger.error(
                "the database fails; records wait and are dropped when too many",
                extra={"reason": str(error)},
            )
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            logger.info("the database works again")
        self._is_failing = False


def _messages(batches: Iterable[Exchanges]) -> int:
    return sum(batch.messages for batch in batches)
