"""The commands that every service has for its database: `migrate`, `backup` and `restore`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from service_runtime.database import backups
from service_runtime.database.connections import Database
from service_runtime.database.schema import Schema, migrate

COMMANDS: Final = ("migrate", "backup", "restore")


def add_commands(commands: Any) -> None:
    """Add them to a service's commands (what `add_subparsers` returned)."""
    commands.add_parser(
        "migrate",
        help="bring the database's schema up to date; needed on PostgreSQL before the first start"
        " and before an upgrade. Several at once do it once",
    )
    backup = commands.add_parser(
        "backup", help="copy the database into a new file; the service may run meanwhile"
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="where to; it must not exist")
    restore = commands.add_parser(
        "restore", help="replace the database by a backup; stop the service first"
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")


def execute(arguments: argparse.Namespace, address: str, schema: Schema) -> str:
    """Do what the command line says and return a sentence for people. Raises StoreError."""
    if arguments.command == "migrate":
        return _migrate(address, schema)
    do = backups.backup if arguments.command == "backup" else backups.restore
    return do(address, arguments.file, schema)


def _migrate(address: str, schema: Schema) -> str:
    database = Database.open(address)
    try:
        with database.write() as connection:
            was_older = migrate(connection, schema)
    finally:
        database.close()
    return "the schema is now up to date" if was_older else "the schema was up to date already"
