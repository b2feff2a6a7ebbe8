"""Backs up and restores a service's database: whole, verified, and readable by its owner only.

SQLite by its own online backup, so that the service may run meanwhile; PostgreSQL by the tools that
come with it, which must be on the PATH. All that it needs to know of a schema is the name of one
table.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from service_runtime.database.addresses import url_of
from service_runtime.database.errors import StoreError
from service_runtime.database.schema import Schema, require_known

_BUSY_S = 5.0


class BackupError(StoreError):
    """Nothing was changed; the sentence says why and what to do."""


def backup(address: str, file: Path, schema: Schema) -> str:
    """Copy the database into a new file and return a sentence for people. Raises StoreError."""
    with _told(file):
        _database(address, schema).backup(file)
        return f"{file}: {file.stat().st_size:,} bytes, verified"


def restore(address: str, file: Path, schema: Schema) -> str:
    """Replace the database by what `backup` wrote and return a sentence for people.

    Raises StoreError.
    """
    with _told(file):
        return _database(address, schema).restore(file)


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{error.filename or file}: {error.strerror}") from error


def _database(address: str, schema: Schema) -> _Sqlite | _Postgres:
    url = url_of(address)
    if url.get_backend_name() == "sqlite":
        return _Sqlite(Path(url.database or ""), schema)
    return _Postgres(url, schema)


@contextlib.contextmanager
def _becoming(file: Path) -> Iterator[Path]:
    """Yield a private file that gets its name when the block succeeds, and is deleted otherwise."""
    if file.exists():
        raise BackupError(f"{file} exists; name a new file, or move that one away")
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as whole:
            os.fsync(whole.fileno())
        os.link(temporary, file)  # fails if another one was faster
        _sync_folder(file.parent)
    except FileExistsError:
        raise BackupError(f"{file} exists; name a new file, or move that one away") from None
    finally:
        for left in (temporary, *(Path(name + end) for end in ("-journal", "-wal", "-shm"))):
            left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Sqlite:
    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema

    def backup(self, file: Path) -> None:
        if not self._path.exists():
            raise BackupError(f"there is no database {self._path}")
        with _becoming(file) as temporary:
            self._copy(self._path, temporary)
            self._verify(temporary)

    def restore(self, file: Path) -> str:
        if not file.is_file():
            raise BackupError(f"there is no file {file}")
        self._verify(file)
        for (version,) in _rows(file, "SELECT version_num FROM alembic_version"):
            require_known(version, self._schema, str(file))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        os.close(descriptor)
        temporary = Path(name)
        try:
            self._copy(file, temporary)
            with contextlib.closing(sqlite3.connect(temporary)) as connection, connection:
                for statement in self._schema.after_restore:
                    connection.execute(statement)
            self._verify(temporary)
            return self._replace(temporary)
        finally:
            for end in ("", "-journal", "-wal", "-shm"):
                Path(name + end).unlink(missing_ok=True)

    def _replace(self, temporary: Path) -> str:
        """Replace the database by a verified file, while nobody has it open."""
        kept = None
        if self._path.exists():
            self._close_out()
            kept = self._path.with_name(f"{self._path.name}.before-{time.time_ns() // 1_000_000}")
            os.link(self._path, kept)
        with temporary.open("rb") as whole:
            os.fsync(whole.fileno())
        temporary.replace(self._path)
        for end in ("-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        _sync_folder(self._path.parent)
        was = f"; what was there is now {kept}" if kept else ""
        return f"{self._path} is restored{was}"

    def _close_out(self) -> None:
        """Merge the write-ahead file into the database, and make sure that nobody else has it open:
        they would keep writing into a deleted file.
        """
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        with contextlib.closing(connection):
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                raise BackupError(
                    f"{self._path} is in use; stop {self._schema.service} first"
                ) from error
            except sqlite3.DatabaseError:
                pass  # damaged, which is why somebody restores a backup

    def _copy(self, source: Path, target: Path) -> None:
        try:
            with (
                contextlib.closing(_reading(source)) as old,
                contextlib.closing(sqlite3.connect(target)) as new,
            ):
                # In one step: a copy in several begins again whenever somebody else has written.
                old.backup(new)
                new.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise BackupError(f"{source} cannot be copied: {error}") from error

    def _verify(self, file: Path) -> None:
        """Refuse files that are damaged, truncated, or another service's."""
        try:
            with contextlib.closing(_reading(file)) as connection:
                (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
                names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error as error:
            raise BackupError(f"{file} is not a whole SQLite database: {error}") from error
        if found != "ok":
            raise BackupError(f"{file} is damaged: {found}")
        if not {self._schema.table, "alembic_version"} <= names:
            raise BackupError(f"{file} is not a database of {self._schema.service}")


def _rows(file: Path, query: str) -> list[tuple[str]]:
    with contextlib.closing(_reading(file)) as connection:
        return connection.execute(query).fetchall()


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)


class _Postgres:
    def __init__(self, url: sa.URL, schema: Schema) -> None:
        self._schema = schema
        # As the driver reads the address: several hosts, and every parameter of libpq.
        _, given = url.get_dialect()().create_connect_args(url)
        self._name = str(given["dbname"])
        # Not in the arguments, which everybody on the machine can read.
        password = given.pop("password", None)
        self._environ = os.environ | ({"PGPASSWORD": str(password)} if password else {})
        self._where = f"--dbname={make_conninfo(**given)}"

    def backup(self, file: Path) -> None:
        with _becoming(file) as temporary:
            self._run(
                "pg_dump", self._where, "--format=custom", "--no-owner", f"--file={temporary}"
            )
            self._verify(temporary)

    def restore(self, file: Path) -> str:
        if not file.is_file():
            raise BackupError(f"there is no file {file}")
        self._verify(file)
        version = self._run(
            "pg_restore", "--data-only", "--table=alembic_version", "--file=-", file
        )
        if found := _COPIED.search(version):
            require_known(found[1], self._schema, str(file))
        script = self._run("pg_restore", "--no-owner", "--file=-", file)
        after = "".join(f"{statement};\n" for statement in self._schema.after_restore)
        # One transaction for all: readers see the one state or the other.
        settings = ("--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--quiet")
        given = "\n".join((_ALONE, _EMPTY, script, _PUBLIC, after))
        self._run("psql", self._where, *settings, given=given)
        return f"the database {self._name} is restored"

    def _verify(self, file: Path) -> None:
        listed = self._run("pg_restore", "--list", file)
        tables = {line.split()[5] for line in listed.splitlines() if " TABLE public " in line}
        if not {self._schema.table, "alembic_version"} <= tables:
            raise BackupError(f"{file} is not a database of {self._schema.service}")

    def _run(self, tool: str, *arguments: str | Path, given: str | None = None) -> str:
        program = shutil.which(tool)
        if program is None:
            raise BackupError(
                f"{tool} is not on the PATH; it comes with PostgreSQL (postgresql-client)"
            )
        done = subprocess.run(  # noqa: S603 - a program of the operator's
            [program, *map(str, arguments)],
            env=self._environ,
            input=given,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BackupError(f"{tool}: {_complaint(tool, done.stderr)}")
        return done.stdout


def _complaint(tool: str, said: str) -> str:
    """Return a tool's error message as one line."""
    lines = [line.removeprefix(f"{tool}: ").strip() for line in said.splitlines() if line.strip()]
    first = next((place for place, line in enumerate(lines) if _ERROR.search(line)), 0)
    return _ERROR.sub("", " ".join(lines[first : first + 3]), count=1) or "no reason given"


_ALONE = """
DO $$ DECLARE others text; BEGIN
  SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), 'unnamed'), ', ') INTO others
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
      AND coalesce(backend_type, 'client backend') = 'client backend';
  IF others IS NOT NULL THEN
    RAISE 'the database % is in use (by %); stop that first', current_database(), others;
  END IF;
END $$;"""
"""Fails while anybody else works on the database, who would go on from what is no more."""
_EMPTY = """
DO $$ DECLARE each regclass; BEGIN
  FOR each IN SELECT pg_class.oid FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND pg_has_role(current_user, relowner, 'USAGE')
  LOOP EXECUTE format('DROP TABLE IF EXISTS %s CASCADE', each); END LOOP;
END $$;"""
"""Leaves nothing of what is replaced: a newer schema's tables would be in the way of its steps."""
_PUBLIC = "SET search_path = public;"
"""A dump unsets it."""
_COPIED = re.compile(r"^COPY .*\n(?!\\\.)(.+)$", re.MULTILINE)
"""The first row of a table in a dump."""
_ERROR = re.compile(r"(psql:\S+ )?(error|ERROR|FATAL):\s+")
