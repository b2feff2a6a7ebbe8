"""Applies interactions, one at a time per learner, and acknowledges what the store has made
durable.

Depends on no transport, no database library and no protobuf.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple, cast

from brain_service.engine import privacy, reads, rebuild
from brain_service.engine.allowances import Allowances
from brain_service.engine.bank_sync import BankSync
from brain_service.engine.commits import Commits
from brain_service.engine.counters import BrainCounters
from brain_service.engine.memory import Memory
from brain_service.engine.notices import Notifier
from brain_service.engine.options import EngineOptions
from brain_service.engine.publication import Bus, Publication
from brain_service.engine.rebuild import OnTouch
from brain_service.engine.retention import Retention
from brain_service.engine.storage import (
    Store,
    StoreError,
    StoreUnavailableError,
)
from brain_service.engine.submission import (
    Applied,
    Call,
    Failed,
    FailureCode,
    HistoryEntry,
    LearnerSnapshot,
    Submission,
    admit,
    invalid,
    quota_price,
)
from brain_service.engine.teaching import Teaching
from brain_service.model.bank import Bank
from brain_service.tracing import NO_TRACES, NoTraces

__all__ = [
    "Applied",
    "Engine",
    "EngineOptions",
    "Failed",
    "FailureCode",
    "HistoryEntry",
    "LearnerSnapshot",
    "Submission",
]

logger = logging.getLogger(__name__)

_OVERLOADED: Final = Failed(
    code=FailureCode.OVERLOADED, message="Too many interactions are waiting; try again later."
)
_QUOTA_USED: Final = Failed(
    code=FailureCode.QUOTA, message="This learner has reached today's limit; continue tomorrow."
)
_LEFT: Final = invalid(
    "interaction_id or occurred_at is of before what the log keeps (BRAIN_LOG_DAYS): whether it was"
    " counted cannot be told any more."
)
_NOT_RUNNING: Final = Failed(
    code=FailureCode.UNAVAILABLE, message="The brain is not running; try again."
)


class _Erasure(NamedTuple):
    """A queued erasure, behind the interactions that arrived before it."""

    learner_id: str
    requested_by: str
    done: asyncio.Future[int]


class Engine:
    """Applies interactions in arrival order per learner and commits them in groups.

    One task makes all changes: it takes what is queued, computes new values, writes them in one
    transaction, and only then changes caches, answers callers and publishes. The next group gathers
    meanwhile. All methods belong to one event loop.
    """

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        bank: Bank | None = None,
        clock: Callable[[], float] = time.time,
        options: EngineOptions | None = None,
        traces: NoTraces = NO_TRACES,
        notifier: Notifier | None = None,
    ) -> None:
        """`traces` records sampled interactions; `notifier` makes notices for outside systems."""
        self.store = store
        self.counters = BrainCounters()
        self._clock = clock
        self._options = EngineOptions() if options is None else options
        self._queue: deque[Submission | _Erasure] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._at_rest = False
        self._quota = Allowances(self._options.quota_a_day)
        self.memory = Memory(
            learners=self._options.cache_learners, answers=self._options.recent_ids
        )
        self.bank = BankSync(
            Bank() if bank is None else bank,
            store,
            flush_s=self._options.bank_flush_s,
            refresh_s=self._options.bank_refresh_s,
            clock=clock,
        )
        self._on_touch = OnTouch(store, self.bank)
        self._teaching = Teaching(
            store,
            self.bank,
            self._options.teaching,
            clock=clock,
        )
        self.retention = Retention(store, self.bank, self._options.log_days, clock=clock)
        self._commits = Commits(
            store=store,
            bus=bus,
            memory=self.memory,
            bank=self.bank,
            teaching=self._teaching,
            on_touch=self._on_touch,
            counters=self.counters,
            traces=traces,
            notifier=notifier,
        )
        self._erasure_check_at = 0.0
        self._audit_seen = 0

    @property
    def epoch(self) -> str:
        """The store's epoch; a revision means something only together with it."""
        return self.store.epoch

    @property
    def pending(self) -> int:
        """Length of the queue."""
        return len(self._queue)

    @property
    def cached_learners(self) -> int:
        """How many learners are in memory."""
        return self.memory.size

    async def start(self) -> None:
        """Begin to work. Raises `StoreUnavailableError` when the store cannot be read."""
        seen = await self.store.audit()
        self._audit_seen = seen[-1].audit_id if seen else 0
        self.memory.keep_outdated(not rebuild.is_going_on(seen))
        self.bank.start(self._now())
        self._erasure_check_at = self._now() + self._options.erasure_check_s
        await self._teaching.start()
        await self.retention.start()
        self._stopping = False
        self._quota = Allowances(self._options.quota_a_day)
        self._task = asyncio.create_task(self._run(), name="engine")

    async def stop(self) -> None:
        """Refuse new interactions, finish those queued, write back what the bank learned. The store
        stays open.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._wake.set()
        await task
        await self.retention.stop()
        await self._teaching.stop()
        await self._on_touch.stop()

    async def submit(self, submissions: Sequence[Submission]) -> list[Applied | Failed]:
        """Apply interactions and return what became of each, in their order, once all are durable
        or refused.

        Never raises for a single interaction. Cancelling undoes nothing: queued interactions are
        still applied, and resending them under the same ids returns their outcome.
        """
        if not submissions:
            return []
        if self._task is None or self._stopping:
            return [_NOT_RUNNING] * len(submissions)
        call = Call(len(submissions))
        now_ms = int(self._clock() * 1000)
        entered = [submission.enter(call) for submission in submissions]
        overloaded = False
        for submission in entered:
            # Once one is refused for lack of room, later ones are too, or they would overtake it.
            overloaded = overloaded or len(self._queue) >= self._options.max_pending
            admitted = _OVERLOADED if overloaded else self._admit(submission, now_ms)
            if isinstance(admitted, Failed):
                self.counters.count_failed(admitted.code)
                submission.settle(admitted)
            else:
                submission.at_ms = admitted
                submission.received_at_ms = submission.received_at_ms or now_ms
                self._queue.append(submission)
        if call.remaining and not self._apply_at_once():
            self._wake.set()
            await call.done
        return [cast("Applied | Failed", submission.result) for submission in entered]

    def refuse(self, message: str) -> Failed:
        """Count an invalid interaction and return its result."""
        self.counters.count_failed(FailureCode.INVALID)
        return invalid(message)

    def _admit(self, submission: Submission, now_ms: int) -> int | Failed:
        """Return when an interaction counts, Unix milliseconds, or why it is refused."""
        if self.retention.has_left(submission.interaction_id, submission.occurred_at_ms):
            return _LEFT
        admitted = admit(submission, now_ms, self._options.max_age_s)
        if isinstance(admitted, Failed) or self._may_add(submission, now_ms):
            return admitted
        return _QUOTA_USED

    def _may_add(self, submission: Submission, now_ms: int) -> bool:
        """Charge an interaction to the learner's quota of the day; False when that is used up."""
        if not self._options.quota_a_day:
            return True
        left = self._quota.left(submission.learner_id, now_ms / 1000)
        if left[0] <= 0:
            return False
        left[0] -= quota_price(submission)
        return True

    def _apply_at_once(self) -> bool:
        """Apply a lone queued interaction at once, if nothing else is in progress."""
        if not self._at_rest or len(self._queue) != 1:
            return False
        (only,) = self._queue
        if isinstance(only, _Erasure) or not self._commits.apply_at_once(only):
            return False
        self._queue.clear()
        return True

    async def snapshots(self, queries: Sequence[tuple[str, int]]) -> list[LearnerSnapshot]:
        """Return the present state of each (learner id, least revision), in order; see
        `reads.snapshots`.
        """
        return await reads.snapshots(
            self.store, self.memory, self.counters, queries, self._on_touch
        )

    async def history(
        self, learner_id: str, *, after_revision: int = 0, limit: int = 100, newest: bool = False
    ) -> tuple[list[HistoryEntry], bool]:
        """Return a page of a learner's log, oldest first, and whether later rows exist; see
        `reads.history`.
        """
        return await reads.history(
            self.store, learner_id, after_revision=after_revision, limit=limit, newest=newest
        )

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the store's newest revisions; unknown and erased learners are absent. One read."""
        return await self.store.revisions(learner_ids)

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions up to which these learners' logs were deleted, where above 0. One
        read.
        """
        return await self.store.kept_after(learner_ids)

    async def erase(self, learner_id: str, requested_by: str) -> int:
        """Delete everything about a learner, in store and memory, and return the number of
        interactions.

        Earlier submissions are applied first; later ones start a new learner at revision 1.
        Watchers get a publication with `gone`. Raises `StoreUnavailableError` (erasure is
        incomplete: repeat it) and `privacy.BadRequestError`. A cancelled call still erases.
        """
        privacy.check(learner_id, requested_by)
        if self._task is None or self._stopping:
            raise StoreUnavailableError("the engine is not running")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(_Erasure(learner_id, requested_by, done))
        self._wake.set()
        return await done

    def hear(self, publications: Sequence[Publication]) -> None:
        """Apply another brain's publications; see `Follower`."""
        self._commits.hear(publications)

    def lose_touch(self) -> None:
        """Answer reads from the store: other brains may be ahead of memory."""
        self.memory.lose_touch()

    def regain_touch(self) -> None:
        """Drop learners that other brains may have changed, and answer from memory again."""
        self.memory.regain_touch()

    async def settle_teaching(self) -> None:
        """Check pending answers against the log now, to decide whether they teach the bank."""
        await self._teaching.settle()

    async def export(self, learner_id: str, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner as JSON lines, some lines at a time; see
        `privacy.export`.
        """
        at_ms = int(self._clock() * 1000)
        async for lines in privacy.export(
            self.store, learner_id, requested_by=requested_by, at_ms=at_ms
        ):
            yield lines

    async def _run(self) -> None:
        """Take groups from the queue until stopped and empty."""
        while True:
            if self._queue:
                await self._next_group()
            elif self._stopping:
                await self.bank.flush(self._now())
                return
            await self._chores()
            if not self._queue and not self._stopping:
                self._wake.clear()
                timer = asyncio.get_running_loop().call_later(self._until_chores(), self._wake.set)
                self._at_rest = True
                await self._wake.wait()
                self._at_rest = False
                timer.cancel()

    async def _next_group(self) -> None:
        first = self._queue[0]
        if isinstance(first, _Erasure):
            self._queue.popleft()
            await self._erase(first)
            return
        group: list[Submission] = []
        while (
            self._queue
            and len(group) < self._options.max_batch
            and isinstance(self._queue[0], Submission)
        ):
            group.append(cast("Submission", self._queue.popleft()))
        await self._commits.apply(group)

    async def _erase(self, erasure: _Erasure) -> None:
        learner_id = erasure.learner_id
        try:
            count = await self.store.erase(
                learner_id, requested_by=erasure.requested_by, at_ms=int(self._clock() * 1000)
            )
        except Exception as error:
            # The rows may be erased and only the cleaning of files have failed: memory must not
            # outlive that.
            self._erasure_check_at = 0.0
            if not erasure.done.done():
                erasure.done.set_exception(error)
            return
        self._commits.announce_gone([learner_id])
        if not erasure.done.done():
            erasure.done.set_result(count)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _until_chores(self) -> float:
        due = self.bank.due_at()
        due = self._erasure_check_at if due is None else min(due, self._erasure_check_at)
        return max(0.0, due - self._now())

    async def _chores(self) -> None:
        """Do periodic work between groups. If the store is down, it is retried next time."""
        now = self._now()
        try:
            await self.bank.upkeep(now)
            if now >= self._erasure_check_at:
                self._erasure_check_at = now + self._options.erasure_check_s
                await self._read_audit()
        except StoreError as error:
            logger.warning("the store is not available for upkeep: %s", error)
        except Exception:
            logger.exception("upkeep failed")

    async def _read_audit(self) -> None:
        """Drop learners that another process erased or may have rebuilt. Conflicts would show it
        later, but readers must not see them.
        """
        entries = await self.store.audit(after=self._audit_seen)
        if not entries:
            return
        self._audit_seen = entries[-1].audit_id
        if any(entry.action in (rebuild.BEGUN, rebuild.ENDED) for entry in entries):
            self.memory.keep_outdated(not rebuild.is_going_on(entries))
        keys = {entry.learner_key for entry in entries if entry.action == "erase"}
        self._commits.announce_gone(self.memory.with_keys(keys))
