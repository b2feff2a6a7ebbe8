"""A database's identity: its epoch and the salt of its digests, made once with it."""

from __future__ import annotations

import secrets
import uuid

import sqlalchemy as sa

from brain_service.store.tables import meta
from service_runtime.database.schema import take_turn


def identity(connection: sa.Connection) -> dict[str, str]:
    """Return the epoch and the salt of the database, made once with it."""
    known = {name: value for name, value in connection.execute(sa.select(meta))}
    if not known:
        take_turn(connection)
        known = {name: value for name, value in connection.execute(sa.select(meta))}
    if not known:
        known = {"epoch": str(uuid.uuid4()), "salt": secrets.token_hex(32)}
        connection.execute(
            sa.insert(meta), [{"name": name, "value": value} for name, value in known.items()]
        )
    return known
