"""Turns drivers' errors into sentences that say what to do."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
import sqlalchemy as sa

from service_runtime.database.errors import ConflictError, StoreUnavailableError

logger = logging.getLogger(__name__)

_CONFLICT: Final = "another change came in between; try again"

_SQLITE: Final = {
    "SQLITE_BUSY": "the database is locked by another process; try again",
    "SQLITE_LOCKED": "the database is locked by another process; try again",
    "SQLITE_FULL": "the disk is full; make room, nothing was written",
    "SQLITE_IOERR": "the disk failed to read or write the database",
    "SQLITE_CORRUPT": "the database file is damaged; stop the service and restore a backup",
    "SQLITE_NOTADB": (
        "the database file is damaged or not a SQLite database; stop the service and restore a"
        " backup"
    ),
    "SQLITE_READONLY": "the database file may not be written; check its owner and mode",
    "SQLITE_CANTOPEN": "the database file cannot be opened; check the path, its owner and mode",
}

# By SQLSTATE, or by its first two characters: PostgreSQL's appendix A.
_POSTGRES: Final = {
    "08": "the database cannot be reached; the log says why; try again",
    "25006": "the database is a standby, which may not be written; try again",
    "28": "the database refuses the user or the password of the address",
    "3D": "there is not a database of that name on the server; make it (createdb)",
    "42501": "the database's user may not do this; make the user the owner of the database",
    "42P01": "the database lacks a table; is it another service's?",
    "53100": "the server's disk is full; make room, nothing was written",
    "53300": "the server takes no more connections; raise its max_connections",
    "55P03": "the database is locked by another process; try again",
    "57014": "the database took too long; try again",
    "57P": "the database is stopping or starting; try again",
    "58": "the database server cannot use its disk; its log says why; try again",
    "XX001": "the database is damaged; restore a backup",
    "XX002": "an index of the database is damaged; rebuild it (REINDEX)",
    "XX": "the database server failed; its log says why; try again",
}
_LOST: Final = ("23", "40")
"""Constraints and serialization failures: somebody else was faster."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise StoreUnavailableError or ConflictError for a driver's error, plain or as SQLAlchemy
    wraps it.

    The driver's own text stays out of it and out of tracebacks: it may hold values of rows.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _told(error.orig) from None
    except (sqlite3.Error, psycopg.Error) as error:
        raise _told(error) from None
    except sa.exc.TimeoutError:
        raise StoreUnavailableError("the database is too busy; try again") from None
    except sa.exc.SQLAlchemyError as error:
        raise StoreUnavailableError(
            f"the database cannot be used: {type(error).__name__}"
        ) from None


def _told(error: BaseException | None) -> StoreUnavailableError:
    if isinstance(error, psycopg.Error):
        return _told_by_server(error)
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(_CONFLICT)
    name = getattr(error, "sqlite_errorname", "")
    reason = _SQLITE.get("_".join(name.split("_")[:2]))
    return StoreUnavailableError(
        reason or f"the database is not available ({type(error).__name__}); try again"
    )


def _told_by_server(error: psycopg.Error) -> StoreUnavailableError:
    state = error.sqlstate or "08"
    if error.sqlstate is None:
        # Why there is no connection: it names host, user and database, so it is for operators only.
        logger.warning("the database cannot be reached: %s", " ".join(str(error).split()))
    if state.startswith(_LOST):
        return ConflictError(_CONFLICT)
    reason = _POSTGRES.get(state) or _POSTGRES.get(state[:3]) or _POSTGRES.get(state[:2])
    return StoreUnavailableError(
        f"{reason or 'the database is not available; try again'} ({type(error).__name__}"
        f"{f', SQLSTATE {error.sqlstate}' if error.sqlstate else ''})"
    )
