"""An auth service of its own for each test: a real SQLite file, a real key file, cheap password
hashes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from auth_service.settings import Settings
from auth_service.store import SCHEMA, ChangeLog, People, SessionTable, open_database
from tests.auth_service.harness import ADMIN, CREDENTIAL, Client, Clock, Stored, running
from tests.support.postgres import migrated


@pytest.fixture
def stored(address: str) -> Iterator[Stored]:
    clock = Clock()
    database = open_database(migrated(address, SCHEMA))
    database.prepare()
    yield Stored(
        database,
        People(database, clock.ms),
        SessionTable(database, clock.ms),
        ChangeLog(database),
        clock,
        address,
    )
    database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        listen="127.0.0.1:0",
        exposition_listen="off",
        credential=CREDENTIAL,
        drain_s=1.0,
        database_url=f"sqlite:///{tmp_path}/auth.sqlite3",
        key_file=tmp_path / "keys.json",
        argon2_time_cost=1,
        argon2_memory_kib=64,
        argon2_lanes=1,
        poll_s=0.02,
        heartbeat_s=30.0,
        free_rooms=True,
        bootstrap_admin_email=ADMIN[0],
        bootstrap_admin_password=ADMIN[1],
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with running(settings) as client:
        yield client
