"""Keeps counters, message records and their sums per minute in a database; it blocks and belongs into threads."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from metrics_service.aggregate import Counters, Remembered, Retained
from metrics_service.latency import BUCKET_COUNT, Histogram, bucket_of
from metrics_service.records import MINUTE_MS, OUTCOME_OK, AnalyticsRow, BadQuery, MessageRecord, Query

MIGRATIONS = Path(__file__).parent / "migrations"

MOST_ROWS = 50_000
"""Rows that one analytics query may return; they fit one gRPC message."""

_BUSY_S = 5
_UNANSWERED = -1
"""Bucket of messages without a latency."""
_WHOLE_FLEET = ""
"""Edge id of the row that holds the fleet's totals; no edge can have it."""

_metadata = sa.MetaData()

_counters = sa.Table(
    "counters",
    _metadata,
    sa.Column("edge_id", sa.String(128), primary_key=True),
    sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
    sa.Column("connections_opened", sa.BigInteger, nullable=False),
    sa.Column("connections_closed", sa.BigInteger, nullable=False),
    sa.Column("messages_sent", sa.BigInteger, nullable=False),
    sa.Column("messages_received", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("latency_counts", sa.JSON, nullable=False),
    sa.Column("latency_sum_ms", sa.Double, nullable=False),
    sa.Column("latency_min_ms", sa.Double, nullable=False),
    sa.Column("latency_max_ms", sa.Double, nullable=False),
)
_tallies = sa.Table(
    "tallies",
    _metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
# No index but the time's: rows arrive in about its order, so it costs little, and erasing may be slow.
_records = sa.Table(
    "records",
    _metadata,
    sa.Column("record_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("user_id", sa.String(128), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("direction", sa.SmallInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("latency_us", sa.BigInteger, nullable=True),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("trace_id", sa.String(32), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("learner_id", sa.String(128), nullable=False),
    sa.Index("records_at", "at_ms"),
)
# One row per latency bucket, so that each is a sum that a batch adds to; it has nobody's name.
_sums = sa.Table(
    "sums",
    _metadata,
    sa.Column("minute_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("type", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(32), primary_key=True),
    sa.Column("direction", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(64), primary_key=True),
    sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("latency_us", sa.BigInteger, nullable=False),
    sa.Column("longest_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class StoreUnavailable(Exception):
    """The database cannot be reached or is busy for too long. Nothing has changed; try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many records reached the disk, and how many were dropped on the way, ever."""

    recorded: int = 0
    dropped: int = 0


class Store:
    """The database. Reading and writing may happen in different threads; writing in one at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._saved = Retained()
        self._upserts = _Upserts(engine.dialect.name)

    @classmethod
    def open(cls, url: str) -> Store:
        """Open the database at an SQLAlchemy URL and bring its schema up to date; an SQLite file is made when missing.

        Raises StoreUnavailable, without the URL (it may contain a password), when that is not possible.
        """
        store = cls(_create_engine(url))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with store._write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return store

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def load(self) -> tuple[Retained, Tally]:
        """Return what was saved last; nothing but zeros in a new database."""
        with self._read() as connection:
            rows = {row.edge_id: _remembered(row) for row in connection.execute(sa.select(_counters))}
            tallies = {row.name: row.value for row in connection.execute(sa.select(_tallies))}
        fleet = rows.pop(_WHOLE_FLEET, None)
        self._saved = Retained(totals=fleet.counters if fleet else Counters(), edges=rows)
        return self._saved, Tally(recorded=tallies.get("recorded", 0), dropped=tallies.get("dropped", 0))

    def save(self, retained: Retained, tally: Tally) -> None:
        """Make the fleet's counters and what they hold of each edge durable, all or nothing."""
        changed = [
            _counter_row(edge_id, edge)
            for edge_id, edge in retained.edges.items()
            if self._saved.edges.get(edge_id) != edge
        ]
        if retained.totals != self._saved.totals:
            changed.append(_counter_row(_WHOLE_FLEET, Remembered(counters=retained.totals, seen_at_ms=0)))
        gone = [edge_id for edge_id in self._saved.edges if edge_id not in retained.edges]
        with self._write() as connection:
            if changed:
                connection.execute(self._upserts.counters, changed)
            if gone:
                connection.execute(sa.delete(_counters).where(_counters.c.edge_id.in_(gone)))
            self._save_tally(connection, tally)
        self._saved = retained

    def append(self, records: Sequence[MessageRecord], tally: Tally) -> None:
        """Keep records and add them to the sums, all or nothing; `tally` counts them already."""
        with self._write() as connection:
            connection.execute(sa.insert(_records), [_record_row(record) for record in records])
            connection.execute(self._upserts.sums, _sum_rows(records))
            self._save_tally(connection, tally)

    def prune(self, *, records_before_ms: int, sums_before_ms: int, most: int) -> bool:
        """Delete at most `most` records and sums that are older; return whether there may be more."""
        old = sa.select(_records.c.record_id).where(_records.c.at_ms < records_before_ms).limit(most)
        stale = sa.select(_sums.c.minute_ms).where(_sums.c.minute_ms < sums_before_ms).distinct().limit(10)
        with self._write() as connection:
            records = connection.execute(sa.delete(_records).where(_records.c.record_id.in_(old))).rowcount
            sums = connection.execute(sa.delete(_sums).where(_sums.c.minute_ms.in_(stale))).rowcount
        return records >= most or sums > 0

    def erase(self, *, user_id: str, learner_id: str, after: int, span: int) -> tuple[int, int | None]:
        """Delete the records of a user or about a learner among the next `span` ids after id `after`.

        Return how many, and the id to go on after, or None at the end. Deleted bytes are overwritten.
        """
        whose = _records.c.user_id == user_id if user_id else _records.c.learner_id == learner_id
        upto = after + span
        with self._write() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            within = _records.c.record_id.between(after + 1, upto)
            erased = connection.execute(sa.delete(_records).where(within, whose)).rowcount
            following = connection.scalar(
                sa.select(sa.func.min(_records.c.record_id)).where(_records.c.record_id > upto)
            )
        return erased, None if following is None else following - 1

    def forget_erased(self) -> bool:
        """Remove what was erased from SQLite's write-ahead file too; return False while a reader still needs it."""
        if self._engine.dialect.name != "sqlite":
            return True
        with _translated(), contextlib.closing(self._engine.raw_connection()) as connection:
            # Outside of a transaction, which SQLAlchemy's own connections always have.
            cursor = connection.cursor()
            try:
                busy: int = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.Error as error:
                raise StoreUnavailable("the write-ahead file cannot be emptied now; try again") from error
        return not busy

    def analytics(self, query: Query) -> list[AnalyticsRow]:
        """Sum the messages per interval, type, role and direction. Raises BadQuery when that is too much to answer."""
        # A literal, because PostgreSQL takes two parameters of the same value for different groupings.
        interval_ms: sa.ColumnElement[int] = sa.literal_column(str(int(query.interval_ms)), sa.BigInteger)
        start = (_sums.c.minute_ms - _sums.c.minute_ms % interval_ms).label("start_ms")
        keys = (start, _sums.c.type, _sums.c.role, _sums.c.direction)
        errors = sa.case((_sums.c.outcome != OUTCOME_OK, _sums.c.count), else_=0)
        statement = (
            sa.select(
                *keys,
                _sums.c.bucket,
                sa.func.sum(_sums.c.count).label("messages"),
                sa.func.sum(errors).label("errors"),
                sa.func.sum(_sums.c.bytes).label("bytes"),
                sa.func.sum(_sums.c.latency_us).label("latency_us"),
                sa.func.max(_sums.c.longest_us).label("longest_us"),
            )
            .where(_sums.c.minute_ms >= query.from_ms, _sums.c.minute_ms < query.to_ms)
            .group_by(*keys, _sums.c.bucket)
            .order_by(*keys)
        )
        if query.types:
            statement = statement.where(_sums.c.type.in_(query.types))
        if query.roles:
            statement = statement.where(_sums.c.role.in_(query.roles))
        with self._read() as connection:
            return _analytics_rows(connection.execute(statement))

    def pages(self, *, from_ms: int, to_ms: int | None, size: int) -> Iterator[list[MessageRecord]]:
        """Yield the kept records of a range of time, in the order of their arrival, `size` at a time.

        Each page is a transaction of its own, so that a long export keeps nobody from tidying up.
        """
        last = 0
        while True:
            statement = sa.select(_records).where(_records.c.record_id > last, _records.c.at_ms >= from_ms)
            if to_ms is not None:
                statement = statement.where(_records.c.at_ms < to_ms)
            with self._read() as connection:
                rows = connection.execute(statement.order_by(_records.c.record_id).limit(size)).all()
            if rows:
                yield [_record(row) for row in rows]
            if len(rows) < size:
                return
            last = rows[-1].record_id

    def _save_tally(self, connection: sa.Connection, tally: Tally) -> None:
        rows = [{"name": "recorded", "value": tally.recorded}, {"name": "dropped", "value": tally.dropped}]
        connection.execute(self._upserts.tallies, rows)

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            connection = connection.execution_options(immediate=True)
            with connection.begin():
                yield connection


class _Upserts:
    """Statements that insert a row or change the one that is there, in the database's own words."""

    def __init__(self, dialect: str) -> None:
        insert: Callable[[sa.Table], Any] = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self.counters = _replacing(insert(_counters), _counters)
        # Tallies only grow, so the greater one is the newer one, in whatever order they are written.
        tallies = insert(_tallies)
        self.tallies = tallies.on_conflict_do_update(
            index_elements=list(_tallies.primary_key),
            set_={"value": _greater(tallies.excluded.value, _tallies.c.value)},
        )
        sums = insert(_sums)
        self.sums = sums.on_conflict_do_update(
            index_elements=list(_sums.primary_key),
            set_={
                "count": _sums.c.count + sums.excluded["count"],
                "bytes": _sums.c.bytes + sums.excluded.bytes,
                "latency_us": _sums.c.latency_us + sums.excluded.latency_us,
                "longest_us": _greater(sums.excluded.longest_us, _sums.c.longest_us),
            },
        )


def _greater(one: Any, other: Any) -> Any:
    return sa.case((one > other, one), else_=other)


def _replacing(insert: Any, table: sa.Table) -> Any:
    values = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)


def _counter_row(edge_id: str, edge: Remembered) -> dict[str, Any]:
    counters = edge.counters
    return {
        "edge_id": edge_id,
        "seen_at_ms": edge.seen_at_ms,
        "connections_opened": counters.connections_opened,
        "connections_closed": counters.connections_closed,
        "messages_sent": counters.messages_sent,
        "messages_received": counters.messages_received,
        "errors": counters.errors,
        "latency_counts": list(counters.latency.counts),
        "latency_sum_ms": counters.latency.sum_ms,
        "latency_min_ms": counters.latency.min_ms,
        "latency_max_ms": counters.latency.max_ms,
    }


def _remembered(row: Any) -> Remembered:
    latency = Histogram(
        counts=tuple(row.latency_counts),
        sum_ms=row.latency_sum_ms,
        min_ms=row.latency_min_ms,
        max_ms=row.latency_max_ms,
    )
    counters = Counters(
        connections_opened=row.connections_opened,
        connections_closed=row.connections_closed,
        messages_sent=row.messages_sent,
        messages_received=row.messages_received,
        errors=row.errors,
        latency=latency,
    )
    return Remembered(counters=counters, seen_at_ms=row.seen_at_ms)


def _record_row(record: MessageRecord) -> dict[str, Any]:
    return {
        "at_ms": record.at_ms,
        "user_id": record.user_id,
        "role": record.role,
        "type": record.type,
        "direction": record.direction,
        "bytes": record.bytes,
        "latency_us": _microseconds(record.latency_ms),
        "outcome": record.outcome,
        "trace_id": record.trace_id,
        "content": record.content,
        "learner_id": record.learner_id,
    }


def _record(row: Any) -> MessageRecord:
    return MessageRecord(
        at_ms=row.at_ms,
        user_id=row.user_id,
        role=row.role,
        type=row.type,
        direction=row.direction,
        bytes=row.bytes,
        latency_ms=None if row.latency_us is None else row.latency_us / 1000,
        outcome=row.outcome,
        trace_id=row.trace_id,
        content=row.content,
        learner_id=row.learner_id,
    )


def _sum_rows(records: Sequence[MessageRecord]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for record in records:
        minute_ms = record.at_ms - record.at_ms % MINUTE_MS
        bucket = _UNANSWERED if record.latency_ms is None else bucket_of(record.latency_ms)
        key = (minute_ms, record.type, record.role, record.direction, record.outcome, bucket)
        latency_us = _microseconds(record.latency_ms) or 0
        count, size, total_us, longest_us = sums.get(key, (0, 0, 0, 0))
        sums[key] = [count + 1, size + record.bytes, total_us + latency_us, max(longest_us, latency_us)]
    names = [column.name for column in _sums.columns]
    return [dict(zip(names, (*key, *values), strict=True)) for key, values in sums.items()]


def _microseconds(latency_ms: float | None) -> int | None:
    return None if latency_ms is None else round(latency_ms * 1000)


def _analytics_rows(result: Any) -> list[AnalyticsRow]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in result:
        groups.setdefault((row.start_ms, row.type, row.role, row.direction), []).append(row)
        if len(groups) > MOST_ROWS:
            raise BadQuery(f"more than {MOST_ROWS} rows; ask for a shorter range, a longer interval or fewer types")
    return [_analytics_row(key, buckets) for key, buckets in groups.items()]


def _analytics_row(key: tuple[Any, ...], buckets: list[Any]) -> AnalyticsRow:
    counts = [0] * BUCKET_COUNT
    for row in buckets:
        if row.bucket != _UNANSWERED:
            counts[row.bucket] = int(row.messages)
    start_ms, type_, role, direction = key
    return AnalyticsRow(
        start_ms=start_ms,
        type=type_,
        role=role,
        direction=direction,
        count=sum(int(row.messages) for row in buckets),
        errors=sum(int(row.errors) for row in buckets),
        bytes=sum(int(row.bytes) for row in buckets),
        latency=Histogram(
            counts=tuple(counts),
            sum_ms=sum(int(row.latency_us) for row in buckets) / 1000,
            max_ms=max(row.longest_us for row in buckets) / 1000,
        ),
    )


def _create_engine(url: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        # Parameters would bring user ids and contents into tracebacks.
        engine = sa.create_engine(address, hide_parameters=True, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError, TypeError):
        raise StoreUnavailable(
            "the database URL is not usable; an example is sqlite:///.aivo/metrics.sqlite3"
        ) from None
    if address.get_backend_name() == "sqlite":
        if not address.database or address.database == ":memory:":
            raise StoreUnavailable("the database must be a file: every connection would see its own empty memory")
        _prepare_sqlite(engine, Path(address.database))
    return engine


def _prepare_sqlite(engine: sa.Engine, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot make the database file {path}: {error.strerror}") from error

    @sa.event.listens_for(engine, "connect")
    def configure(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would commit around DDL; the "begin" hook below replaces it.
        dbapi_connection.isolation_level = None
        # A power cut may take the last records, never the file: they are dropped rather than waited for anyway.
        for pragma in (f"busy_timeout = {_BUSY_S * 1000}", "journal_mode = WAL", "synchronous = NORMAL"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the database is not available ({type(error.orig).__name__}); try again") from error
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable("the database is too busy; try again") from error
