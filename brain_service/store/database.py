"""How a database is opened: connections, transactions, errors told in sentences, and the schema
brought up to date.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

from brain_service.engine.journal import ConflictError, SchemaError, StoreUnavailableError
from brain_service.store.tables import meta

BUSY_TIMEOUT_S: Final = 5.0
"""How long a statement waits for another process that writes the same SQLite file."""

_SQLITE_REASONS: Final = {
    "SQLITE_BUSY": "the database is locked by another process; try again",
    "SQLITE_LOCKED": "the database is locked by another process; try again",
    "SQLITE_FULL": "the disk is full; make room, nothing was written",
    "SQLITE_IOERR": "the disk failed to read or write the database",
    "SQLITE_CORRUPT": "the database file is damaged; stop the brain and restore a backup",
    "SQLITE_NOTADB": (
        "the database file is damaged or is no SQLite database; stop the brain and restore a backup"
    ),
    "SQLITE_READONLY": "the database file may not be written; check its owner and mode",
    "SQLITE_CANTOPEN": "the database file cannot be opened; check the path, its owner and mode",
}


def create_engine(database: str | Path) -> sa.Engine:
    """Make the pool of connections for a path of a SQLite file or a URL, set up for durable
    commits.
    """
    url = sa.make_url(database) if isinstance(database, str) and "://" in database else None
    if url is None:
        url = sa.URL.create("sqlite", database=str(database))
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url)
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made here, because SQLite would let everyone read it; its companion files take over the
        # mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailableError(
            f"the database {path} cannot be opened: {error.strerror}"
        ) from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Python's driver must not begin transactions by itself: the listener below says which kind.
        connection.isolation_level = None
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_of_kind(connection: sa.Connection) -> None:
        # A writer takes the lock at once: taking it later, after reading, fails when another
        # process wrote in between.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# A row is some 2.5 KB: pages of 16 KB took a fifth less time a row than SQLite's 4 KB, into which
# only one row fits. SQLite's own cache of 2 MB is enough while ids are in the order of time, and
# not for others, which land all over their index.
_SQLITE_PRAGMAS: Final = (
    "page_size=16384",
    "cache_size=-32768",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
)


@contextmanager
def begin(engine: sa.Engine, *, write: bool) -> Iterator[sa.Connection]:
    """Open a transaction that commits at the end, or rolls back on an exception."""
    with engine.connect() as connection:
        connection.execution_options(writes=write)
        with connection.begin():
            yield connection


def sqlite_connection(connection: sa.Connection) -> sqlite3.Connection:
    """Return the driver's own connection to a SQLite file, for what must be cheap or outside any
    transaction.
    """
    return cast("sqlite3.Connection", connection.connection.driver_connection)


@contextmanager
def directly(connection: sa.Connection) -> Iterator[sqlite3.Connection]:
    """Open a transaction that writes, on the driver's own connection; it commits at the end, or
    rolls back.
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
def clear_errors() -> Iterator[None]:
    """Turn the driver's errors, as they are or as SQLAlchemy wraps them, into the store's, which
    say what to do.
    """
    try:
        yield
    except (sa.exc.IntegrityError, sqlite3.IntegrityError) as error:
        raise ConflictError("something of this is in the log already") from error
    except sa.exc.DBAPIError as error:
        raise _unavailable(error.orig) from error
    except sqlite3.Error as error:
        raise _unavailable(error) from error
    except sa.exc.SQLAlchemyError as error:
        raise StoreUnavailableError(
            f"the database cannot be used: {type(error).__name__}"
        ) from error


def _unavailable(error: BaseException | None) -> StoreUnavailableError:
    name = getattr(error, "sqlite_errorname", "")
    reason = _SQLITE_REASONS.get("_".join(name.split("_")[:2]))
    return StoreUnavailableError(reason or f"the database refused: {type(error).__name__}")


def migrate(connection: sa.Connection) -> None:
    """Bring the schema up to date, inside the caller's transaction."""
    config = AlembicConfig()
    folder = str(Path(__file__).parents[1] / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present == scripts.get_current_head():
        return
    if present is None:
        if tables := sa.inspect(connection).get_table_names():
            raise SchemaError(
                f"this is not a database of the brain: it has a table {tables[0]!r} but no schema"
                " version"
            )
    elif present not in {script.revision for script in scripts.walk_revisions()}:
        raise SchemaError(
            f"the database has schema {present}, made by a newer version of this program than this"
            f" one, which knows only up to {scripts.get_current_head()}; run that version or a"
            " later one"
        )
    alembic_command.upgrade(config, "head")


def identity(connection: sa.Connection) -> dict[str, str]:
    """Return the epoch and the salt of the database, made once with it."""
    known = {name: value for name, value in connection.execute(sa.select(meta))}
    if not known:
        known = {"epoch": str(uuid.uuid4()), "salt": secrets.token_hex(32)}
        connection.execute(
            sa.insert(meta), [{"name": name, "value": value} for name, value in known.items()]
        )
    return known
