"""Recomputes states from the log: all outdated ones by a command, and single ones when first used,
if unreadable or while that command runs.

Depends on the storage, the bank and the model. A state replaces the learner's newest one only if
the learner has not moved since the replay ended, so it is safe beside serving brains. Past
assessments stay; difficulties and time norms are today's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from brain_service import model
from brain_service.engine.bank_sync import BankSync
from brain_service.engine.group import read_interaction
from brain_service.engine.storage import AuditEntry, Base, LogRow, Rebuilt, Store
from brain_service.model import Assessment, codec
from brain_service.model.bank import Bank
from brain_service.model.state import BLANK, LearnerState

logger = logging.getLogger(__name__)

BEGUN: Final = "rebuild"
ENDED: Final = "rebuilt"
"""The audit log's words for the beginning and the end of rebuilding all."""
_PAGE: Final = 200
"""Interactions applied before other tasks of the event loop get a turn."""
_SCAN: Final = 500
_GROUP: Final = 32
"""Learners of one transaction."""
_ATTEMPTS: Final = 10
_TELL_S: Final = 1.0


class Advanced(NamedTuple):
    """The result of replaying rows of the log."""

    state: LearnerState
    assessment: Assessment | None
    """After the last of them; None when none could be read."""
    skipped: int
    """Rows that can no longer be read (rules may have become stricter)."""


async def advance(bank: BankSync, state: LearnerState, rows: Sequence[LogRow]) -> Advanced:
    """Apply a learner's next interactions to a state. The bank learns nothing."""
    assessment, skipped = None, 0
    interactions = list(map(read_interaction, rows))
    await bank.prepare([each for each in interactions if each is not None])
    for row, interaction in zip(rows, interactions, strict=True):
        if interaction is None:
            skipped += 1
        else:
            state, assessment, _ = model.apply(
                state, bank.lookup(interaction), interaction, row.occurred_at_ms / 1000
            )
    if rows and state.revision != rows[-1].revision:
        state = state._replace(revision=rows[-1].revision)
        assessment = None if assessment is None else assessment._replace(revision=state.revision)
    return Advanced(state, assessment, skipped)


def begin(base: Base) -> LearnerState:
    """Return the state that a learner's log continues from; if unreadable, log that and return a
    blank one of that revision.
    """
    if not base.revision:
        return BLANK
    try:
        return codec.decode_state(base.state)
    except ValueError:
        logger.exception(
            "the state before a log cannot be read; what was before is lost",
            extra={"revision": base.revision},
        )
        return BLANK._replace(revision=base.revision)


async def replay(store: Store, bank: BankSync, learner_key: int) -> Rebuilt | None:
    """Replay a learner's interactions from where the log begins; None for unknown learners.

    Unreadable interactions are skipped. The bank learns nothing.
    """
    begins = -1
    while (base := (await store.bases([learner_key])).get(learner_key)) is not None:
        is_known = base.revision == begins
        rebuilt = await _replay(store, bank, learner_key, base, is_whole=is_known)
        if rebuilt is not None or is_known:
            return rebuilt
        begins = base.revision
    return None


async def _replay(
    store: Store, bank: BankSync, learner_key: int, base: Base, *, is_whole: bool
) -> Rebuilt | None:
    """Replay all that follows a base; None when the log begins later by now (not checked if it
    `is_whole`), or when there is nothing at all.
    """
    state, assessment, skipped, told = begin(base), None, 0, b""
    while rows := await store.interactions(learner_key, after_revision=state.revision, limit=_PAGE):
        if rows[0].revision != state.revision + 1 and not is_whole:
            return None
        state, assessment, more = await advance(bank, state, rows)
        skipped += more
        told = rows[-1].assessment
    if not state.revision:
        return None
    if skipped:
        logger.warning("%d interactions of a learner could not be read again", skipped)
    new: bytes | None = None
    if not _is_readable(base.assessment):
        new = (
            told
            if _is_readable(told)
            else codec.encode_assessment(model.assess(state) if assessment is None else assessment)
        )
    return Rebuilt(learner_key, state.revision, codec.encode_state(state), new)


class OnTouch:
    """Rebuilds learners who cannot continue from their stored states, each once at a time.

    All methods belong to one event loop.
    """

    def __init__(self, store: Store, bank: BankSync) -> None:
        self._store = store
        self._bank = bank
        self._running: dict[int, asyncio.Task[None]] = {}

    def begin(self, learner_key: int) -> asyncio.Task[None]:
        """Start rebuilding a learner, unless that is in progress; failures are logged."""
        task = self._running.get(learner_key)
        if task is None:
            task = asyncio.create_task(self._rebuild(learner_key), name="rebuild")
            self._running[learner_key] = task
            task.add_done_callback(lambda done: self._end(learner_key, done))
        return task

    async def rebuild(self, learner_keys: Iterable[int]) -> None:
        """Wait until these are rebuilt. Raises what the store raises. Cancelling stops nothing."""
        await asyncio.gather(*[asyncio.shield(self.begin(key)) for key in learner_keys])

    async def stop(self) -> None:
        """Abort all rebuilds; they start again at the next use."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _rebuild(self, learner_key: int) -> None:
        for _ in range(_ATTEMPTS):
            rebuilt = await replay(self._store, self._bank, learner_key)
            if rebuilt is None or await self._store.rebuild([rebuilt]):
                return

    def _end(self, learner_key: int, done: asyncio.Task[None]) -> None:
        del self._running[learner_key]
        if not done.cancelled() and (error := done.exception()):
            logger.error("a learner could not be rebuilt", exc_info=error)


def is_going_on(audit: Sequence[AuditEntry], before: bool = False) -> bool:
    """Return whether all learners are being rebuilt, by the last audit line about that; without
    one, `before`.
    """
    said = [entry.action for entry in audit if entry.action in (BEGUN, ENDED)]
    return said[-1] == BEGUN if said else before


async def rebuild_all(
    store: Store, bank: Bank, *, notice_s: float, tell: Callable[[str], object]
) -> bool:
    """Rebuild every learner whose state is not of today's layout and constants.

    `tell` gets progress sentences. Serving brains notice within `notice_s` and from then on rebuild
    outdated learners themselves before they apply anything. Learners that moved before are
    repeated. Returns False when some kept moving until the last attempt, because a brain did not
    notice. It can be stopped at any point and continues when called again. Raises
    `StoreUnavailableError`.
    """
    sync = BankSync(bank, store, flush_s=0.0, refresh_s=0.0)
    outdated = await _outdated(store)
    if not outdated and not is_going_on(await store.audit()):
        tell("Every learner's state is of today's layout and constants; nothing is to be done.")
        return True
    await store.record_rebuild(BEGUN, at_ms=_now_ms(), learners=len(outdated))
    progress = _Progress(len(outdated), tell)
    for _ in range(_ATTEMPTS):
        for start in range(0, len(outdated), _GROUP):
            replayed = [await replay(store, sync, key) for key in outdated[start : start + _GROUP]]
            rebuilt = [each for each in replayed if each is not None]
            await store.rebuild(rebuilt)
            progress.add(len(rebuilt), sum(each.revision for each in rebuilt))
        # A brain that has not noticed yet may have put an older state back.
        await asyncio.sleep(notice_s)
        outdated = await _outdated(store)
        if not outdated:
            await store.record_rebuild(ENDED, at_ms=_now_ms(), learners=0)
            progress.end()
            return True
    tell(f"{len(outdated)} learners kept moving and are not rebuilt yet; run it again.")
    return False


class _Progress:
    """Reports progress, at most once a second."""

    def __init__(self, total: int, tell: Callable[[str], object]) -> None:
        self._total = total
        self._tell = tell
        self._learners = self._interactions = 0
        self._told_at = time.monotonic()
        tell(f"{total:,} learners are to be rebuilt.")

    def add(self, learners: int, interactions: int) -> None:
        self._learners += learners
        self._interactions += interactions
        if time.monotonic() >= self._told_at + _TELL_S:
            self._told_at = time.monotonic()
            share = min(1.0, self._learners / max(1, self._total))
            self._tell(
                f"{self._learners:,} of {self._total:,} learners ({share:.0%}),"
                f" {self._interactions:,} interactions."
            )

    def end(self) -> None:
        self._tell(f"Rebuilt {self._learners:,} learners from {self._interactions:,} interactions.")


async def _outdated(store: Store) -> array[int]:
    """Return the keys of learners with states of an older layout or older constants."""
    found = array("q")
    after = 0
    while some := await store.stamps(after=after, limit=_SCAN, stamp=codec.STAMP_BYTES):
        found.extend(each.learner_key for each in some if not codec.is_up_to_date(each.stamp))
        after = some[-1].learner_key
    return found


def _is_readable(assessment: bytes) -> bool:
    try:
        codec.decode_assessment(assessment)
    except ValueError:
        return False
    return True


def _now_ms() -> int:
    return int(time.time() * 1000)
