"""The tables, and the statements that add to them; migrations make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service_runtime.database.schema import Schema

SCHEMA: Final = Schema(
    service="metrics_service",
    table="tallies",
    migrations=Path(__file__).parents[1] / "migrations",
)

metadata = sa.MetaData()

counters_table = sa.Table(
    "counters",
    metadata,
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
tallies_table = sa.Table(
    "tallies",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
# One row per batch and minute: its columns packed into one value (store.rows), its ids as JSON for
# erasing to find. No index but the time's: rows arrive in about its order, so it costs little, and
# erasing may be slow.
exchanges_table = sa.Table(
    "exchanges",
    metadata,
    sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("first_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("users", sa.Text, nullable=False),
    sa.Column("learners", sa.Text, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),
    sa.Column("columns", sa.LargeBinary, nullable=False),
    sa.Column("contents", sa.Text, nullable=False),
    sa.Index("exchanges_last", "last_ms"),
)
# One row per latency bucket, so that each is a sum that a batch adds to; it has nobody's name.
sums_table = sa.Table(
    "sums",
    metadata,
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


class Upserts:
    """Statements that insert a row or change the one that is there, in the database's own words."""

    def __init__(self, dialect: str) -> None:
        insert: Callable[[sa.Table], Any] = (
            postgresql.insert if dialect == "postgresql" else sqlite.insert
        )
        self.counters = _replacing(insert(counters_table), counters_table)
        # Tallies only grow, so the greater one is the newer one, in whatever order they are
        # written.
        tallies = insert(tallies_table)
        self.tallies = tallies.on_conflict_do_update(
            index_elements=list(tallies_table.primary_key),
            set_={"value": _greater(tallies.excluded.value, tallies_table.c.value)},
        )
        sums = insert(sums_table)
        self.sums = sums.on_conflict_do_update(
            index_elements=list(sums_table.primary_key),
            set_={
                "count": sums_table.c.count + sums.excluded["count"],
                "bytes": sums_table.c.bytes + sums.excluded.bytes,
                "latency_us": sums_table.c.latency_us + sums.excluded.latency_us,
                "longest_us": _greater(sums.excluded.longest_us, sums_table.c.longest_us),
            },
        )


def _greater(one: Any, other: Any) -> Any:
    return sa.case((one > other, one), else_=other)


def _replacing(insert: Any, table: sa.Table) -> Any:
    values = {
        column.name: insert.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
