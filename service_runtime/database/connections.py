"""Opens a database and hands out transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, cast

import psycopg
import sqlalchemy as sa

from service_runtime.database.addresses import url_of
from service_runtime.database.errors import StoreUnavailableError
from service_runtime.database.faults import translated

BUSY_TIMEOUT_S: Final = 5.0
"""How long a statement waits for another process that writes the same SQLite file or row, or for a
connection.
"""
_STATEMENT_S: Final = 30
"""How long a statement may take on a server."""

SERVER: Final[dict[str, Any]] = {
    "fallback_application_name": "aivo",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
    "options": (
        f"-c statement_timeout={_STATEMENT_S}s -c lock_timeout={BUSY_TIMEOUT_S:g}s"
        " -c idle_in_transaction_session_timeout=60s"
    ),
}
"""Defaults for a server's connections: a silent server is noticed within 15 s, also while waiting
for its answer.
"""


class Database:
    """Transactions on a pool of connections. It blocks and belongs into threads."""

    def __init__(self, engine: sa.Engine) -> None:
        """`open` makes one; `engine` is what it made."""
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # SQLite's readers see one state anyway.
        self._readers = (
            engine
            if self.is_sqlite
            else engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._lookers = (
            engine if self.is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @classmethod
    def open(
        cls,
        address: str | Path,
        *,
        durable: bool = True,
        connections: int = 4,
        pragmas: Sequence[str] = (),
    ) -> Self:
        """Open the database at an address (see `url_of`); a SQLite file is made, with its folder,
        readable by its owner only. A server is asked when something is to be done.

        `durable` transactions survive a power cut when they have ended; others survive a crash of
        the service. `connections` are the most that a server gets of this process. `pragmas` are
        further settings of SQLite. Raises StoreUnavailableError.
        """
        url = url_of(address)
        if url.get_backend_name() != "sqlite":
            return cls(_server(url, durable=durable, connections=connections))
        _make_file(Path(url.database or ""))
        # Parameters would bring what people wrote into tracebacks.
        engine = sa.create_engine(
            url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        _set_up_sqlite(
            engine,
            (*pragmas, "journal_mode=WAL", f"synchronous={'FULL' if durable else 'NORMAL'}"),
        )
        return cls(engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a read-only transaction on one snapshot of the database."""
        with translated(), self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Give a connection for reads that need not see the same state of the database: on a server
        nothing begins or ends, which saves two round trips of four.
        """
        with translated(), self._lookers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Yield a transaction that commits when the block ends and rolls back when it raises."""
        with translated(), self.writer() as connection, connection.begin():
            yield connection

    def writer(self) -> sa.Connection:
        """Return a connection whose transactions write; the caller closes it."""
        return self.engine.connect().execution_options(writes=True)

    def close(self) -> None:
        """Close all connections; on SQLite this empties the write-ahead file."""
        self.engine.dispose()


def _server(url: sa.URL, *, durable: bool, connections: int) -> sa.Engine:
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        # Whatever broke meanwhile is made anew before anybody works with it.
        pool_pre_ping=True,
        # What the address says goes first.
        connect_args={name: value for name, value in SERVER.items() if name not in url.query},
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Only where the server is set otherwise: it may also be set to wait for its standbys.
        change = ("on", "= 'off'") if durable else ("off", "<> 'off'")
        connection.execute(
            f"UPDATE pg_settings SET setting = '{change[0]}'"  # noqa: S608 - our own words only
            f" WHERE name = 'synchronous_commit' AND setting {change[1]}"
        )
        connection.commit()

    return engine


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made here, because SQLite would let everyone read it; its companion files take over the
        # mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailableError(
            f"the database {path} cannot be opened: {error.strerror}"
        ) from error


def _set_up_sqlite(engine: sa.Engine, pragmas: Sequence[str]) -> None:
    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would commit around changes of the schema; the
        # "begin" hook below takes its place.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin_of_kind(connection: sa.Connection) -> None:
        # A writer takes the lock at once: taking it later, after reading, fails when another
        # process wrote in between.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def sqlite_connection(connection: sa.Connection) -> sqlite3.Connection:
    """Return the driver's own connection to a SQLite file, for what must be cheap or outside any
    transaction.
    """
    return cast("sqlite3.Connection", connection.connection.driver_connection)


@contextmanager
def directly(connection: sa.Connection) -> Iterator[sqlite3.Connection]:
    """Open a transaction that writes, on the driver's own connection to a SQLite file; it commits
    at the end, or rolls back.
    """
    driver = sqlite_connection(connection)
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield driver
        driver.execute("COMMIT")
    except BaseException:
        # Where a full disk ended the transaction already, there is nothing to roll back.
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise


@contextmanager
def looking(connection: sa.Connection) -> Iterator[sqlite3.Connection]:
    """Open a transaction that reads, on the driver's own connection to a SQLite file: the lock is
    taken once for all its statements.
    """
    driver = sqlite_connection(connection)
    driver.execute("BEGIN")
    try:
        yield driver
    finally:
        driver.execute("COMMIT")


def postgres_connection(connection: sa.Connection) -> psycopg.Connection[Any]:
    """Return the driver's own connection to a server, for what must be cheap."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


@contextmanager
def at_once(connection: sa.Connection) -> Iterator[psycopg.Connection[Any]]:
    """Give the driver's own connection to a server, on which each statement is a transaction: one
    round trip. A connection that broke is made anew by the next one to use it.
    """
    driver = postgres_connection(connection)
    driver.autocommit = True
    try:
        yield driver
    finally:
        if driver.closed:
            connection.invalidate()
        else:
            driver.autocommit = False


def truncate_wal(connection: sa.Connection) -> bool:
    """Empty SQLite's write-ahead file, which still has erased bytes; False while somebody reads
    older pages.
    """
    busy: int
    (busy, *_) = sqlite_connection(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
