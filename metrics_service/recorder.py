"""Brings message records and totals to the store without ever making their senders wait; it knows no SQL.

Senders put records in a bounded queue on the event loop; one task writes them in batches in a thread. What finds the
queue full is dropped and counted. While the disk fails, the batch that could not be written is kept and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from metrics_service.aggregate import Retained
from metrics_service.records import AnalyticsRow, MessageRecord, Query, check
from metrics_service.store import Store, StoreUnavailable, Tally

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BATCH = 5_000
"""Most records of one transaction, and rows of one step of tidying up: the writer is busy for some 50 ms at most."""
PAGE = 1_000
"""Records of one page of an export."""
ERASE_SPAN = 50_000
"""Record ids that one step of erasing looks through."""
RETRY_S = 1.0
"""Pause before a failed write is tried again."""
TIDY_S = 60.0
"""Pause between deletions of what is too old."""

_CONTENT_PER_PLACE = 256
"""Characters of content that take one place of the queue, so that contents cannot fill the memory."""
_DAY_MS = 24 * 3600 * 1000


class RecordingOff(Exception):
    """This service keeps no message records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept, and how long."""

    recording: bool
    queue: int
    """Places; a record takes one and one more per 256 characters of content."""
    record_retention_days: float
    sums_retention_days: float
    totals_interval_s: float


class Recorder:
    """Keeps the records, and the fleet's totals that `retain` returns, on the disk."""

    def __init__(
        self, store: Store, *, limits: Limits, retain: Callable[[], Retained], wall_ms: Callable[[], int], tally: Tally
    ) -> None:
        """Write to `store`, from which `tally` was loaded. `wall_ms` gives Unix milliseconds."""
        self._store = store
        self._limits = limits
        self._retain = retain
        self._wall_ms = wall_ms
        self._recorded = tally.recorded
        self._dropped = tally.dropped
        self._waiting: deque[MessageRecord] = deque()
        self._writing: list[MessageRecord] = []
        self._places = 0
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_failing = False
        self._saved: tuple[Retained, Tally] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # One thread writes, so that writes never wait for each other's locks; readers do not hold it up.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="metrics-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="metrics-reader")

    @property
    def tally(self) -> Tally:
        """Records that reached the disk and that were dropped, ever."""
        return Tally(recorded=self._recorded, dropped=self._dropped)

    @property
    def waiting(self) -> int:
        """Records that wait for the disk."""
        return len(self._waiting) + len(self._writing)

    def start(self) -> None:
        """Begin to write, save and tidy up."""
        loops = (self._write_batches(), self._save_totals(), self._tidy_up())
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]

    async def stop(self, *, within_s: float) -> None:
        """Write what waits and save the totals, for at most `within_s` seconds; what is left then is lost, and logged.

        Call it once, when nothing is submitted any more.
        """
        self._stopping.set()
        self._arrived.set()
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
            logger.error("message records are lost: the disk did not take them in time", extra={"records": lost})

    def require_recording(self) -> None:
        """Raise RecordingOff when this service keeps no records."""
        if not self._limits.recording:
            raise RecordingOff("this metrics service keeps no message records (METRICS_RECORDING is off)")

    def submit(self, records: Sequence[MessageRecord], *, dropped: int = 0) -> int:
        """Queue records and return how many found a place; never waits. `dropped` were dropped before they came here.

        Raises BadRecord, and RecordingOff; nothing is queued then.
        """
        self.require_recording()
        for record in records:
            check(record)
        accepted = 0
        for record in records:
            places = _places(record)
            if self._places + places > self._limits.queue:
                continue
            self._waiting.append(record)
            self._places += places
            accepted += 1
        self._dropped += dropped + len(records) - accepted
        if accepted:
            self._arrived.set()
        return accepted

    async def analytics(self, query: Query) -> list[AnalyticsRow]:
        """Sum the messages that reached the disk. Raises StoreUnavailable, BadQuery."""
        return await self._in(self._readers, self._store.analytics, query)

    async def export(self, *, from_ms: int, to_ms: int | None) -> AsyncIterator[list[MessageRecord]]:
        """Yield the records on the disk page by page. Raises StoreUnavailable."""
        pages: Iterator[list[MessageRecord]] = self._store.pages(from_ms=from_ms, to_ms=to_ms, size=PAGE)
        while page := await self._in(self._readers, next, pages, None):
            yield page

    async def erase(self, *, user_id: str = "", learner_id: str = "") -> int:
        """Delete the records of a user or about a learner, waiting ones too; return how many. Raises StoreUnavailable.

        When cancelled, some may be deleted and others not.
        """

        def concerns(record: MessageRecord) -> bool:
            return record.user_id == user_id if user_id else record.learner_id == learner_id

        erased = self._forget_waiting(concerns)
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
            logger.warning("erased records remain in the write-ahead file until its next checkpoint")
        logger.info("erased message records", extra={"records": erased})
        return erased

    def _forget_waiting(self, concerns: Callable[[MessageRecord], bool]) -> int:
        # The batch being written now is erased from the disk afterwards, by the same thread; it is filtered here for
        # the case that writing fails and is tried again.
        self._writing = [record for record in self._writing if not concerns(record)]
        kept = [record for record in self._waiting if not concerns(record)]
        forgotten = len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        self._recount_places()
        return forgotten

    def _recount_places(self) -> None:
        self._places = sum(map(_places, self._waiting)) + sum(map(_places, self._writing))

    async def _write_batches(self) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting or self._writing:
                if not self._writing:
                    self._writing = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not await self._write_batch(self._writing):
                    if self._stopping.is_set():
                        return
                    await self._pause(RETRY_S)
            if self._stopping.is_set():
                return
            self._arrived.clear()

    async def _write_batch(self, batch: list[MessageRecord]) -> bool:
        """Write one batch; return False when it should be tried again."""
        tally = Tally(recorded=self._recorded + len(batch), dropped=self._dropped)
        try:
            await self._in(self._writer, self._store.append, batch, tally)
        except StoreUnavailable as error:
            self._note_failure(error)
            return False
        except Exception:
            # A batch that the database will never take must not keep the others from it.
            logger.exception("message records cannot be stored", extra={"records": len(batch)})
            self._dropped += len(batch)
        else:
            self._recorded += len(batch)
            self._note_success()
        self._writing = []
        self._recount_places()
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
        except StoreUnavailable as error:
            self._note_failure(error)
        else:
            self._saved = state
            self._note_success()

    async def _tidy_up(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailable):
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
            most=BATCH,
        )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(threads.submit(work, *args, **kwargs))

    def _note_failure(self, error: StoreUnavailable) -> None:
        if not self._is_failing:
            logger.error("the database fails; records wait and are dropped when too many", extra={"reason": str(error)})
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            logger.info("the database works again")
        self._is_failing = False


def _places(record: MessageRecord) -> int:
    return 1 + len(record.content) // _CONTENT_PER_PLACE
