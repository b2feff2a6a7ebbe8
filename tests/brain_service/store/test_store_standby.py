"""Losing a PostgreSQL and going on: a standby takes over, or the past is restored to a moment."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from brain_service.engine.storage import Row, StoreUnavailableError
from brain_service.model.increments import BankIncrements
from brain_service.store import SCHEMA, SqlStore
from harness.postgres import NoPostgresError, Postgres
from harness.supervisor import ProcessDiedError, Spawner, StartTimeoutError
from tests.support.eventually import eventually
from tests.support.postgres import migrated

NOTHING = BankIncrements()


def row(key: int, revision: int) -> Row:
    fields = ("practice", "what?", None, b"{}", 5, 6, "", b"outcome", b"state")
    return Row("ada", key, revision, f"i{revision}", *fields)


class Servers:
    """Starts servers in folders below one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._spawner = stack.enter_context(closing(Spawner()))

    def start(self, name: str, *settings: str) -> Postgres:
        server = Postgres(self.folder / name, spawner=self._spawner, settings=settings)
        self._stack.enter_context(closing(server))
        server.start()
        return server


@pytest.fixture
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="aivo-pg-") as folder, ExitStack() as stack:
        try:
            yield Servers(Path(folder), stack)
        except (NoPostgresError, ProcessDiedError, StartTimeoutError) as error:
            pytest.skip(f"no PostgreSQL: {error}")


async def test_a_standby_takes_over_with_all_that_was_acknowledged(servers: Servers) -> None:
    first = servers.start("first")
    address = migrated(first.make("brain"), SCHEMA)
    first.copy(servers.folder / "second", "-R")
    second = servers.start("second")
    # From now on a commit is acknowledged when it is on both.
    first.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    first.sql("postgres", "ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
    first.sql("postgres", "SELECT pg_reload_conf()")
    both = f"{address}&host={quote(str(second.socket))}&target_session_attrs=read-write"
    store = await SqlStore.open(both)
    keys = await store.commit([row(0, 1)], NOTHING)
    for revision in range(2, 40):
        await store.commit([row(keys["ada"], revision)], NOTHING)

    first.stop(how=signal.SIGQUIT)  # as a crash does
    with pytest.raises(StoreUnavailableError, match="try again"):
        await store.commit([row(keys["ada"], 40)], NOTHING)
    second.sql("postgres", "SELECT pg_promote()")

    async def newest() -> int:
        try:
            return (await store.revisions(["ada"]))["ada"]
        except StoreUnavailableError:
            return 0

    assert await eventually(newest, bool) == 39
    await store.commit([row(keys["ada"], 40)], NOTHING)
    kept = await store.history("ada", after_revision=0, limit=99, newest=False)
    assert [each.revision for each in kept] == list(range(1, 41))
    await store.close()


async def test_the_past_is_restored_to_a_moment_from_a_base_backup_and_the_log_files(
    servers: Servers,
) -> None:
    kept = servers.folder / "wal"
    kept.mkdir()
    first = servers.start("first", "archive_mode=on", f"archive_command=cp %p {kept}/%f")
    store = await SqlStore.open(migrated(first.make("brain"), SCHEMA))
    keys = await store.commit([row(0, 1)], NOTHING)
    first.copy(servers.folder / "second")
    for revision in range(2, 20):
        await store.commit([row(keys["ada"], revision)], NOTHING)
    first.sql("postgres", "SELECT pg_create_restore_point('before_the_mistake')")
    await store.erase("ada", requested_by="a mistake", at_ms=1)
    await store.close()
    first.sql("postgres", "SELECT pg_switch_wal()")
    first.stop()

    (servers.folder / "second" / "data" / "recovery.signal").touch()
    second = servers.start(
        "second",
        f"restore_command=cp {kept}/%f %p",
        "recovery_target_name=before_the_mistake",
        "recovery_target_action=promote",
    )

    async def recovers() -> str:
        return second.sql("postgres", "SELECT pg_is_in_recovery()")

    await eventually(recovers, lambda told: told == "f")
    store = await SqlStore.open(second.address("brain"))
    found = await store.history("ada", after_revision=0, limit=99, newest=False)
    assert [each.revision for each in found] == list(range(1, 20))
    await store.commit([row(keys["ada"], 20)], NOTHING)
    with store.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM audit")) == 0
    await store.close()
