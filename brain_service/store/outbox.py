"""Notices in the database: written with their interaction, deleted once delivered.

A notice names its learner, unlike anything else here; `cleared` erases that.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import sqlalchemy as sa

from brain_service.engine.notices import Backlog, DeadLetter, Notice, Postponed, Waiting
from brain_service.store.statements import in_pieces
from brain_service.store.tables import learners, outbox, outbox_lease

T = TypeVar("T")

_NAME: Final = "outbox"
_WAITS: Final = outbox.c.dead_ms.is_(None)
# Its own index finds the learners' first ones without reading the rest.
_before = outbox.alias("before")
_DUE: Final = (
    sa.select(
        outbox.c.place, outbox.c.message_id, outbox.c.since_ms, outbox.c.attempts, outbox.c.body
    )
    .where(
        _WAITS,
        outbox.c.endpoint == sa.bindparam("wanted"),
        outbox.c.due_ms <= sa.bindparam("now_ms"),
        ~sa.exists().where(
            _before.c.dead_ms.is_(None),
            _before.c.endpoint == outbox.c.endpoint,
            _before.c.learner_key == outbox.c.learner_key,
            _before.c.place < outbox.c.place,
        ),
    )
    .order_by(outbox.c.place)
    .limit(sa.bindparam("most"))
)
_BACKLOG: Final = sa.select(
    outbox.c.endpoint,
    sa.func.count().filter(_WAITS),
    sa.func.count(outbox.c.dead_ms),
    sa.func.coalesce(sa.func.min(outbox.c.since_ms).filter(_WAITS), 0),
).group_by(outbox.c.endpoint)


def insert(connection: sa.Connection, notices: Sequence[Notice], keys: Mapping[str, int]) -> None:
    """Put notices into the outbox; `keys` are those of their learners.

    Only after the learners' heads were moved; otherwise two brains could order a learner's notices
    wrongly.
    """
    rows = [
        {
            "endpoint": one.endpoint,
            "learner_key": keys[one.learner_id],
            "message_id": one.message_id,
            "since_ms": one.since_ms,
            "due_ms": one.since_ms,
            "body": one.body,
        }
        for one in notices
    ]
    connection.execute(sa.insert(outbox), rows)


def cleared(connection: sa.Connection, learner_key: int) -> None:
    """Delete a learner's notices from the outbox.

    On SQLite all others are rewritten: inserts and deletes move neighbours, whose copies stay in
    gaps between rows. Emptying a table blanks all of its pages.
    """
    mine = outbox.c.learner_key == learner_key
    if connection.dialect.name != "sqlite":
        connection.execute(sa.delete(outbox).where(mine))
        return
    others = connection.execute(sa.select(outbox).where(~mine)).mappings().all()
    connection.execute(sa.delete(outbox))
    if others:
        connection.execute(sa.insert(outbox), [dict(row) for row in others])


def bodies(connection: sa.Connection, learner_digest: bytes) -> list[bytes]:
    """Return the bodies of all notices about a learner."""
    query = (
        sa.select(outbox.c.body)
        .join_from(outbox, learners, learners.c.learner_key == outbox.c.learner_key)
        .where(learners.c.learner_digest == learner_digest)
        .order_by(outbox.c.place)
    )
    return list(connection.scalars(query))


class Transact(Protocol):
    """Runs blocking work in a transaction, in a thread of the store."""

    def __call__(self, work: Callable[[sa.Connection], T], /) -> Awaitable[T]:
        """Return what `work` returned."""


class SqlOutbox:
    """Implements `notices.Outbox` in the transactions of a store."""

    def __init__(self, read: Transact, write: Transact) -> None:
        """`read` sees one snapshot of the database; `write` is durable when it returns."""
        self._read = read
        self._write = write

    async def lease(self, holder: str, seconds: float) -> bool:
        """Take or extend the lease; False while somebody else holds it."""

        def work(connection: sa.Connection) -> bool:
            now_ms = _now_ms(connection)
            row = {"holder": holder, "until_ms": now_ms + int(seconds * 1000)}
            free = (outbox_lease.c.holder == holder) | (outbox_lease.c.until_ms < now_ms)
            mine = sa.update(outbox_lease).where(outbox_lease.c.name == _NAME, free).values(row)
            if connection.execute(mine).rowcount:
                return True
            there = connection.execute(sa.select(outbox_lease.c.name)).first()
            if there is None:
                # Another brain may win: then this fails, and the next try finds its lease.
                connection.execute(sa.insert(outbox_lease), row | {"name": _NAME})
            return there is None

        return await self._write(work)

    async def release(self, holder: str) -> None:
        """Give the lease back, if `holder` has it."""
        mine = sa.update(outbox_lease).where(outbox_lease.c.holder == holder).values(until_ms=0)
        await self._write(lambda connection: connection.execute(mine).rowcount)

    async def due(self, endpoint: str, *, now_ms: int, limit: int) -> list[Waiting]:
        """Return notices to deliver now, oldest first: the first waiting one of each learner."""
        given = {"wanted": endpoint, "now_ms": now_ms, "most": limit}
        return await self._read(
            lambda connection: [Waiting(*row) for row in connection.execute(_DUE, given)]
        )

    async def delivered(self, places: Sequence[int]) -> None:
        """Delete notices."""

        def work(connection: sa.Connection) -> None:
            for some in in_pieces(places):
                connection.execute(sa.delete(outbox).where(outbox.c.place.in_(some)))

        await self._write(work)

    async def postpone(self, notices: Sequence[Postponed], *, now_ms: int) -> None:
        """Record an attempt, and when the next one is due, if any."""
        update = (
            sa.update(outbox)
            .where(outbox.c.place == sa.bindparam("at"), _WAITS)
            .values(
                attempts=outbox.c.attempts + 1,
                due_ms=sa.bindparam("due"),
                why=sa.bindparam("said"),
                dead_ms=sa.bindparam("dead"),
            )
        )
        rows: list[dict[str, Any]] = [
            {"at": each.place, "due": each.due_ms, "said": each.why}
            | {"dead": now_ms if each.dead else None}
            for each in notices
        ]

        def work(connection: sa.Connection) -> None:
            for row in rows:
                connection.execute(update, row)

        await self._write(work)

    async def sweep(self, *, dead_before_ms: int, gone_before_ms: int, now_ms: int) -> int:
        """Give up notices made before one time, and delete those given up before another; returns
        how many were given up.
        """
        give_up = sa.update(outbox).where(_WAITS, outbox.c.since_ms < dead_before_ms)
        forget = sa.delete(outbox).where(outbox.c.dead_ms < gone_before_ms)

        def work(connection: sa.Connection) -> int:
            connection.execute(forget)
            return connection.execute(give_up.values(dead_ms=now_ms)).rowcount

        return await self._write(work)

    async def backlog(self) -> dict[str, Backlog]:
        """Return what waits, by endpoint."""
        return await self._read(
            lambda connection: {
                endpoint: Backlog(*rest) for endpoint, *rest in connection.execute(_BACKLOG)
            }
        )

    async def dead(self, *, limit: int) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        columns = [outbox.c[name] for name in DeadLetter._fields]
        query = sa.select(*columns).where(~_WAITS).order_by(outbox.c.place).limit(limit)
        return await self._read(
            lambda connection: [DeadLetter(*row) for row in connection.execute(query)]
        )

    async def redeliver(self, message_ids: Sequence[str], *, now_ms: int) -> int:
        """Queue these dead letters again, or all if none is named; returns how many."""
        again = (
            sa.update(outbox)
            .where(~_WAITS)
            .values(dead_ms=None, due_ms=now_ms, since_ms=now_ms, attempts=0)
        )

        def work(connection: sa.Connection) -> int:
            if not message_ids:
                return connection.execute(again).rowcount
            return sum(
                connection.execute(again.where(outbox.c.message_id.in_(some))).rowcount
                for some in in_pieces(message_ids)
            )

        return await self._write(work)


def _now_ms(connection: sa.Connection) -> int:
    """The time by one clock for all processes that share the database."""
    if connection.dialect.name == "sqlite":
        return int(time.time() * 1000)
    seconds = sa.extract("epoch", sa.func.clock_timestamp())
    return int(connection.execute(sa.select(seconds)).scalar_one() * 1000)
