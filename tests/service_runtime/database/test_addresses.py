"""Commands find out from its address whether a database is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from service_runtime.database.addresses import require_existing
from service_runtime.settings import SettingsError


@pytest.mark.parametrize("address", ["sqlite:///{}", "sqlite+pysqlite:///{}?timeout=5", "{}"])
def test_a_file_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "kept.sqlite3", Path("kept.sqlite3")):
        with pytest.raises(SettingsError, match=f"^X_DATABASE_URL: there is no database {path};"):
            require_existing(address.format(path), variable="X_DATABASE_URL")
    (tmp_path / "kept.sqlite3").touch()
    for path in (tmp_path / "kept.sqlite3", Path("kept.sqlite3")):
        require_existing(address.format(path), variable="X_DATABASE_URL")


def test_other_databases_are_asked_themselves() -> None:
    require_existing("postgresql+asyncpg://aivo@db/aivo", variable="X_DATABASE_URL")
