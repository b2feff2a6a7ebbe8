"""Notices for systems outside wait in the database until they are delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the outbox and the dispatcher's lease."""
    op.create_table(
        "outbox",
        sa.Column("place", _serial, primary_key=True, autoincrement=True),
        sa.Column("learner_key", sa.BigInteger, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("dead_ms", sa.BigInteger, nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False, server_default=""),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    waits = sa.text("dead_ms IS NULL")
    op.create_index(
        "outbox_waiting",
        "outbox",
        ["endpoint", "learner_key", "place"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
    op.create_table(
        "outbox_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
