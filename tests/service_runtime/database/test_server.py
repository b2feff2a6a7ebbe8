"""On a PostgreSQL server: reconnecting, timeouts, TLS, snapshots, sentences for errors."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from auth_service.store.tables import SCHEMA as AUTH
from brain_service.store.tables import SCHEMA as BRAIN
from harness.postgres import Postgres
from harness.root import ROOT
from metrics_service.store.tables import SCHEMA as METRICS
from service_runtime.database import connections
from service_runtime.database.addresses import url_of
from service_runtime.database.connections import Database
from service_runtime.database.errors import ConflictError, SchemaError, StoreUnavailableError
from service_runtime.database.schema import Schema, migrate, prepare
from tests.support.postgres import running_postgres
from tests.support.tls_relay import tls_relay


def test_replicas_that_start_at_once_migrate_once(postgres: Postgres) -> None:
    """Ten processes at once: the schema is made by one, and all of them go on."""
    address = postgres.make("ten_at_once")
    command = [sys.executable, "-m", "brain_service", "migrate"]
    environ = {"BRAIN_DATABASE_URL": address, "PYTHONPATH": f"{ROOT}:{ROOT}/proto/gen"}
    replicas = [
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    told = [replica.communicate()[0].strip() for replica in replicas]
    assert [replica.returncode for replica in replicas] == [0] * 10
    assert sorted(told) == [
        "the schema is now up to date",
        *["the schema was up to date already"] * 9,
    ]


@pytest.mark.parametrize("schema", [AUTH, BRAIN, METRICS], ids=lambda schema: schema.service)
def test_an_older_schema_on_a_server_is_refused_and_the_command_named(
    postgres: Postgres, schema: Schema
) -> None:
    database = Database.open(postgres.make(f"older_{schema.service}"))
    why = f"python -m {schema.service} migrate"
    with pytest.raises(SchemaError, match=f"no tables yet.*{why}"):
        prepare(database, schema)
    first = min(path.name for path in schema.migrations.glob("v*.py"))
    revision = first[:5] if schema is AUTH else first[1:5]
    with database.write() as connection:
        migrate(connection, schema, revision)
    with pytest.raises(SchemaError, match=f"has schema {revision}.*{why}"):
        prepare(database, schema)
    with database.write() as connection:
        assert migrate(connection, schema)
        assert not migrate(connection, schema)
    prepare(database, schema)
    database.close()


def test_a_step_that_fails_leaves_nothing_behind(postgres: Postgres, tmp_path: Path) -> None:
    for path in BRAIN.migrations.glob("v*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    newest = max(path.name for path in BRAIN.migrations.glob("v*.py"))[1:5]
    (tmp_path / "v9999_cut.py").write_text(
        f"revision, down_revision = '9999', '{newest}'\ndef upgrade(): raise OSError('power cut')\n"
    )
    database = Database.open(postgres.make("failed_step"))
    with pytest.raises(OSError, match="power cut"), database.write() as connection:
        migrate(connection, replace(BRAIN, migrations=tmp_path))
    with database.read() as connection:
        assert sa.inspect(connection).get_table_names() == []
    database.close()


def test_a_database_works_again_after_its_server_was_away() -> None:
    with running_postgres() as server:
        database = Database.open(server.make("one"))
        kept = database.writer()
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE things (id INT PRIMARY KEY)")
        for how in (signal.SIGINT, signal.SIGQUIT):
            server.stop(how=how)
            with (
                pytest.raises(StoreUnavailableError, match=r"try again"),
                database.write() as connection,
            ):
                connection.exec_driver_sql("SELECT 1")
            server.start()
            with database.write() as connection:
                connection.exec_driver_sql("INSERT INTO things SELECT count(*) FROM things")
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM things").scalar() == 2
        kept.close()
        database.close()


def test_what_a_server_refuses_is_said_without_any_value(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(connections.SERVER, "options", "-c statement_timeout=50 -c lock_timeout=20")
    address = postgres.make("refusals")
    database, other = Database.open(address), Database.open(address)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE people (mail TEXT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO people VALUES ('ann@school.example')")

    def refused(sql: str, kind: type[Exception], why: str) -> None:
        with pytest.raises(kind, match=why) as caught, other.write() as connection:
            connection.exec_driver_sql(sql)
        assert "ann@" not in str(caught.value)
        assert caught.value.__suppress_context__

    refused("INSERT INTO people VALUES ('ann@school.example')", ConflictError, "in between")
    refused("SELECT pg_sleep(5)", StoreUnavailableError, "took too long")
    refused("SELECT 'ann@school.example' FROM nowhere", StoreUnavailableError, "lacks a table")
    with database.write() as connection:
        connection.exec_driver_sql("LOCK TABLE people")
        refused("DELETE FROM people", StoreUnavailableError, "locked by another process")
    database.close()
    other.close()
    for url, why in (
        ("postgresql://aivo:hunter2@127.0.0.1:1/one", "Connection refused"),
        (address.replace("/refusals", "/nowhere"), '"nowhere" does not exist'),
    ):
        gone = Database.open(url)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"), gone.read():
            pass
        assert why in caplog.text
        assert "hunter2" not in caplog.text
        gone.close()


def test_a_read_sees_one_state_whatever_is_written_meanwhile(postgres: Postgres) -> None:
    database = Database.open(postgres.make("snapshot"))
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE things (id INT)")
    with database.read() as reader:
        before = reader.exec_driver_sql("SELECT count(*) FROM things").scalar()
        with database.write() as writer:
            writer.exec_driver_sql("INSERT INTO things VALUES (1)")
        assert reader.exec_driver_sql("SELECT count(*) FROM things").scalar() == before == 0
    database.close()


@pytest.mark.parametrize(("durable", "server", "expected"), [
    (True, "off", "on"), (True, "remote_apply", "remote_apply"), (False, "on", "off"),
])  # fmt: skip
def test_what_was_acknowledged_waits_for_the_disk_whatever_the_server_is_set_to(
    postgres: Postgres, durable: bool, server: str, expected: str
) -> None:
    name = f"durable_{durable}_{server}".lower()
    address = postgres.make(name)
    postgres.sql(name, f"ALTER DATABASE {name} SET synchronous_commit = {server}")
    database = Database.open(address, durable=durable)
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected
    database.close()


def test_tls_is_what_the_address_says(postgres: Postgres, tmp_path: Path) -> None:
    url = url_of(postgres.make("tls"))
    (folder,) = url.normalized_query["host"]
    with tls_relay(tmp_path, f"{folder}/.s.PGSQL.5432") as (port, seen):
        base = f"postgresql://aivo@127.0.0.1:{port}/tls"
        checked = Database.open(
            f"{base}?sslmode=verify-full&sslrootcert={tmp_path}/tls-certificate"
        )
        with checked.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        checked.close()
        assert seen == ["TLSv1.3"]
        (tmp_path / "other").mkdir()
        with tls_relay(tmp_path / "other", "unused"):
            pass
        suspicious = Database.open(
            f"{base}?sslmode=verify-full&sslrootcert={tmp_path}/other/tls-certificate"
        )
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            suspicious.read().__enter__()
        suspicious.close()
