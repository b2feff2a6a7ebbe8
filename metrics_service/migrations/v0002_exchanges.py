"""Message records are kept in batches of exchanges; those kept one by one are deleted, their sums
stay.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Delete the former records, which would have gone by themselves within days, and make the
    table of batches.
    """
    if op.get_bind().dialect.name == "sqlite":
        # They name people: their bytes go too.
        op.execute("PRAGMA secure_delete = ON")
    op.drop_index("records_at", "records")
    op.drop_table("records")
    op.create_table(
        "exchanges",
        sa.Column(
            "batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True
        ),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("users", sa.Text, nullable=False),
        sa.Column("learners", sa.Text, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("columns", sa.LargeBinary, nullable=False),
        sa.Column("contents", sa.Text, nullable=False),
    )
    op.create_index("exchanges_last", "exchanges", ["last_ms"])
