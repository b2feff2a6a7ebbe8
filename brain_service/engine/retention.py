"""Deletes expired rows from the log, a few at a time, while the brain serves.

Depends on the storage, the bank and the model. The state after a learner's deleted rows is kept in
their place, so that the rest can still be replayed. Several brains may do it at once: each skips
what another has deleted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from brain_service.engine.bank_sync import BankSync
from brain_service.engine.rebuild import advance, begin
from brain_service.engine.storage import Aged, Base, Shortened, Store, StoreError
from brain_service.model import codec
from brain_service.model.bank import Bank

logger = logging.getLogger(__name__)

DAY_S: Final = 86_400.0
_GRACE_S: Final = 3600.0
"""Rows stay this much longer: clocks that made ids may be ahead of the receiver's."""
_SLICE: Final = 200
"""Rows deleted in one transaction, which commits wait for."""
_REST: Final = 1.0
"""After each slice, pause this many times as long, so that interactions get through."""
_LOOK_S: Final = 600.0
"""Seconds between checks once no rows have expired."""


async def shorten(store: Store, bank: BankSync, *, before_ms: int) -> int:
    """Delete the oldest rows received before a time, Unix milliseconds; returns how many: 0 when
    none has expired or other brains are at it. Raises `StoreUnavailableError`.
    """
    aged = await store.aged(before_ms=before_ms, limit=_SLICE)
    if not aged:
        return 0
    theirs: dict[int, list[Aged]] = defaultdict(list)
    for each in aged:
        theirs[each.learner_key].append(each)
    bases = await store.bases(list(theirs))
    shortened = []
    for key, rows in theirs.items():
        if base := bases.get(key):
            shortened.append(await _shortened(bank, key, base, rows))
            await asyncio.sleep(0)
    return await store.shorten(shortened)


async def _shortened(bank: BankSync, key: int, base: Base, aged: list[Aged]) -> Shortened:
    rows = [each.row for each in aged if each.row.revision > base.revision]
    state, _, skipped = await advance(bank, begin(base), rows)
    if skipped:
        logger.warning("%d interactions of a learner leave the log unread", skipped)
    places = [each.place for each in aged]
    return Shortened(key, base.revision, state.revision, codec.encode_state(state), places)


async def shorten_command(
    store: Store, bank: Bank, days: float, *, now_s: float, tell: Callable[[str], object]
) -> None:
    """Run `python -m brain_service shorten`: delete everything older than `days`.

    `tell` gets progress sentences. It can be stopped at any point and continues when called again.
    Raises `StoreUnavailableError`.
    """
    if not days:
        tell("BRAIN_LOG_DAYS is 0: all of the log is kept.")
        return
    sync = BankSync(bank, store, flush_s=0.0, refresh_s=0.0)
    removed, told_at = 0, time.monotonic()
    while count := await shorten(store, sync, before_ms=_before_ms(days, now_s)):
        removed += count
        if time.monotonic() >= told_at + 1.0:
            told_at = time.monotonic()
            tell(f"{removed:,} interactions so far.")
    tell(f"{removed:,} interactions older than {days:g} days left the log.")


class Retention:
    """Enforces how long the log is kept. All methods belong to one event loop."""

    def __init__(
        self, store: Store, bank: BankSync, days: float, *, clock: Callable[[], float]
    ) -> None:
        """Keep rows for `days`, 0 for ever. `clock` gives Unix seconds."""
        self.removed = 0
        """Interactions deleted."""
        self.oldest_s = 0.0
        """When the oldest row was received, Unix seconds, as last looked; 0 while unknown."""
        self._store = store
        self._bank = bank
        self._days = days
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def has_left(self, interaction_id: str, occurred_at_ms: int) -> bool:
        """Return whether an interaction may have been deleted already, so that a repetition could
        not be recognised. Judged by the time in its id (UUIDv7) or when it happened (0: unknown),
        which both precede its first arrival.
        """
        if not self._days:
            return False
        kept_ms = _kept_ms(self._days, self._clock())
        return 0 < occurred_at_ms < kept_ms or 0 <= _made_ms(interaction_id) < kept_ms

    async def start(self) -> None:
        """Start the periodic checks, if rows expire at all."""
        if self._days:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """Stop between two transactions; the rest is deleted another time."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                count = await shorten(
                    self._store, self._bank, before_ms=_before_ms(self._days, self._clock())
                )
                self.removed += count
                if not count:
                    await self._look()
            except StoreError as error:
                logger.warning("the store is not available to shorten the log: %s", error)
                count = 0
            except Exception:
                logger.exception("the log could not be shortened")
                count = 0
            # Jittered, so that brains do not do the same work.
            idle = _LOOK_S * random.uniform(0.8, 1.2)  # noqa: S311 - parts brains in step
            await asyncio.sleep(_REST * (time.monotonic() - began) if count else idle)

    async def _look(self) -> None:
        oldest = await self._store.aged(before_ms=_FOREVER_MS, limit=1)
        self.oldest_s = oldest[0].row.received_at_ms / 1000 if oldest else 0.0


_FOREVER_MS: Final = 2**62


def _kept_ms(days: float, now_s: float) -> int:
    return int((now_s - days * DAY_S) * 1000)


def _before_ms(days: float, now_s: float) -> int:
    """Return the time before which rows expire, Unix milliseconds."""
    return _kept_ms(days, now_s - _GRACE_S)


def _made_ms(interaction_id: str) -> int:
    """Return when a UUIDv7 was made, Unix milliseconds; -1 for any other id."""
    if len(interaction_id) != 36 or interaction_id[8:24:5] != "----" or interaction_id[14] != "7":
        return -1
    try:
        return int(interaction_id[:8] + interaction_id[9:13], 16)
    except ValueError:
        return -1
