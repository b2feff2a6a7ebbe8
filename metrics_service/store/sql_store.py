"""Saves, finds, sums and deletes. It blocks: call it from threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from metrics_service.aggregate import FleetCounters, Remembered, Retained
from metrics_service.exchanges import Exchanges
from metrics_service.records import OUTCOME_OK, AnalyticsRow, MessageRecord, Query
from metrics_service.store.leadership import Leadership
from metrics_service.store.rows import (
    analytics_rows,
    counter_row,
    exchanges_row,
    mention,
    remembered,
    stored_exchanges,
    sum_rows,
)
from metrics_service.store.tables import (
    SCHEMA,
    Upserts,
    counters_table,
    exchanges_table,
    sums_table,
    tallies_table,
)
from service_runtime.database.connections import Database, truncate_wal
from service_runtime.database.faults import translated
from service_runtime.database.schema import prepare

WHOLE_FLEET = ""
"""Edge id of the row that holds the fleet's totals; no edge can have it."""


def open_database(address: str) -> Database:
    """Open the database at an address, whatever its schema."""
    # A power cut may take the last records, never the file: they are dropped rather than waited
    # for anyway.
    return Database.open(address, durable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many records reached the disk, and how many were dropped on the way, ever."""

    recorded: int = 0
    dropped: int = 0


class Store:
    """The database. Reading and writing may happen in different threads; writing in one at
    a time.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.leadership = Leadership(database)
        """Whether this service may write; it loads first."""
        self._saved = Retained()
        self._upserts = Upserts(database.engine.dialect.name)

    @classmethod
    def open(cls, url: str) -> Store:
        """Open the database at an address and see that its schema is up to date; an SQLite file is
        made when missing.

        Raises StoreError when that is not possible.
        """
        database = open_database(url)
        try:
            prepare(database, SCHEMA)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close all connections."""
        self.leadership.give_up()
        self.database.close()

    def load(self) -> tuple[Retained, Tally]:
        """Return what was saved last; nothing but zeros in a new database."""
        with self.database.read() as connection:
            rows = {
                row.edge_id: remembered(row)
                for row in connection.execute(sa.select(counters_table))
            }
            tallies = {row.name: row.value for row in connection.execute(sa.select(tallies_table))}
        fleet = rows.pop(WHOLE_FLEET, None)
        self._saved = Retained(totals=fleet.counters if fleet else FleetCounters(), edges=rows)
        return self._saved, Tally(
            recorded=tallies.get("recorded", 0), dropped=tallies.get("dropped", 0)
        )

    def save(self, retained: Retained, tally: Tally) -> None:
        """Make the fleet's counters and what they hold of each edge durable, all or nothing."""
        changed = [
            counter_row(edge_id, edge)
            for edge_id, edge in retained.edges.items()
            if self._saved.edges.get(edge_id) != edge
        ]
        if retained.totals != self._saved.totals:
            changed.append(
                counter_row(WHOLE_FLEET, Remembered(counters=retained.totals, seen_at_ms=0))
            )
        gone = [edge_id for edge_id in self._saved.edges if edge_id not in retained.edges]
        with self.database.write() as connection:
            if changed:
                connection.execute(self._upserts.counters, changed)
            if gone:
                connection.execute(
                    sa.delete(counters_table).where(counters_table.c.edge_id.in_(gone))
                )
            self._save_tally(connection, tally)
        self._saved = retained

    def append(self, batches: Iterable[Exchanges], tally: Tally) -> None:
        """Keep exchanges and add them to the sums, all or nothing; `tally` counts them already."""
        parts = [part for batch in batches for part in batch.by_minute()]
        kept, sums = [exchanges_row(part) for part in parts], sum_rows(parts)
        with self.database.write() as connection:
            connection.execute(sa.insert(exchanges_table), kept)
            connection.execute(self._upserts.sums, sums)
            self._save_tally(connection, tally)

    def prune(self, *, records_before_ms: int, sums_before_ms: int, most: int) -> bool:
        """Delete at most `most` batches and ten minutes' sums that are older; return whether there
        may be more.
        """
        old = (
            sa.select(exchanges_table.c.batch_id)
            .where(exchanges_table.c.last_ms < records_before_ms)
            .limit(most)
        )
        stale = (
            sa.select(sums_table.c.minute_ms)
            .where(sums_table.c.minute_ms < sums_before_ms)
            .distinct()
            .limit(10)
        )
        with self.database.write() as connection:
            batches = connection.execute(
                sa.delete(exchanges_table).where(exchanges_table.c.batch_id.in_(old))
            ).rowcount
            sums = connection.execute(
                sa.delete(sums_table).where(sums_table.c.minute_ms.in_(stale))
            ).rowcount
        return batches >= most or sums > 0

    def erase(
        self, *, user_id: str, learner_id: str, after: int, span: int
    ) -> tuple[int, int | None]:
        """Delete the messages of a user or about a learner among the batches of the next `span` ids
        after id `after`.

        Return how many, and the id to go on after, or None at the end. Deleted bytes are
        overwritten.
        """
        batch_id = exchanges_table.c.batch_id
        names, name = (
            (exchanges_table.c.users, user_id)
            if user_id
            else (exchanges_table.c.learners, learner_id)
        )
        upto = after + span
        erased = 0
        with self.database.write() as connection:
            if self.database.is_sqlite:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            within = batch_id.between(after + 1, upto)
            statement = sa.select(exchanges_table).where(
                within, names.contains(mention(name), autoescape=True)
            )
            for row in connection.execute(statement).all():
                batch = stored_exchanges(row)
                rest = batch.without(user_id=user_id, learner_id=learner_id)
                erased += batch.messages - rest.messages
                change = (
                    sa.update(exchanges_table).values(exchanges_row(rest))
                    if rest
                    else sa.delete(exchanges_table)
                )
                connection.execute(change.where(batch_id == row.batch_id))
            following = connection.scalar(sa.select(sa.func.min(batch_id)).where(batch_id > upto))
        return erased, None if following is None else following - 1

    def forget_erased(self) -> bool:
        """Remove what was erased from SQLite's write-ahead file too; return False while a reader
        still needs it.
        """
        if not self.database.is_sqlite:
            return True
        with translated(), self.database.writer() as connection:
            return truncate_wal(connection)

    def analytics(self, query: Query) -> list[AnalyticsRow]:
        """Sum the messages per interval, type, role and direction. Raises BadQueryError when that
        is too much to answer.
        """
        # A literal, because PostgreSQL takes two parameters of the same value for different
        # groupings.
        interval_ms: sa.ColumnElement[int] = sa.literal_column(
            str(int(query.interval_ms)), sa.BigInteger
        )
        start = (sums_table.c.minute_ms - sums_table.c.minute_ms % interval_ms).label("start_ms")
        keys = (start, sums_table.c.type, sums_table.c.role, sums_table.c.direction)
        errors = sa.case((sums_table.c.outcome != OUTCOME_OK, sums_table.c.count), else_=0)
        statement = (
            sa.select(
                *keys,
                sums_table.c.bucket,
                sa.func.sum(sums_table.c.count).label("messages"),
                sa.func.sum(errors).label("errors"),
                sa.func.sum(sums_table.c.bytes).label("bytes"),
                sa.func.sum(sums_table.c.latency_us).label("latency_us"),
                sa.func.max(sums_table.c.longest_us).label("longest_us"),
            )
            .where(sums_table.c.minute_ms >= query.from_ms, sums_table.c.minute_ms < query.to_ms)
            .group_by(*keys, sums_table.c.bucket)
            .order_by(*keys)
        )
        if query.types:
            statement = statement.where(sums_table.c.type.in_(query.types))
        if query.roles:
            statement = statement.where(sums_table.c.role.in_(query.roles))
        with self.database.read() as connection:
            return analytics_rows(connection.execute(statement))

    def pages(self, *, from_ms: int, to_ms: int | None, size: int) -> Iterator[list[MessageRecord]]:
        """Yield the kept records of a range of time, in the order of their arrival, those of `size`
        batches at a time.

        Each page is a transaction of its own, so that a long export keeps nobody from tidying up.
        """
        last = 0
        while True:
            within = (exchanges_table.c.batch_id > last, exchanges_table.c.last_ms >= from_ms)
            statement = (
                sa.select(exchanges_table)
                .where(*within)
                .order_by(exchanges_table.c.batch_id)
                .limit(size)
            )
            if to_ms is not None:
                statement = statement.where(exchanges_table.c.first_ms < to_ms)
            with self.database.read() as connection:
                rows = connection.execute(statement).all()
            records = itertools.chain.from_iterable(stored_exchanges(row).records() for row in rows)
            page = [
                one
                for one in records
                if from_ms <= one.at_ms and (to_ms is None or one.at_ms < to_ms)
            ]
            if page:
                yield page
            if len(rows) < size:
                return
            last = rows[-1].batch_id

    def _save_tally(self, connection: sa.Connection, tally: Tally) -> None:
        rows = [
            {"name": "recorded", "value": tally.recorded},
            {"name": "dropped", "value": tally.dropped},
        ]
        connection.execute(self._upserts.tallies, rows)
