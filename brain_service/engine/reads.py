"""Reads learners from memory where that is new enough, else from the store. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from brain_service import model
from brain_service.engine.counters import BrainCounters
from brain_service.engine.group import Entry
from brain_service.engine.memory import Memory
from brain_service.engine.rebuild import OnTouch
from brain_service.engine.storage import Head, LogRow, Store
from brain_service.engine.submission import HistoryEntry, LearnerSnapshot
from brain_service.model import codec
from service_runtime.slices import sliced

_MAX_REVISION: Final = 2**62
"""No learner has more, and databases count to 2**63."""

logger = logging.getLogger(__name__)

MAX_HISTORY: Final = 1000
"""Rows of one page of history."""


async def snapshots(
    store: Store,
    memory: Memory,
    counters: BrainCounters,
    queries: Sequence[tuple[str, int]],
    on_touch: OnTouch,
) -> list[LearnerSnapshot]:
    """Return the present state of each (learner id, least revision), in order.

    From memory where it is new enough, else all in one read of the store; states that cannot be
    read are rebuilt first. Raises `StoreUnavailableError`.
    """
    found: dict[str, LearnerSnapshot] = {}
    missing: dict[str, None] = {}
    for learner_id, min_revision in queries:
        entry = memory.newest(learner_id)
        if entry is None or entry.state.revision < min_revision:
            missing[learner_id] = None
        else:
            found[learner_id] = _remembered(learner_id, entry)
    counters.cache_misses += len(missing)
    counters.cache_hits += len(found.keys() - missing.keys())
    if missing:
        heads = await store.load(list(missing))
        unreadable: dict[str, int] = {}
        for learner_id in missing:
            head = heads.get(learner_id)
            try:
                found[learner_id] = _stored(learner_id, head)
            except ValueError:
                assert head is not None  # noqa: S101 - what is not there is read easily
                log_unreadable(head)
                unreadable[learner_id] = head.learner_key
        if unreadable:
            await on_touch.rebuild(unreadable.values())
            heads = await store.load(list(unreadable))
            found |= {each: _stored(each, heads.get(each)) for each in unreadable}
    return [found[learner_id] for learner_id, _ in queries]


async def history(
    store: Store, learner_id: str, *, after_revision: int, limit: int, newest: bool
) -> tuple[list[HistoryEntry], bool]:
    """Return a page of a learner's log, oldest first, and whether later rows exist.

    `newest` returns the last rows instead of those after a revision. At most 1,000 rows. Raises
    `StoreUnavailableError`, and `ValueError` when a stored assessment cannot be read.
    """
    limit = min(max(limit, 1), MAX_HISTORY)
    after_revision = min(after_revision, _MAX_REVISION)
    before = 0 if newest or after_revision <= 0 else 1
    # One extra row at the start, because crossings compare neighbours, and one at the end, to know
    # whether there is more.
    rows = await store.history(
        learner_id,
        after_revision=max(after_revision, 0) - before,
        limit=limit + 1 + before,
        newest=newest,
    )
    has_previous = (
        len(rows) > limit if newest else bool(rows) and rows[0].revision <= after_revision
    )
    has_more = not newest and len(rows) > limit + has_previous
    if has_more:
        rows = rows[: limit + has_previous]
    entries = await _entries(rows)
    return entries[has_previous:], has_more


def log_unreadable(head: Head) -> None:
    """Log the present exception: a learner's stored state cannot be read and will be rebuilt."""
    logger.exception(
        "a stored state cannot be read; it is rebuilt from the log",
        extra={"revision": head.revision},
    )


def _remembered(learner_id: str, entry: Entry) -> LearnerSnapshot:
    return LearnerSnapshot(
        learner_id=learner_id,
        revision=entry.state.revision,
        state=entry.state,
        assessment=codec.decode_assessment(entry.assessment),
        occurred_at_ms=entry.occurred_at_ms,
    )


def _stored(learner_id: str, head: Head | None) -> LearnerSnapshot:
    if head is None:
        return LearnerSnapshot(
            learner_id=learner_id, revision=0, state=None, assessment=None, occurred_at_ms=0
        )
    return LearnerSnapshot(
        learner_id=learner_id,
        revision=head.revision,
        state=codec.decode_state(head.state),
        assessment=codec.decode_assessment(head.assessment),
        occurred_at_ms=head.occurred_at_ms,
    )


async def _entries(rows: Sequence[LogRow]) -> list[HistoryEntry]:
    """Read consecutive rows. Crossings of the first one are known only if it is the learner's
    first; otherwise they are left out.
    """
    entries = []
    before: model.Signs | None = None
    # A thread would hold the interpreter for longer than a slice.
    async for row in sliced(rows):
        assessment = codec.decode_assessment(row.assessment)
        now = model.signs(assessment)
        if before is None:
            before = model.QUIET if row.revision == 1 else now
        fields = row._asdict() | {
            "assessment": assessment,
            "crossings": model.crossings(before, now, assessment),
        }
        entries.append(HistoryEntry(**fields))
        before = now
    return entries
