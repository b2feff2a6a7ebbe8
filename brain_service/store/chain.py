"""How a learner's rows in the log hang together: each names the one before, and only every 64th is
in an index.

An index of all rows by learner would be written to in another place for each learner of a group: a
page of 16 KB each, most of what a commit writes, and more of it the longer the log. Here a commit
appends rows and moves each learner's `revision` and `newest` in one small table. That these still
stand where the engine believed them to stand is also how two brains that write the same learner are
told apart. A page of history is read by walking back from the nearest row that is in the index,
past 63 rows too many at most.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from brain_service.engine.journal import ConflictError, LogRow, Rebuilt, Row
from brain_service.store.statements import SHELL
from brain_service.store.tables import MILESTONE, MILESTONES, learners, log

_NEXT_PLACES: Final = sa.select(sa.Sequence("log_seq_seq").next_value()).select_from(
    sa.func.generate_series(1, sa.bindparam("count", type_=sa.Integer))
)
# In the order of keys, as everybody does it: or two brains could wait for each other.
_LOCK: Final = (
    sa.select(learners.c.learner_key)
    .where(learners.c.learner_key.in_(sa.bindparam("keys", expanding=True)))
    .order_by(learners.c.learner_key)
    .with_for_update()
)
_LAST_PLACE: Final = "SELECT coalesce(max(seq), 0) FROM log"
_APPEND: Final = sa.insert(log).values(
    {column.key: sa.bindparam(column.key) for column in log.columns}
    | {
        # Within a group the row before is known; before the group's first one only the learner's
        # entry knows it.
        "previous": sa.func.coalesce(
            sa.bindparam("before", type_=sa.BigInteger),
            sa.select(learners.c.newest)
            .where(learners.c.learner_key == sa.bindparam("owner"))
            .scalar_subquery(),
            sa.literal_column("0"),
        )
    }
)
_ADVANCE: Final = (
    sa.update(learners)
    .values(revision=sa.bindparam("reached"), newest=sa.bindparam("place"))
    .where(
        learners.c.learner_key == sa.bindparam("owner"),
        learners.c.revision == sa.bindparam("believed"),
    )
)


class Chain:
    """Appends to the log, on one kind of database."""

    def __init__(self, dialect: sa.Dialect, interaction_key: Callable[[str], bytes]) -> None:
        """Prepare statements; `interaction_key` returns the key under which an interaction's id is
        found.
        """
        rest = [column.key for column in log.columns][4:]
        self._append = _compiled(
            _APPEND, dialect, ["seq", "learner_key", "revision", "before", "owner", *rest]
        )
        self._advance = _compiled(_ADVANCE, dialect, ["reached", "place", "owner", "believed"])
        self._interaction_key = interaction_key

    def append(
        self, connection: sa.Connection, rows: Sequence[Row], keys: Mapping[str, int]
    ) -> None:
        """Append inside the caller's transaction; `keys` are those of learners that were made in
        it.

        Raises `ConflictError` when a learner stands elsewhere than the engine believed.
        """
        if connection.dialect.name == "sqlite":
            places: Iterable[int] = _after(
                connection.exec_driver_sql(_LAST_PLACE).scalar_one(), rows
            )
        else:
            keys_of = sorted({row.learner_key for row in rows} - {0})
            connection.execute(_LOCK, {"keys": keys_of}).all()
            places = connection.scalars(_NEXT_PLACES, {"count": len(rows)}).all()
        linked, moves = self._link(rows, keys, places)
        connection.exec_driver_sql(self._append, linked)
        _all_moved(connection.exec_driver_sql(self._advance, moves).rowcount, moves)

    def append_directly(self, driver: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Do it for learners that exist, without SQLAlchemy, whose share of a lone commit is more
        than SQLite's.
        """
        (last,) = driver.execute(_LAST_PLACE).fetchone()
        linked, moves = self._link(rows, {}, _after(last, rows))
        driver.executemany(self._append, linked)
        _all_moved(driver.executemany(self._advance, moves).rowcount, moves)

    def _link(
        self, rows: Iterable[Row], keys: Mapping[str, int], places: Iterable[int]
    ) -> tuple[list[tuple[Any, ...]], list[tuple[int, int, int, int]]]:
        """Return rows as the log takes them, and how far each learner moves from where the engine
        believed it to stand.

        Raises `ConflictError` when revisions of a learner do not follow one another.
        """
        key_of = self._interaction_key
        linked: list[tuple[Any, ...]] = []
        moves: dict[int, tuple[int, int, int, int]] = {}
        for place, row in zip(places, rows, strict=True):
            learner_id, learner_key, revision, interaction_id = row[
                :4
            ]  # by place, as below: it is hot
            key = learner_key or keys[learner_id]
            last, before, _, believed = moves.get(key) or (revision - 1, None, key, revision - 1)
            if revision != last + 1:
                raise ConflictError("the revisions of a learner do not follow one another")
            moves[key] = revision, place, key, believed
            linked.append((place, key, revision, before, key, key_of(interaction_id), *row[3:]))
        return linked, sorted(moves.values(), key=itemgetter(2))


def _compiled(
    statement: sa.Insert | sa.Update, dialect: sa.Dialect, parameters: Sequence[str]
) -> str:
    """Return a statement's text, which takes these parameters as tuples."""
    if (
        not dialect.positional
    ):  # PostgreSQL's drivers take them by name, if they are not told otherwise
        dialect = type(dialect)(paramstyle="format")  # type: ignore[call-arg]  # every real one does
    compiled = statement.compile(dialect=dialect)
    assert compiled.positiontup == parameters  # noqa: S101 - the order of the columns, which no input changes
    return str(compiled)


def _after(last: int, rows: Sequence[Row]) -> range:
    """Return the next places in the log. They are ours to give, because rows of one commit point to
    one another.
    """
    return range(last + 1, last + 1 + len(rows))


def _all_moved(count: int, moves: Sequence[object]) -> None:
    if count != len(moves):
        raise ConflictError("another brain wrote the same learner, or it was erased")


class Standing(NamedTuple):
    """Where a learner stands."""

    key: int
    newest: int | None
    """Place of the newest row; None while there is none."""
    revision: int


def standing(connection: sa.Connection, learner_digest: bytes, *, hold: bool = False) -> Standing:
    """Return where a learner stands; an unknown one has key and revision 0. `hold` keeps others
    from moving the learner until the transaction ends.
    """
    query = _STANDING.with_for_update() if hold else _STANDING
    found = connection.execute(query, {"digest": learner_digest}).one_or_none()
    return Standing(*found) if found else Standing(0, None, 0)


def standing_of(connection: sa.Connection, key: int) -> Standing:
    """Return where the learner with this key stands; a key of nobody has revision 0."""
    found = connection.execute(_STANDING_OF, {"key": key}).one_or_none()
    return Standing(*found) if found else Standing(0, None, 0)


def page(
    connection: sa.Connection, stands: Standing, *, after: int, limit: int, newest: bool = False
) -> list[LogRow]:
    """Return a learner's first rows after a revision, or the last ones, oldest first; at most
    `limit`.
    """
    key, start, revision = stands
    if newest:
        after = max(0, revision - limit)
    until = min(after + limit, revision)
    milestone = until + -until % MILESTONE
    if milestone < revision:
        start = connection.scalar(_MILESTONE, {"key": key, "milestone": milestone})
    rows = connection.execute(_PAGE, {"start": start, "after": after, "until": until})
    return [LogRow(*row) for row in rows]


def replace_newest(connection: sa.Connection, rebuilt: Rebuilt) -> bool:
    """Put a state into a learner's newest row, which moves to the end of the log for that.

    False when the learner stands elsewhere by now. Changed in its place, a row that grows would
    make SQLite move its neighbours, and copies of those would stay in the slack of pages, out of
    reach of an erasure.
    """
    key, revision, state, assessment = rebuilt
    # Changes nothing, but keeps others from moving the learner until this transaction ends.
    if not connection.execute(_HOLD, {"key": key, "believed": revision}).rowcount:
        return False
    _, newest, _ = standing_of(connection, key)
    stored = connection.execute(sa.select(log).where(log.c.seq == newest)).one()
    row = dict(zip(log.columns.keys(), stored, strict=True))
    connection.execute(emptied(connection).where(log.c.seq == newest))
    on_sqlite = connection.dialect.name == "sqlite"
    place = (
        connection.scalar(sa.text(_LAST_PLACE)) + 1
        if on_sqlite
        else connection.scalar(_NEXT_PLACES, {"count": 1})
    )
    row |= {"seq": place, "state": state, "assessment": assessment or row["assessment"]}
    connection.execute(sa.insert(log), row)
    connection.execute(
        sa.update(learners).where(learners.c.learner_key == key).values(newest=place)
    )
    return True


def emptied(connection: sa.Connection) -> sa.Update | sa.Delete:
    """Return the statement that takes rows out of the log; on SQLite an empty shell of each stays.

    Deleting rows would make SQLite move their neighbours too.
    """
    return sa.update(log).values(SHELL) if connection.dialect.name == "sqlite" else sa.delete(log)


def places_of(connection: sa.Connection, newest: int | None) -> Sequence[int]:
    """Return the places of all rows of the learner whose newest row is at this one."""
    return connection.scalars(_WHOLE, {"start": newest, "after": 0}).all()


_STANDS: Final = sa.select(learners.c.learner_key, learners.c.newest, learners.c.revision)
_STANDING: Final = _STANDS.where(learners.c.learner_digest == sa.bindparam("digest"))
_STANDING_OF: Final = _STANDS.where(learners.c.learner_key == sa.bindparam("key"))
_HOLD: Final = (
    sa.update(learners)
    .values(revision=learners.c.revision)
    .where(
        learners.c.learner_key == sa.bindparam("key"),
        learners.c.revision == sa.bindparam("believed"),
    )
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
    columns = [log.c[name] for name in LogRow._fields]
    return (
        sa.select(*columns)
        .join_from(steps, log, log.c.seq == steps.c.seq)
        .where(wanted)
        .order_by(steps.c.revision)
    )


_PAGE: Final = _page()
_WHOLE: Final = sa.select(_steps().c.seq)
