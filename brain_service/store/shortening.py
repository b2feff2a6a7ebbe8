"""Deletes the oldest rows of the log and keeps a state in their place, from which the rest
continues.

The log is in the order of arrival, so what is old is at its beginning. On SQLite a row first
becomes an empty shell, as one that was erased, and shells leave later: where rows are deleted,
SQLite may move what is left on the pages beside them, and a copy that stayed in their slack would
be out of reach of an erasure. So shells leave only where many pages of shells lie between them and
the first row. What becomes free is used for new rows; the file does not become smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from brain_service.engine.storage import Aged, Base, Shortened
from brain_service.store import heads
from brain_service.store.chain import emptied, log_row
from brain_service.store.entries import received_at_ms
from brain_service.store.statements import in_pieces, rows_in
from brain_service.store.tables import heads as heads_table
from brain_service.store.tables import learners, log
from service_runtime.database.connections import sqlite_connection

_SHELLS: Final = 16_384
"""Shells that stay before the first row: sixteen pages at least, as a page holds about a thousand.
SQLite moves rows between a page and the two beside it.
"""

_OLDEST: Final = (
    sa.select(log.c.seq, log.c.learner_key, log.c.revision, log.c.interaction_key, log.c.entry)
    .where(log.c.learner_key.is_not(None))
    .order_by(log.c.seq)
    .limit(sa.bindparam("limit"))
)
_head, _base = heads_table.alias("head"), heads_table.alias("base")
_BASES: Final = (
    sa.select(
        learners.c.learner_key, learners.c.forgotten, _base.c.head.label("base"), _head.c.head
    )
    .join_from(learners, _head, _head.c.place == learners.c.head)
    .outerjoin(_base, _base.c.place == learners.c.base)
    .where(learners.c.learner_key.in_(sa.bindparam("wanted", expanding=True)))
)
# In the order of their keys, to avoid deadlocks between brains.
_BEGINNINGS: Final = (
    sa.select(learners.c.learner_key, learners.c.forgotten)
    .where(learners.c.learner_key.in_(sa.bindparam("wanted", expanding=True)))
    .order_by(learners.c.learner_key)
    .with_for_update()
)


def aged(connection: sa.Connection, *, before_ms: int, limit: int) -> list[Aged]:
    """Return the oldest rows, oldest first, up to the first received at a time or later.

    One with an unreadable time goes with the next one that is old enough.
    """
    found: list[Aged] = []
    certain = 0
    for place, key, revision, interaction_key, entry in connection.execute(
        _OLDEST, {"limit": limit}
    ):
        received = received_at_ms(entry)
        if received is not None and received >= before_ms:
            break
        found.append(Aged(place, key, log_row(interaction_key, revision, entry)))
        if received is not None:
            certain = len(found)
    return found[:certain]


def bases(connection: sa.Connection, learner_keys: Sequence[int]) -> dict[int, Base]:
    """Return where the logs of these learners begin."""
    return {
        key: Base(
            forgotten,
            b"" if base is None else heads.unpack(base).state,
            heads.unpack(head).assessment,
        )
        for key, forgotten, base, head in rows_in(connection, _BASES, learner_keys)
    }


def shorten(connection: sa.Connection, learners: Sequence[Shortened]) -> int:
    """Delete rows inside the caller's transaction and store states in their place; returns the
    number of rows. Learners whose log begins elsewhere by now are skipped.
    """
    begin = dict(
        tuple(row)
        for row in rows_in(connection, _BEGINNINGS, sorted(each.learner_key for each in learners))
    )
    held = [each for each in sorted(learners) if begin.get(each.learner_key) == each.before]
    if not held:
        return 0
    if connection.dialect.name == "sqlite":
        driver = sqlite_connection(connection)
        for each in held:
            heads.put_base(driver, each.learner_key, each.revision, each.state)
    else:
        _put_bases(connection, held)
    connection.execute(
        _FORGET, [{"key": each.learner_key, "up_to": each.revision} for each in held]
    )
    places = [place for each in held for place in each.places]
    removed = remove(connection, places)
    if connection.dialect.name == "sqlite":
        _let_shells_go(connection)
    return removed


def remove(connection: sa.Connection, places: Sequence[int]) -> int:
    """Remove rows from the log by their places; returns how many existed."""
    there = log.c.learner_key.is_not(None)
    return sum(
        connection.execute(emptied(connection).where(log.c.seq.in_(some), there)).rowcount
        for some in in_pieces(places)
    )


_FORGET: Final = (
    sa.update(learners)
    .where(learners.c.learner_key == sa.bindparam("key"))
    .values(forgotten=sa.bindparam("up_to"))
)


def _put_bases(connection: sa.Connection, held: Sequence[Shortened]) -> None:
    """Store states on a server, where a learner's is the head at the negative key."""
    places = [-each.learner_key for each in held]
    known = set(rows_in(connection, _KNOWN, places))
    rows: list[dict[str, Any]] = [
        {"at": -each.learner_key, "up_to": each.revision, "kept": heads.pack(0, b"", each.state)}
        for each in held
    ]
    there = {place for (place,) in known}
    if old := [row for row in rows if row["at"] in there]:
        connection.execute(_OVERWRITE, old)
    if new := [row for row in rows if row["at"] not in there]:
        connection.execute(_INSERT, new)
        connection.execute(_POINT, [{"key": -row["at"], "at": row["at"]} for row in new])


_KNOWN: Final = sa.select(heads_table.c.place).where(
    heads_table.c.place.in_(sa.bindparam("wanted", expanding=True))
)
_OVERWRITE: Final = (
    sa.update(heads_table)
    .where(heads_table.c.place == sa.bindparam("at"))
    .values(revision=sa.bindparam("up_to"), head=sa.bindparam("kept"))
)
_INSERT: Final = sa.insert(heads_table).values(
    place=sa.bindparam("at"),
    newest=0,
    revision=sa.bindparam("up_to"),
    head=sa.bindparam("kept"),
)
_POINT: Final = (
    sa.update(learners)
    .where(learners.c.learner_key == sa.bindparam("key"))
    .values(base=sa.bindparam("at"))
)


def _let_shells_go(connection: sa.Connection) -> None:
    """Delete the first shells of a SQLite file, far from every row."""
    first = connection.scalar(_FIRST)
    if first is None:
        first = connection.scalar(_LAST)
    connection.execute(sa.delete(log).where(log.c.seq < (first or 0) - _SHELLS))


_FIRST: Final = (
    sa.select(log.c.seq).where(log.c.learner_key.is_not(None)).order_by(log.c.seq).limit(1)
)
_LAST: Final = sa.select(sa.func.max(log.c.seq))
