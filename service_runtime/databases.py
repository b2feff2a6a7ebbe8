"""What a database's address says before anything opens it. It knows no driver and no schema."""

from __future__ import annotations

from pathlib import Path

from service_runtime.settings import SettingsError


def require_existing(address: str, *, variable: str) -> None:
    """Raise SettingsError when `address`, a URL or a path, names an SQLite file that does not
    exist.

    For commands that read or erase what a service keeps: beside another database, made for them and
    empty, they would report that nothing is kept.
    """
    scheme, separator, place = address.partition("://")
    if separator and scheme.partition("+")[0] != "sqlite":
        return
    path = Path(place.partition("?")[0].removeprefix("/") if separator else address)
    if not path.exists():
        raise SettingsError(
            f"{variable}: there is no database {path}; give the one that the service has"
        )
