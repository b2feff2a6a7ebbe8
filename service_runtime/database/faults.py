"""Turns drivers' errors into sentences that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from service_runtime.database.errors import ConflictError, StoreUnavailableError

_CONFLICT: Final = "another change came in between; try again"

_SQLITE: Final = {
    "SQLITE_BUSY": "the database is locked by another process; try again",
    "SQLITE_LOCKED": "the database is locked by another process; try again",
    "SQLITE_FULL": "the disk is full; make room, nothing was written",
    "SQLITE_IOERR": "the disk failed to read or write the database",
    "SQLITE_CORRUPT": "the database file is damaged; stop the service and restore a backup",
    "SQLITE_NOTADB": (
        "the database file is damaged or is no SQLite database; stop the service and restore a"
        " backup"
    ),
    "SQLITE_READONLY": "the database file may not be written; check its owner and mode",
    "SQLITE_CANTOPEN": "the database file cannot be opened; check the path, its owner and mode",
}


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
    except sqlite3.Error as error:
        raise _told(error) from None
    except sa.exc.TimeoutError:
        raise StoreUnavailableError("the database is too busy; try again") from None
    except sa.exc.SQLAlchemyError as error:
        raise StoreUnavailableError(
            f"the database cannot be used: {type(error).__name__}"
        ) from None


def _told(error: BaseException | None) -> StoreUnavailableError:
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(_CONFLICT)
    name = getattr(error, "sqlite_errorname", "")
    reason = _SQLITE.get("_".join(name.split("_")[:2]))
    return StoreUnavailableError(
        reason or f"the database is not available ({type(error).__name__}); try again"
    )
