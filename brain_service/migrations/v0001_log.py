"""The log, its learners, the shared item bank, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of type INTEGER.
_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the first schema."""
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "learners",
        sa.Column("learner_key", _serial, primary_key=True, autoincrement=True),
        sa.Column("learner_digest", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("learner_digest", name="learners_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "log",
        sa.Column("seq", _serial, primary_key=True, autoincrement=True),
        sa.Column(
            "learner_key",
            sa.BigInteger,
            sa.ForeignKey("learners.learner_key", name="log_learner"),
            nullable=True,
        ),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("interaction_key", sa.LargeBinary, nullable=True),
        sa.Column("interaction_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("response", sa.Text, nullable=True),
        sa.Column("context_json", sa.LargeBinary, nullable=False),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("received_at_ms", sa.BigInteger, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("outcome", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("learner_key", "revision", name="log_learner_revision"),
        sa.UniqueConstraint("interaction_key", "learner_key", name="log_interaction_learner"),
    )
    op.create_table(
        "bank_items",
        sa.Column("item", sa.Text, primary_key=True),
        sa.Column("easiness", sa.Double, nullable=False),
        sa.Column("answers", sa.Double, nullable=False),
    )
    op.create_table(
        "bank_norms",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("mean", sa.Double, nullable=False),
        sa.Column("observations", sa.Double, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("audit_id", _serial, primary_key=True, autoincrement=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("learner_digest", sa.LargeBinary, nullable=False),
        sa.Column("learner_key", sa.BigInteger, nullable=False),
        sa.Column("interactions", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
