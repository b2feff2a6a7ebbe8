"""Backups are whole, private and verified, and what they restore is what was there."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from brain_service.store.tables import SCHEMA as BRAIN
from service_runtime.database.backups import BackupError
from service_runtime.database.commands import add_commands, execute
from service_runtime.database.connections import Database
from service_runtime.database.errors import StoreError
from service_runtime.database.schema import Schema, migrate

KEPT = Schema(
    service="test_service",
    table="things",
    migrations=Path(),
    after_restore=("UPDATE things SET name = 'anew' WHERE id = 0",),
)
OTHER = Schema(service="other", table="others", migrations=Path())


def command(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(dest="command"))
    return parser.parse_args([str(word) for word in words])


def things(path: Path) -> list[tuple[int, str]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.execute("SELECT id, name FROM things ORDER BY id"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "service.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE alembic_version (version_num TEXT);"
            "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
            "INSERT INTO things VALUES (0, 'old'), (1, 'one');"
        )
        connection.commit()
    return path


def test_a_backup_of_a_database_in_use_is_whole_private_and_restores_it(
    database: Path, tmp_path: Path
) -> None:
    file = tmp_path / "copy.sqlite3"
    with contextlib.closing(sqlite3.connect(database)) as service:
        service.execute("INSERT INTO things VALUES (2, 'in the write-ahead file')")
        service.commit()
        service.execute("INSERT INTO things VALUES (3, 'not committed')")
        execute(command("backup", file), f"sqlite:///{database}", KEPT)
        service.rollback()
        service.execute("DELETE FROM things")
        service.commit()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert things(file) == [(0, "old"), (1, "one"), (2, "in the write-ahead file")]
    told = execute(command("restore", file), f"sqlite:///{database}", KEPT)
    assert things(database) == [(0, "anew"), (1, "one"), (2, "in the write-ahead file")]
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    (before,) = tmp_path.glob("service.sqlite3.before-*")
    assert str(before) in told
    assert things(before) == []
    assert things(file)[0] == (0, "old"), "a backup can be restored again"
    assert not list(tmp_path.glob(".*")), "nothing is left behind"


@pytest.mark.timeout(30)
def test_a_backup_ends_and_is_one_state_however_much_is_written_meanwhile(
    database: Path, tmp_path: Path
) -> None:
    """Each transaction adds two things that say the same: a copy has both or neither."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = ((number, "x" * 4000) for number in range(10, 30_010))
        connection.executemany("INSERT INTO things VALUES (?, ?)", rows)
        connection.commit()
    writing, done = threading.Event(), threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
            number = 100_000
            while not done.is_set():
                pair = [(number, "pair"), (number + 1, "pair")]
                connection.executemany("INSERT INTO things VALUES (?, ?)", pair)
                connection.commit()
                number += 2
                writing.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert writing.wait(10)
        execute(command("backup", tmp_path / "copy"), f"sqlite:///{database}", KEPT)
    finally:
        done.set()
        writer.join()
    pairs = [number for number, name in things(tmp_path / "copy") if name == "pair"]
    assert pairs == list(range(100_000, 100_000 + len(pairs)))
    assert len(pairs) % 2 == 0
    assert pairs


def test_a_restore_makes_a_database_where_there_is_none(database: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "copy", tmp_path / "deep" / "new.sqlite3"
    execute(command("backup", file), str(database), KEPT)
    execute(command("restore", file), str(new), KEPT)

    assert things(new) == [(0, "anew"), (1, "one")]


def test_a_restore_waits_for_no_service_that_runs(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    execute(command("backup", file), str(database), KEPT)
    with contextlib.closing(sqlite3.connect(database)) as service:
        service.execute("SELECT * FROM things").fetchall()
        with pytest.raises(BackupError, match="stop test_service first"):
            execute(command("restore", file), str(database), KEPT)
        service.execute("INSERT INTO things VALUES (9, 'still here')")
        service.commit()

    assert (9, "still here") in things(database)


def test_an_earlier_backup_is_never_overwritten(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    file.write_text("precious")
    with pytest.raises(BackupError, match="exists"):
        execute(command("backup", file), str(database), KEPT)

    assert file.read_text() == "precious"


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("harm", [_cut, lambda data: b"", lambda data: b"garbage" * 9])
def test_half_a_backup_is_refused_and_changes_nothing(
    database: Path, tmp_path: Path, harm: object
) -> None:
    file = tmp_path / "copy"
    execute(command("backup", file), str(database), KEPT)
    file.write_bytes(harm(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(BackupError):
        execute(command("restore", file), str(database), KEPT)

    assert things(database) == [(0, "old"), (1, "one")]


def test_another_services_backup_is_refused(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    execute(command("backup", file), str(database), KEPT)
    with pytest.raises(BackupError, match="not a database of other"):
        execute(command("restore", file), str(database), OTHER)


@pytest.mark.parametrize(
    ("words", "url", "why"),
    [
        (("backup", "copy"), "sqlite:///nowhere.sqlite3", "there is no database"),
        (("restore", "nowhere"), "sqlite:///x.sqlite3", "there is no file"),
        (("backup", "copy"), "mysql://x/y", "'mysql' are not supported"),
        (("backup", "none/copy"), "sqlite:///nowhere.sqlite3", "there is no database"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: tuple[str, str], url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=why):
        execute(command(*words), url, KEPT)
    assert list(tmp_path.iterdir()) == []


def _postgres_tools() -> Path | None:
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = homes and all((homes[-1] / tool).exists() for tool in ("initdb", "pg_ctl"))
    return homes[-1] if found and shutil.which("pg_dump") else None


@pytest.fixture
def installed() -> Iterator[str]:
    """A PostgreSQL of the test's own, reached by a socket in its folder."""
    tools = _postgres_tools()
    if tools is None:
        pytest.skip("PostgreSQL (initdb, pg_ctl, pg_dump) is not installed")
    folder = Path(tempfile.mkdtemp(prefix="aivo-pg-"))
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ordinary = [] if os.getuid() else nobody  # it does not run as root
    if ordinary:
        os.chown(folder, 65534, 65534)

    def run(*words: str) -> None:
        subprocess.run([*ordinary, *words], check=True, capture_output=True, cwd=folder)

    data = str(folder / "data")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    try:
        run(str(tools / "initdb"), "--pgdata", data, "--auth=trust", "--username=test")
        start = ("start", "--silent", "--log", str(folder / "log"))
        run(str(tools / "pg_ctl"), "--pgdata", data, "--wait", "--options", options, *start)
        yield f"postgresql+psycopg://test@/postgres?host={folder}"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run(str(tools / "pg_ctl"), "--pgdata", data, "--mode=immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sql(installed: str) -> Callable[[str], str]:
    """Works on that PostgreSQL, in which two things are."""
    host = installed.partition("host=")[2]

    def run(text: str) -> str:
        words = ["psql", "-h", host, "-U", "test", "-At", "-d", "postgres", "-c", text]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    run(
        "CREATE TABLE alembic_version (version_num TEXT);"
        "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
        "INSERT INTO things VALUES (0, 'old'), (1, 'one')"
    )
    return run


def test_the_same_with_postgresql(
    installed: str, sql: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "copy.dump"
    execute(command("backup", file), installed, KEPT)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    sql("DELETE FROM things; INSERT INTO things VALUES (5, 'later')")
    execute(command("restore", file), installed, KEPT)

    assert sql("SELECT id, name FROM things ORDER BY id") == "0|anew\n1|one"
    with pytest.raises(BackupError, match="not a database of other"):
        execute(command("restore", file), installed, OTHER)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BackupError):
        execute(command("restore", file), installed, KEPT)
    assert sql("SELECT count(*) FROM things") == "2"


def test_a_restore_waits_for_nobody_who_works_on_a_server(
    installed: str, sql: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "copy.dump"
    execute(command("backup", file), installed, KEPT)
    service = Database.open(installed)
    with service.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM things")) == 2
    sql("DELETE FROM things")  # the connection is idle now, but is kept

    with pytest.raises(
        BackupError, match=r"psql: the database postgres is in use \(by aivo\); stop"
    ):
        execute(command("restore", file), installed, KEPT)
    assert sql("SELECT count(*) FROM things") == "0"
    service.close()
    execute(command("restore", file), installed, KEPT)
    assert sql("SELECT count(*) FROM things") == "2"


def test_an_older_backup_leaves_nothing_in_the_way_of_an_upgrade(
    installed: str, tmp_path: Path
) -> None:
    """Whoever goes back after an upgrade will upgrade again."""
    file = tmp_path / "copy.dump"
    database = Database.open(installed)
    with database.write() as connection:
        migrate(connection, BRAIN, "0005")
    database.close()
    execute(command("backup", file), installed, BRAIN)
    for _ in range(2):
        with database.write() as connection:
            assert migrate(connection, BRAIN)
        database.close()
        execute(command("restore", file), installed, BRAIN)


def test_a_newer_versions_backup_is_refused_before_anything_changes(
    installed: str, database: Path, sql: Callable[[str], str], tmp_path: Path
) -> None:
    known = replace(KEPT, migrations=BRAIN.migrations)
    sql("INSERT INTO alembic_version VALUES ('9999')")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    for number, address in enumerate((installed, str(database))):
        file = tmp_path / f"copy-{number}"
        execute(command("backup", file), address, known)
        sql("DELETE FROM things")
        with pytest.raises(StoreError, match=r"copy-. has schema 9999, made by a newer version"):
            execute(command("restore", file), address, known)
    assert sql("SELECT count(*) FROM things") == "0"
    assert list(tmp_path.glob("*.before-*")) == []


def test_an_address_of_several_hosts_and_what_a_tool_complains_of(
    installed: str, sql: Callable[[str], str], tmp_path: Path
) -> None:
    folder = installed.partition("host=")[2]
    several = f"postgresql://test@/postgres?host=/nowhere:5432&host={folder}:5432"
    execute(command("backup", tmp_path / "copy"), several, KEPT)
    sql("DELETE FROM things")
    execute(command("restore", tmp_path / "copy"), several, KEPT)
    assert sql("SELECT count(*) FROM things") == "2"

    sql("CREATE ROLE other LOGIN")
    other = installed.replace("test@", "other@")
    with pytest.raises(BackupError, match=r"^pg_dump: query failed: ERROR:  permission denied"):
        execute(command("backup", tmp_path / "denied"), other, KEPT)
    with pytest.raises(BackupError, match=r"^psql: "):
        execute(command("restore", tmp_path / "copy"), other, KEPT)
    nowhere = "postgresql://test@/postgres?host=/nowhere"
    with pytest.raises(BackupError, match=r"^pg_dump: connection to server .*No such file"):
        execute(command("backup", tmp_path / "nowhere"), nowhere, KEPT)
    assert sql("SELECT count(*) FROM things") == "2"
    assert os.listdir(tmp_path) == ["copy"]
