"""Transactions, and threads in which the stores' blocking work runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

import sqlalchemy as sa

from auth_service.store.tables import SCHEMA
from service_runtime.database import connections
from service_runtime.database.schema import prepare

P = ParamSpec("P")
R = TypeVar("R")

_THREADS: Final = 4


class Database(connections.Database):
    """Hands out transactions, and runs blocking work in its own threads."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="auth-store")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what blocking `work` returns, run in a thread. Cancelling the caller does not stop
        the work.
        """
        return await asyncio.wrap_future(self._threads.submit(work, *args, **kwargs))

    def prepare(self) -> None:
        """Bring the schema up to date; see `service_runtime.database.schema`."""
        prepare(self, SCHEMA)

    def close(self) -> None:
        """Wait for work in progress and close all connections."""
        self._threads.shutdown(wait=True)
        super().close()


def open_database(address: str) -> Database:
    """Open the database at an address; an SQLite file is made, with its folder, when there is none.

    Raises StoreUnavailableError.
    """
    return Database.open(address, connections=_THREADS, pragmas=("foreign_keys=ON",))
