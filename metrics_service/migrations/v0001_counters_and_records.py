"""The fleet's counters, message records, and their sums per minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "counters",
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
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "records",
        sa.Column(
            "record_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True
        ),
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
    )
    op.create_index("records_at", "records", ["at_ms"])
    op.create_table(
        "sums",
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
