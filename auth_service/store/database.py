"""Opens and migrates the database and hands out transactions. It knows no table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

P = ParamSpec("P")
R = TypeVar("R")

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_THREADS = 4
_BUSY_S = 5


class StoreUnavailable(Exception):
    """The database cannot be reached or is busy for too long. Nothing has changed; try again."""


class Database:
    """Hands out transactions, and runs blocking work in its own threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="auth-store")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that sees one state of the database and changes nothing."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction that is durable when the block ends, and undone when the block
        raises.
        """
        with _translated(), self._engine.connect() as connection:
            # SQLite: taking the write lock first avoids failing half-way because another writer was
            # faster.
            connection = connection.execution_options(immediate=True)
            with connection.begin():
                yield connection

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what blocking `work` returns, run in a thread. Cancelling the caller does not stop
        the work.
        """
        return await asyncio.wrap_future(self._threads.submit(work, *args, **kwargs))

    def migrate(self) -> None:
        """Bring the schema up to date, all or nothing; several processes may do so at once."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4702111234474983745)")
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StoreUnavailable(
                    "this is the database of another service, or of a newer version of this one"
                ) from error

    def close(self) -> None:
        """Wait for work under way and close all connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at an SQLAlchemy URL; an SQLite file is made, with its folder, when there
    is none.

    Raises StoreUnavailable, without the URL (it may contain a password), when that is not possible.
    """
    try:
        address = sqlalchemy.make_url(url)
        # Parameters would bring e-mail addresses and hashes into tracebacks.
        engine = sqlalchemy.create_engine(
            address, hide_parameters=True, pool_size=_THREADS, pool_pre_ping=True
        )
    except (ArgumentError, NoSuchModuleError, ImportError, TypeError):
        raise StoreUnavailable(
            "the database URL is not usable; an example is sqlite:///.aivo/auth.sqlite3"
        ) from None
    if address.get_backend_name() == "sqlite":
        if not address.database or address.database == ":memory:":
            raise StoreUnavailable(
                "the database must be a file: every connection would see its own empty memory"
            )
        _prepare_sqlite(engine, Path(address.database))
    return Database(engine)


def _prepare_sqlite(engine: Engine, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot make the database file {path}: {error.strerror}") from error

    @event.listens_for(engine, "connect")
    def configure(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would commit around DDL; the "begin" hook below
        # replaces it.
        dbapi_connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {_BUSY_S * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",  # an answered change survives a power cut
            "foreign_keys = ON",
        ):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        # Rules that a caller can break are checked by name; what is left is a row that vanished
        # between check and use.
        raise StoreUnavailable("another change came in between; try again") from error
    except DBAPIError as error:
        raise StoreUnavailable(
            f"the database is not available ({type(error.orig).__name__}); try again"
        ) from error
    except sqlalchemy.exc.TimeoutError as error:
        raise StoreUnavailable("the database is too busy; try again") from error
