"""Opens and migrates the database and hands out transactions. It knows no table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_BUSY_S = 5


class StoreUnavailable(Exception):
    """The database cannot be reached or is busy for too long. Nothing has changed; try again."""


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a transaction that sees one state of the database and changes nothing."""
    with translated(), engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a transaction that is kept when the block ends, and undone when the block raises."""
    with translated(), engine.connect() as connection:
        # SQLite: taking the write lock first avoids failing half-way because another writer was
        # faster.
        connection = connection.execution_options(immediate=True)
        with connection.begin():
            yield connection


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema up to date, or up to a `revision`, all or nothing."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise StoreUnavailable(
                "this is the database of another service, or of a newer version of this one"
            ) from error


def create_engine(url: str) -> sa.Engine:
    """Make an engine for an SQLAlchemy URL; an SQLite file is made when missing. Raises
    StoreUnavailable.
    """
    try:
        address = sa.make_url(url)
        # Parameters would bring user ids and contents into tracebacks.
        engine = sa.create_engine(address, hide_parameters=True, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError, TypeError):
        raise StoreUnavailable(
            "the database URL is not usable; an example is sqlite:///.aivo/metrics.sqlite3"
        ) from None
    if address.get_backend_name() == "sqlite":
        if not address.database or address.database == ":memory:":
            raise StoreUnavailable(
                "the database must be a file: every connection would see its own empty memory"
            )
        _prepare_sqlite(engine, Path(address.database))
    return engine


def _prepare_sqlite(engine: sa.Engine, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot make the database file {path}: {error.strerror}") from error

    @sa.event.listens_for(engine, "connect")
    def configure(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would commit around DDL; the "begin" hook below
        # replaces it.
        dbapi_connection.isolation_level = None
        # A power cut may take the last records, never the file: they are dropped rather than waited
        # for anyway.
        for pragma in (
            f"busy_timeout = {_BUSY_S * 1000}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
        ):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's failures into StoreUnavailable, without what the statement carried."""
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(
            f"the database is not available ({type(error.orig).__name__}); try again"
        ) from error
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable("the database is too busy; try again") from error
