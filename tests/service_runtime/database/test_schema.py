"""A service works on its own database and on no other's, at the version that it knows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from auth_service.store.tables import SCHEMA as AUTH
from brain_service.store.tables import SCHEMA as BRAIN
from metrics_service.store.tables import SCHEMA as METRICS
from service_runtime.database.connections import Database
from service_runtime.database.errors import SchemaError, StoreUnavailableError
from service_runtime.database.schema import Schema, migrate

SCHEMAS = (AUTH, BRAIN, METRICS)


@pytest.mark.parametrize("owner", SCHEMAS, ids=lambda schema: schema.service)
@pytest.mark.parametrize("other", SCHEMAS, ids=lambda schema: schema.service)
def test_no_service_takes_the_database_of_another(
    tmp_path: Path, owner: Schema, other: Schema
) -> None:
    database = Database.open(tmp_path / "one.sqlite3")
    with database.write() as connection:
        migrate(connection, owner)
        before = sorted(sa.inspect(connection).get_table_names())
    if owner is not other:
        with (
            pytest.raises(SchemaError, match="another service"),
            database.write() as connection,
        ):
            migrate(connection, other)
    with database.write() as connection:
        migrate(connection, owner)
        assert sorted(sa.inspect(connection).get_table_names()) == before
    database.close()


@pytest.mark.parametrize("name", ["a\nb", "a?b%41#", "a b;c:d", "ü'\"$x"])
def test_a_checkout_and_its_data_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(METRICS.migrations, folder / "migrations")
    database = Database.open(str(folder / "one.sqlite3"))
    with database.write() as connection:
        migrate(connection, replace(METRICS, migrations=folder / "migrations"))
        assert METRICS.table in sa.inspect(connection).get_table_names()
    database.close()
    assert (folder / "one.sqlite3").stat().st_size > 0


def test_nothing_of_a_row_shows_in_an_error_or_what_led_to_it(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "one.sqlite3")
    with (
        pytest.raises(StoreUnavailableError) as caught,
        database.read() as connection,
    ):
        connection.execute(sa.text("SELECT :who FROM nowhere"), {"who": "ann@school.example"})
    database.close()
    assert "ann@" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__
