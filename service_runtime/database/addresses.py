"""What a database's address says before anything opens it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from service_runtime.database.errors import StoreUnavailableError
from service_runtime.settings import SettingsError

_USABLE = "give a path, sqlite:///path, or postgresql://user@host/database"


def url_of(address: str | Path) -> sa.URL:
    """Read an address: the path of a SQLite file, `sqlite:///path` or `postgresql://…`.

    A path as text has a slash or a dot in it, or a misspelt URL would make a file of that name.
    Raises StoreUnavailableError, which does not repeat the address: it may hold a password.
    """
    if isinstance(address, Path):
        return sa.URL.create("sqlite", database=str(address))
    if "://" not in address:
        if not {"/", "."} & set(address):
            raise StoreUnavailableError(f"the database's address is not usable; {_USABLE}")
        return sa.URL.create("sqlite", database=address)
    # The older name of the same scheme, which hosters give.
    if address.startswith("postgres://"):
        address = address.replace("postgres", "postgresql", 1)
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreUnavailableError(f"the database's address is not usable; {_USABLE}") from None
    match url.get_backend_name():
        case "postgresql" if url.database:
            return url.set(drivername="postgresql+psycopg")
        case "postgresql":
            raise StoreUnavailableError("the database's address names no database after the host")
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite")
        case "sqlite":
            raise StoreUnavailableError(
                "the database must be a file: every connection would see its own empty memory"
            )
    raise StoreUnavailableError(
        f"databases of the kind {url.get_backend_name()!r} are not supported; {_USABLE}"
    )


def require_existing(address: str, *, variable: str) -> None:
    """Raise SettingsError when `address` names an SQLite file that does not exist.

    For commands that read or erase what a service keeps: beside another database, made for them and
    empty, they would report that nothing is kept.
    """
    url = url_of(address)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise SettingsError(
            f"{variable}: there is no database {url.database}; give the one that the service has"
        )
