"""A learner's rows in the log form a chain: each names its predecessor, and only every 64th is in
an index.

An index of all rows by learner would be written in a different place for each learner of a group: a
page of 16 KB each, most of what a commit writes, and growing with the log. Here a commit appends
rows and moves each learner's `revision` and `newest` in one small table. Checking that these are
where the engine expected also detects two brains that write the same learner. History is read by
walking back from the nearest indexed row, past at most 63 extra rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from brain_service.engine.storage import LogRow, Rebuilt, Row
from brain_service.store import heads
from brain_service.store.entries import BadEntryError, pack, unpack, uuid_bytes
from brain_service.store.statements import SHELL
from brain_service.store.tables import MILESTONE, MILESTONES, learners, log
from brain_service.store.tables import heads as heads_table
from service_runtime.database.connections import sqlite_connection

_NEXT_PLACE: Final = {
    "sqlite": sa.select(sa.func.coalesce(sa.func.max(log.c.seq), 0) + 1),
    "postgresql": sa.select(sa.Sequence("log_seq_seq").next_value()),
}


class ChainEnd(NamedTuple):
    """Where a learner stands."""

    key: int
    newest: int
    """Place of the newest row; 0 while there is none."""
    revision: int
    forgotten: int
    """The log was deleted up to this revision."""


_NOWHERE: Final = ChainEnd(0, 0, 0, 0)


def chain_end(connection: sa.Connection, learner_digest: bytes, *, hold: bool = False) -> ChainEnd:
    """Return a learner's position; an unknown one has key and revision 0. `hold` locks the learner
    until the transaction ends.
    """
    query = _STANDING.with_for_update(of=[heads_table, learners]) if hold else _STANDING
    found = connection.execute(query, {"digest": learner_digest}).one_or_none()
    return ChainEnd(*found) if found else _NOWHERE


def chain_end_of(connection: sa.Connection, key: int) -> ChainEnd:
    """Return the position of the learner with this key; an unknown key has revision 0."""
    found = connection.execute(_STANDING_OF, {"key": key}).one_or_none()
    return ChainEnd(*found) if found else _NOWHERE


def page(
    connection: sa.Connection, stands: ChainEnd, *, after: int, limit: int, newest: bool = False
) -> list[LogRow]:
    """Return a learner's first rows after a revision, or the last ones, oldest first; at most
    `limit`.
    """
    key, newest_place, revision, forgotten = stands
    start: int | None = newest_place
    if newest:
        after = revision - limit
    after = max(after, forgotten)
    until = min(after + limit, revision)
    milestone = until + -until % MILESTONE
    if milestone < revision:
        start = connection.scalar(_MILESTONE, {"key": key, "milestone": milestone})
    rows = connection.execute(_PAGE, {"start": start, "after": after, "until": until})
    return [log_row(*row) for row in rows]


def log_row(interaction_key: bytes, revision: int, entry: bytes) -> LogRow:
    """Read a row. A damaged one yields empty values."""
    try:
        return unpack(entry, revision, interaction_key)
    except BadEntryError:
        return LogRow(revision, "", "", "", None, b"", 0, 0, "", b"")


def replace_head(connection: sa.Connection, rebuilt: Rebuilt, kept: heads.Heads) -> bool:
    """Write a state into a learner's head and an assessment, if given, into the newest row. False
    when the learner has moved.
    """
    key, revision, state, assessment = rebuilt
    found = connection.execute(_HEAD, {"key": key}).one_or_none()
    if found is None or found.revision != revision:
        return False
    was = heads.unpack(found.head)
    head = heads.pack(was.occurred_at_ms, assessment or was.assessment, state)
    newest = found.newest
    if assessment is not None:
        newest = _replace_newest(connection, key, newest, assessment)
    if connection.dialect.name == "sqlite":
        driver = sqlite_connection(connection)
        place = heads.find(driver, key)
        assert place is not None  # noqa: S101 - it was found above, in this transaction
        kept.put(driver, [(heads.Kept(key, newest, revision, head), place)])
    else:
        put = sa.update(heads_table).where(heads_table.c.place == found.place)
        connection.execute(put.values(head=head, newest=newest))
    return True


def _replace_newest(connection: sa.Connection, key: int, newest: int, assessment: bytes) -> int:
    """Write an assessment into a row, which moves to the end of the log.

    If a row grew in place, SQLite would move its neighbours and leave copies in the slack of pages,
    out of reach of an erasure.
    """
    stored = connection.execute(sa.select(log).where(log.c.seq == newest)).one_or_none()
    if stored is None or stored.learner_key is None:  # deleted from the log
        return newest
    row = stored._asdict()
    was = log_row(stored.interaction_key, stored.revision, stored.entry)
    connection.execute(emptied(connection).where(log.c.seq == newest))
    place: int = connection.execute(_NEXT_PLACE[connection.dialect.name]).scalar_one()
    told = Row("", key, was.revision, *was[1:9], assessment, b"")
    entry = pack(told, id_is_told=uuid_bytes(was.interaction_id) is not None)
    connection.execute(sa.insert(log), row | {"seq": place, "entry": entry})
    return place


def emptied(connection: sa.Connection) -> sa.Update | sa.Delete:
    """Return the statement that removes rows from the log; on SQLite it leaves empty shells.

    Deleting rows would make SQLite move their neighbours too.
    """
    return sa.update(log).values(SHELL) if connection.dialect.name == "sqlite" else sa.delete(log)


def places_of(connection: sa.Connection, stands: ChainEnd) -> Sequence[int]:
    """Return the places of all rows of a learner that the log keeps."""
    if stands.revision == stands.forgotten:
        return []
    bounds = {"start": stands.newest, "after": stands.forgotten}
    return connection.scalars(_WHOLE, bounds).all()


_STANDS: Final = sa.select(
    learners.c.learner_key,
    heads_table.c.newest,
    heads_table.c.revision,
    learners.c.forgotten,
).join_from(learners, heads_table, heads_table.c.place == learners.c.head)
_STANDING: Final = _STANDS.where(learners.c.learner_digest == sa.bindparam("digest"))
_STANDING_OF: Final = _STANDS.where(learners.c.learner_key == sa.bindparam("key"))
_HEAD: Final = (
    sa.select(heads_table)
    .join_from(learners, heads_table, heads_table.c.place == learners.c.head)
    .where(learners.c.learner_key == sa.bindparam("key"))
    # The learner is locked until this transaction ends.
    .with_for_update(of=heads_table)
)
_MILESTONE: Final = sa.select(log.c.seq).where(
    log.c.learner_key == sa.bindparam("key"),
    log.c.revision == sa.bindparam("milestone"),
    MILESTONES,
)


def _steps() -> sa.CTE:
    """Walk from the row at `start` back to the one after revision `after`."""
    columns = log.c.seq, log.c.previous, log.c.revision
    steps = (
        sa.select(*columns).where(log.c.seq == sa.bindparam("start")).cte("steps", recursive=True)
    )
    back = (
        sa.select(*columns)
        .join(steps, log.c.seq == steps.c.previous)
        .where(log.c.revision > sa.bindparam("after"))
    )
    return steps.union_all(back)


def _page() -> sa.Select[Any]:
    steps = _steps()
    wanted = steps.c.revision.between(sa.bindparam("after") + 1, sa.bindparam("until"))
    columns = log.c.interaction_key, log.c.revision, log.c.entry
    return (
        sa.select(*columns)
        .join_from(steps, log, log.c.seq == steps.c.seq)
        .where(wanted)
        .order_by(steps.c.revision)
    )


_PAGE: Final = _page()
_WHOLE: Final = sa.select(_steps().c.seq)
