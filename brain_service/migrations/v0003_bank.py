"""Adds when bank rows were last taught, so that they can age, and what may teach them."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Existing rows count as taught today."""
    today = int(time.time() // 86_400)
    for table in ("bank_items", "bank_norms"):
        op.add_column(table, sa.Column("day", sa.Integer, nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET day = {today}")  # noqa: S608 - our own words only
    op.create_table(
        "bank_declared",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
    )
