"""A PostgreSQL for the tests of one run, with as many databases as they want."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.postgres import NoPostgresError, Postgres
from harness.supervisor import ProcessDiedError, Spawner, StartTimeoutError
from service_runtime.database.connections import Database
from service_runtime.database.schema import Schema, migrate

_names = itertools.count()


@contextlib.contextmanager
def running_postgres(*settings: str) -> Iterator[Postgres]:
    """Run a server of one's own; skips the test where none can."""
    with tempfile.TemporaryDirectory(prefix="aivo-pg-") as folder:
        spawner = Spawner()
        try:
            server = Postgres(Path(folder), spawner=spawner, settings=settings)
            server.start()
        except (NoPostgresError, ProcessDiedError, StartTimeoutError) as error:
            spawner.close()
            pytest.skip(f"no PostgreSQL: {error}")
        try:
            yield server
        finally:
            server.close()
            spawner.close()


def migrated(address: str, schema: Schema) -> str:
    """Give the database today's schema, as an operator does, and return its address."""
    database = Database.open(address)
    with database.write() as connection:
        migrate(connection, schema)
    database.close()
    return address


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of a worker. It syncs nothing: no test cuts the power."""
    with running_postgres("fsync=off", "max_connections=60") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of one kind after the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/one.sqlite3"
    server: Postgres = request.getfixturevalue("postgres")
    return server.make(f"test_{next(_names)}")
