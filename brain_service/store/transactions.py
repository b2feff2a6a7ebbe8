"""Runs the store's transactions on threads of their own, and a quick one on the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Final, TypeVar

import sqlalchemy as sa

from brain_service.engine.storage import ConflictError, StoreUnavailableError
from brain_service.store.pace import Pace
from brain_service.store.worker import Worker, WorkerClosedError
from service_runtime.database.connections import (
    BUSY_TIMEOUT_S,
    Database,
    sqlite_connection,
)
from service_runtime.database.faults import translated

T = TypeVar("T")

READERS: Final = 2
_PATIENCE_MS: Final = int(BUSY_TIMEOUT_S * 1000)


class Transactions:
    """One thread and one connection write, one transaction at a time; a few other threads read, so
    that they never wait for a commit.
    """

    def __init__(self, database: Database) -> None:
        """Work on `database`, which `close` closes."""
        self._database = database
        # Kept for the life of the store: fetching a connection from the pool costs as much as
        # writing a row.
        self.connection = database.writer()
        """The one that writes."""
        self.pace = Pace()
        self._writer = Worker("store-write")
        self._patience_ms = _PATIENCE_MS
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")

    def close(self) -> None:
        """Finish what runs and close every connection."""
        self._writer.close()
        self._readers.shutdown(wait=True)
        self.connection.close()
        self._database.close()

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do work in one transaction, durable on return."""

        def transact() -> T:
            with self.connection.begin():
                return work(self.connection)

        return await self.on_writer(transact)

    async def on_writer(self, work: Callable[[], T]) -> T:
        """Do work on the thread that writes; its transactions are its own."""

        def guarded() -> T:
            with translated():
                self._wait_for_others(_PATIENCE_MS)
                return work()

        try:
            return await self._writer.do(guarded)
        except WorkerClosedError as error:
            raise StoreUnavailableError("the store is closed") from error

    def here(self, work: Callable[[], None]) -> bool:
        """Do work on the calling thread, if commits were quick lately and nobody else writes;
        False, and nothing is written, elsewhere. Raises `ConflictError`.
        """
        if not self.pace.is_quick or not self._writer.is_idle:
            return False
        self._wait_for_others(0)

        def guarded() -> None:
            with translated():
                work()

        try:
            self._writer.do_here(guarded)
        except ConflictError:
            raise
        except (StoreUnavailableError, WorkerClosedError):
            self.pace.was_refused()
            return False
        return True

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Read from one snapshot of the database."""
        return await self._on_reader(self._database.read, work)

    async def look(self, work: Callable[[sa.Connection], T]) -> T:
        """Read without a snapshot across statements."""
        return await self._on_reader(self._database.look, work)

    async def _on_reader(
        self,
        begin: Callable[[], AbstractContextManager[sa.Connection]],
        work: Callable[[sa.Connection], T],
    ) -> T:
        def transact() -> T:
            with begin() as connection:
                return work(connection)

        try:
            running = asyncio.get_running_loop().run_in_executor(self._readers, transact)
        except RuntimeError as error:
            raise StoreUnavailableError("the store is closed") from error
        return await running

    def _wait_for_others(self, milliseconds: int) -> None:
        """Set how long a write waits for other processes that write the same SQLite file."""
        if self._database.is_sqlite and milliseconds != self._patience_ms:
            self._patience_ms = milliseconds
            sqlite_connection(self.connection).execute(f"PRAGMA busy_timeout={milliseconds}")
