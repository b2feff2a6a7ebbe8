"""Makes groups of interactions durable: computes new values, writes them in one transaction, and
only then changes memory, answers and publishes.

Depends on no queue and no clock; `engine` chooses the next group.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from brain_service.engine import reads
from brain_service.engine.bank_sync import NOTHING, BankSync
from brain_service.engine.counters import BrainCounters
from brain_service.engine.group import Entry, Group, read_entry
from brain_service.engine.memory import Memory, read_answer
from brain_service.engine.notices import Notifier
from brain_service.engine.publication import Bus, Publication
from brain_service.engine.rebuild import OnTouch
from brain_service.engine.storage import ConflictError, Head, Store, StoreError
from brain_service.engine.submission import (
    INTERNAL_FAULT,
    Applied,
    Failed,
    FailureCode,
    Submission,
    invalid,
)
from brain_service.engine.teaching import Teaching
from brain_service.model import BadInteractionError
from brain_service.model.increments import BankIncrements
from brain_service.tracing import NoTraces
from service_runtime import trace_context

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 10
"""Attempts for one group against other brains that write the same learners, before its callers are
asked to retry.
"""
_SLICE: Final = 32
"""Interactions computed before other tasks of the event loop get a turn."""
_REBUILDING: Final = Failed(
    code=FailureCode.UNAVAILABLE,
    message="This learner's state is being rebuilt from the log; try again.",
)


class Commits:
    """Applies groups, one after the other. All methods belong to one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        memory: Memory,
        bank: BankSync,
        teaching: Teaching,
        on_touch: OnTouch,
        counters: BrainCounters,
        traces: NoTraces,
        notifier: Notifier | None,
    ) -> None:
        """`traces` records sampled interactions."""
        self._notifier = notifier
        self._store = store
        self._bus = bus
        self._memory = memory
        self._bank = bank
        self._teaching = teaching
        self._on_touch = on_touch
        self._counters = counters
        self._traces = traces

    async def apply(self, group: list[Submission]) -> None:
        """Give every interaction of a group its result."""
        leaders, followers = self._sort_out(group)
        try:
            await self._commit(leaders)
        except Exception:
            if len(leaders) == 1:
                logger.exception("an interaction could not be applied", extra=_trace(leaders[0]))
            else:
                # The failure must not affect the others: find its cause by going one at a time.
                for submission in leaders:
                    if submission.result is None:
                        await self.apply([submission])
        for submission in leaders:
            if submission.result is None:
                self._counters.count_failed(INTERNAL_FAULT.code)
                submission.settle(INTERNAL_FAULT)
        for leader, submission in followers:
            self._repeat(submission, leader.result or INTERNAL_FAULT)

    def apply_at_once(self, submission: Submission) -> bool:
        """Give a lone interaction its result without waiting for anything, where all that it needs
        is in memory and the store is idle and quick. False, and nothing has changed, elsewhere.

        Saves a third of what such an interaction costs: the engine's task and the store's thread
        would be woken for it, one after the other.
        """
        learner_id = submission.learner_id
        entry = self._memory.get(learner_id)
        if (
            entry is None
            or submission.recorded_by
            or self._memory.answer(submission.name)
            or self._bank.is_due(_now())
            or not self._bank.is_prepared(submission.interaction)
        ):
            return False
        plan = Group(self._bank.stage(), {learner_id: entry}, self._teaching.admit, self._notifier)
        self._memory.write(())
        try:
            self._traces.timed(plan.apply)(submission)
            began, began_ns = time.perf_counter(), self._traces.now_ns()
            if plan.notices or not self._store.commit_at_once(plan.rows[0]):
                return False
        except Exception:  # retried in its group, which reports the error properly
            return False
        self._written(plan, began, began_ns)
        self._counters.cache_hits += 1
        self._accept(plan, {})
        return True

    def _sort_out(
        self, group: list[Submission]
    ) -> tuple[list[Submission], list[tuple[Submission, Submission]]]:
        """Answer known repetitions from memory, and pair those within the group with their
        first.
        """
        leaders: dict[tuple[str, str], Submission] = {}
        followers = []
        for submission in group:
            name = submission.name
            if known := self._memory.answer(name):
                self._repeat(submission, known)
            elif leader := leaders.get(name):
                followers.append((leader, submission))
            else:
                leaders[name] = submission
        return list(leaders.values()), followers

    def _repeat(self, submission: Submission, result: Applied | Failed) -> None:
        """Give a repeated interaction the result of the first."""
        if isinstance(result, Applied):
            self._counters.count_duplicate()
            submission.settle(result._replace(duplicate=True))
        else:
            self._counters.count_failed(result.code)
            submission.settle(result)

    async def _commit(self, group: list[Submission]) -> None:
        """Compute, write, and only then answer; repeat while other brains win the same learners."""
        for attempt in range(_ATTEMPTS):
            if not group:
                return
            increments = NOTHING
            try:
                plan = await self._compute(group)
                increments = self._bank.take(_now())
                keys = await self._write(plan, increments)
            except ConflictError:
                self._counters.conflicts += 1
                self._bank.not_written(increments, _now())
                try:
                    group = await self._reconcile(group)
                except StoreError as error:
                    self._fail(group, FailureCode.UNAVAILABLE, f"Not stored: {error}.")
                    return
                await asyncio.sleep(random.uniform(0, 0.002 * attempt))  # noqa: S311 — parts two brains in step
            except StoreError as error:
                self._counters.commit_failures += 1
                self._bank.not_written(increments, _now())
                logger.warning("a group of %d was not stored: %s", len(group), error)
                self._fail(group, FailureCode.UNAVAILABLE, f"Not stored: {error}.")
                return
            except BaseException:
                self._bank.not_written(increments, _now())
                raise
            else:
                self._bank.written(increments, _now())
                self._accept(plan, keys)
                return
        self._fail(
            group,
            FailureCode.UNAVAILABLE,
            "Not stored: other brains keep writing the same learners; try again.",
        )

    async def _write(self, plan: Group, increments: BankIncrements) -> dict[str, int]:
        if not plan.rows and increments == NOTHING:
            return {}
        began, began_ns = time.perf_counter(), self._traces.now_ns()
        self._memory.write(plan.learners)
        keys = await self._store.commit(plan.rows, increments, plan.notices, plan.recorded)
        self._written(plan, began, began_ns)
        return keys

    def _written(self, plan: Group, began: float, began_ns: int) -> None:
        self._counters.commits_s.observe(time.perf_counter() - began)
        self._traces.committed((row.traceparent for row in plan.rows), began_ns)
        self._counters.batch_sizes.observe(len(plan.rows))

    def _fail(self, group: Sequence[Submission], code: FailureCode, message: str) -> None:
        failed = Failed(code=code, message=message)
        self._counters.count_failed(code, len(group))
        for submission in group:
            submission.settle(failed)

    async def _compute(self, group: list[Submission]) -> Group:
        """Apply the model to a group, on new values."""
        learners, rebuilding = await self._load(group)
        plan = Group(self._bank.stage(), learners, self._teaching.admit, self._notifier)
        apply = self._traces.timed(plan.apply)
        for count, submission in enumerate(group, 1):
            if submission.learner_id in rebuilding:
                plan.failed.append((submission, _REBUILDING))
                continue
            try:
                apply(submission)
            except BadInteractionError as error:
                plan.failed.append((submission, invalid(str(error))))
            except Exception:
                logger.exception("the model failed on an interaction", extra=_trace(submission))
                plan.failed.append((submission, INTERNAL_FAULT))
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        return plan

    async def _load(self, group: list[Submission]) -> tuple[dict[str, Entry | None], set[str]]:
        """Return the learners of a group, with one read for all not in memory, and those to rebuild
        first.
        """
        learners = {
            submission.learner_id: self._memory.get(submission.learner_id) for submission in group
        }
        missing = [learner_id for learner_id, entry in learners.items() if entry is None]
        self._counters.cache_misses += len(missing)
        self._counters.cache_hits += len(learners) - len(missing)
        preparing = self._bank.prepare([submission.interaction for submission in group])
        heads: dict[str, Head] = {}
        if missing:
            heads, _ = await asyncio.gather(self._store.load(missing, to_write=True), preparing)
        else:
            await preparing
        rebuilding = set()
        for learner_id, head in heads.items():
            try:
                learners[learner_id] = entry = read_entry(head)
                if self._memory.keeps(entry):
                    continue
            except ValueError:
                reads.log_unreadable(head)
            self._on_touch.begin(head.learner_key)
            rebuilding.add(learner_id)
        return learners, rebuilding

    async def _reconcile(self, group: list[Submission]) -> list[Submission]:
        """After a conflict: answer what is in the log already, drop what is stale, and return the
        rest.
        """
        found = await self._store.find([submission.name for submission in group])
        left = []
        for submission in group:
            if there := found.get(submission.name):
                self._counters.count_duplicate()
                self._memory.keep_answer(submission.name, there.assessment)
                submission.settle(read_answer(there.assessment))
            else:
                left.append(submission)
        if kept := self._memory.kept({submission.learner_id for submission in group}):
            self.announce_gone(self._memory.drop_stale(kept, await self._store.load(kept)))
        return left

    def hear(self, publications: Sequence[Publication]) -> None:
        """Drop what is stale because another brain wrote it."""
        memory = self._memory
        gone = [one.learner_id for one in publications if memory.hear(one.learner_id, one.revision)]
        if gone:
            self._forget(gone)

    def _forget(self, learner_ids: Sequence[str]) -> None:
        self._memory.erase(learner_ids)
        self._teaching.forget()

    def announce_gone(self, learner_ids: Sequence[str]) -> None:
        """Drop erased learners and notify watchers."""
        self._forget(learner_ids)
        self._bus.publish(
            [Publication(learner_id, 0, None, (), "", 0, gone=True) for learner_id in learner_ids]
        )

    def _accept(self, plan: Group, keys: dict[str, int]) -> None:
        """The group is durable: change memory, answer, publish."""
        plan.stage.commit()
        self._teaching.ask(plan.doubts)
        for learner_id, entry in plan.changed().items():
            self._memory.put(
                learner_id, entry if entry.key else entry._replace(key=keys[learner_id])
            )
        for (submission, applied), row in zip(plan.applied, plan.rows, strict=True):
            self._memory.keep_answer(submission.name, row.assessment)
            submission.settle(applied)
        for submission, failed in plan.failed:
            self._counters.count_failed(failed.code)
            submission.settle(failed)
        self._counters.count_applied(plan.applied, plan.publications)
        self._bus.publish(plan.publications)
        if plan.notices and self._notifier is not None:
            self._notifier.written()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _trace(submission: Submission) -> dict[str, Any]:
    traceparent = submission.traceparent
    return {"traceparent": traceparent} | trace_context.log_fields(traceparent)
