"""Which schema a database has, and the steps that bring it up to date.

A service's steps are `<service>/migrations/vNNNN_*.py`; a test keeps them equal to its tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service_runtime.database.connections import Database
from service_runtime.database.errors import SchemaError

_OLDEST_SERVER: Final = (14,)
_ENVIRONMENT: Final = Path(__file__).parent / "alembic"
_SEPARATORS: Final = {"\n": "newline", ";": ";", ":": ":", " ": "space"}
"""What Alembic calls the signs that may divide a list of folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a service keeps in its database."""

    service: str
    """The name of its command, for people."""
    table: str
    """A table that only this service's databases have, from their first version on."""
    migrations: Path
    """The folder of the steps."""
    after_restore: Sequence[str] = ()
    """SQL that makes an older state safe to go on from; carried out before anybody sees it."""


def prepare(database: Database, schema: Schema) -> None:
    """Make sure that the database has this program's schema.

    A SQLite file is brought up to date. On a server, which others may be using, an operator must do
    that. Raises SchemaError, which names the command.
    """
    if database.is_sqlite:
        with database.write() as connection:
            migrate(connection, schema)
        return
    with database.read() as connection:
        if (connection.dialect.server_version_info or (0,)) < _OLDEST_SERVER:
            raise SchemaError(f"the server is older than PostgreSQL {_OLDEST_SERVER[0]}")
        present, newest = _check(connection, schema)
    if present != newest:
        raise SchemaError(
            f"the database has {f'schema {present}' if present else 'no tables yet'}, and this"
            f" program works with schema {newest}; run `python -m {schema.service} migrate` with"
            " the same settings"
        )


def migrate(connection: sa.Connection, schema: Schema, revision: str = "head") -> bool:
    """Bring the schema up to date, or up to a `revision`, inside the caller's transaction; tell
    whether it was older.

    If several try at once, one does it and the others wait. Raises SchemaError, having changed
    nothing, for a database of another service, of something else, of a newer version, or of none.
    """
    take_turn(connection)
    present, newest = _check(connection, schema)
    if present != newest:
        command.upgrade(configured(connection, schema), revision)
    return present != newest


def take_turn(connection: sa.Connection) -> None:
    """Wait until no other process prepares the same database; held to the transaction's end."""
    if connection.dialect.name == "postgresql":
        # Steps over a long log take longer than any statement otherwise may.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4702111234474983745)")


def configured(connection: sa.Connection, schema: Schema) -> Config:
    """Return what Alembic needs to work on a service's steps, on this connection."""
    config = _config(schema)
    config.attributes["connection"] = connection
    return config


def _config(schema: Schema) -> Config:
    config = Config()
    config.set_main_option("script_location", _escaped(_ENVIRONMENT))
    place = _escaped(schema.migrations)
    # One folder, so whatever would divide several must not be in its name.
    apart = next((name for sign, name in _SEPARATORS.items() if sign not in place), "newline")
    config.set_main_option("path_separator", apart)
    config.set_main_option("version_locations", place)
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _check(connection: sa.Connection, schema: Schema) -> tuple[str | None, str | None]:
    """Return the present schema and the newest one. Raises SchemaError."""
    scripts = ScriptDirectory.from_config(_config(schema))
    present = MigrationContext.configure(connection).get_current_revision()
    newest = scripts.get_current_head()
    tables = sa.inspect(connection).get_table_names()
    if present is None:
        if set(tables) - {"alembic_version"}:
            raise SchemaError(
                f"this is not a database of {schema.service}: it has a table {tables[0]!r} but no"
                " schema version"
            )
    elif schema.table not in tables:
        raise SchemaError(f"this is the database of another service, not of {schema.service}")
    else:
        require_known(present, schema, "the database")
    return present, newest


def require_known(present: str, schema: Schema, what: str) -> None:
    """Raise SchemaError when no step of this program leads on from the schema that `what` has."""
    scripts = ScriptDirectory.from_config(_config(schema))
    if present in {script.revision for script in scripts.walk_revisions()}:
        return
    newest = scripts.get_current_head() or ""
    if present > newest:
        raise SchemaError(
            f"{what} has schema {present}, made by a newer version of this program than this one,"
            f" which knows only up to {newest}; run that version or a later one"
        )
    raise SchemaError(
        f"{what} has schema {present}, made by a build between two versions of this program, which"
        " no version knows; run that build, or restore a backup made by a version"
    )
