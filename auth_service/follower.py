"""Keeps memory in step with the database, whether this process, another one or an admin command
changed it.

Every change is written to a log in the database together with the change itself. The follower reads
that log, on a timer and right after this process has written, brings the directory up to date, and
tells the revocation streams.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from auth_service.directory import Directory
from auth_service.revocations import Broadcaster
from auth_service.store import ChangeLog, Database, SessionTable, StoreUnavailableError
from auth_service.tokens import KeyFile, KeyFileError, Tokens

logger = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 600.0
_CHANGES_KEPT_MS = 24 * 3_600_000


class Follower:
    """Follows the change log into a directory and the revocation streams."""

    def __init__(
        self,
        database: Database,
        log: ChangeLog,
        directory: Directory,
        broadcaster: Broadcaster,
        clock_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._log = log
        self._directory = directory
        self._broadcaster = broadcaster
        self._clock_ms = clock_ms
        self._lock = asyncio.Lock()
        self._seq = -1

    async def catch_up(self) -> None:
        """Return when every change committed before the call is in memory and on its way to the
        streams.

        Raises StoreUnavailableError; then memory is as it was.
        """
        async with self._lock:
            batch = (
                await self._database.run(self._log.since, self._seq, self._clock_ms())
                if self._seq >= 0
                else None
            )
            if batch is None:
                await self._reload()
                return
            self._directory.apply(batch.people, batch.learners, batch.revoked)
            self._seq = batch.seq
            self._broadcaster.publish(batch.changes)

    async def after_change(self) -> None:
        """Catch up after this process changed something; if that fails the timer will, so the
        change stands.
        """
        try:
            await self.catch_up()
        except StoreUnavailableError:
            logger.warning(
                "a change is committed but not in memory yet; the next poll will bring it"
            )

    async def _reload(self) -> None:
        snapshot = await self._database.run(self._log.snapshot, self._clock_ms())
        self._directory.load(snapshot.people, snapshot.learners, snapshot.revoked)
        self._seq = snapshot.seq
        self._broadcaster.cut_all()


class KeyFollower:
    """Brings a changed key file into use."""

    def __init__(self, file: KeyFile, tokens: Tokens) -> None:
        self._file = file
        self._tokens = tokens
        self._stamp = file.stamp()

    def check(self) -> None:
        """Load the file if it changed since the last look. Raises KeyFileError; then the old keys
        stay in use.
        """
        stamp = self._file.stamp()
        if stamp != self._stamp:
            keys = self._file.load()
            self._stamp = stamp
            self._tokens.use(keys)
            logger.info("signing keys reloaded", extra={"keys": len(keys.keys)})


async def follow(follower: Follower, keys: KeyFollower, *, poll_s: float) -> None:
    """Look at the change log and the key file every `poll_s` seconds until cancelled; trouble is
    logged once.
    """
    healthy = True
    while True:
        await asyncio.sleep(poll_s)
        try:
            await follower.catch_up()
            keys.check()
        except (StoreUnavailableError, KeyFileError) as error:
            if healthy:
                logger.error(
                    "cannot follow changes; decisions are made from memory",
                    extra={"reason": str(error)},
                )
            healthy = False
        except Exception:
            # The streams' promise depends on this loop: it survives any error of one round.
            if healthy:
                logger.exception("following changes failed; decisions are made from memory")
            healthy = False
        else:
            if not healthy:
                logger.info("following changes again")
            healthy = True


async def sweep(
    database: Database,
    log: ChangeLog,
    sessions: SessionTable,
    directory: Directory,
    clock_ms: Callable[[], int],
) -> None:
    """Delete expired sessions and old changes every ten minutes, until cancelled."""
    while True:
        directory.forget_revoked(clock_ms())
        try:
            await database.run(log.forget_before, clock_ms() - _CHANGES_KEPT_MS)
            await database.run(sessions.sweep)
        except StoreUnavailableError as error:
            logger.warning("sweeping failed", extra={"reason": str(error)})
        await asyncio.sleep(_SWEEP_INTERVAL_S)
