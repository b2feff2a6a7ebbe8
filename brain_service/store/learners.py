"""Adds learners to the store, notes exports, and erases learners with all their data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from brain_service.store import audit_log, heads, outbox
from brain_service.store.chain import chain_end, places_of
from brain_service.store.shortening import remove
from brain_service.store.statements import KEYS, rows_in
from brain_service.store.tables import heads as heads_table
from brain_service.store.tables import learners
from service_runtime.database.connections import postgres_connection, sqlite_connection


def add(connection: sa.Connection, by_digest: Mapping[bytes, str]) -> dict[str, int]:
    """Add learners, given by digest, and return their keys."""
    if not by_digest:
        return {}
    digests = sorted(by_digest)
    if connection.dialect.name != "sqlite":
        made = postgres_connection(connection).execute(_ADD, [digests], prepare=True)
        return {by_digest[digest]: key for digest, key in made}
    connection.execute(sa.insert(learners), [{"learner_digest": digest} for digest in digests])
    return {by_digest[digest]: key for digest, key in rows_in(connection, KEYS, by_digest)}


# On a server a learner's head has the learner's key. One statement: a new class waits for one round
# trip, not for five.
_ADD: Final = """
WITH given AS MATERIALIZED (
    SELECT digest, nextval(pg_get_serial_sequence('learners', 'learner_key')) AS key
    FROM unnest(%b::bytea[]) AS given (digest)
), added AS (
    INSERT INTO learners (learner_digest, learner_key, head) SELECT digest, key, key FROM given
    RETURNING learner_digest, learner_key
), begun AS (
    INSERT INTO heads (place, newest, revision, head) SELECT learner_key, 0, 0, '' FROM added
)
SELECT learner_digest, learner_key FROM added
"""


def note_export(connection: sa.Connection, *, digest: bytes, requested_by: str, at_ms: int) -> int:
    """Record that someone requested everything about a learner; returns the newest revision."""
    key, _, revision, _ = chain_end(connection, digest)
    audit_log.note(
        connection, "export", digest, key, requested_by=requested_by, at_ms=at_ms, count=revision
    )
    return revision


def erase(connection: sa.Connection, *, digest: bytes, requested_by: str, at_ms: int) -> int:
    """Delete everything about a learner, record who asked, and return the number of
    interactions.
    """
    stands = chain_end(connection, digest, hold=True)
    key = stands.key
    count = remove(connection, places_of(connection, stands))
    _clear_head(connection, key)
    outbox.cleared(connection, key)
    connection.execute(sa.delete(learners).where(learners.c.learner_key == key))
    audit_log.note(
        connection, "erase", digest, key, requested_by=requested_by, at_ms=at_ms, count=count
    )
    return count


def _clear_head(connection: sa.Connection, key: int) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(sa.delete(heads_table).where(heads_table.c.place.in_((key, -key))))
        return
    driver = sqlite_connection(connection)
    for find in (heads.find, heads.find_base):
        if (place := find(driver, key)) and place.place:
            heads.clear(driver, place)
