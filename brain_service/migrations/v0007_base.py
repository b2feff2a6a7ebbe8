"""Adds the state that deleted rows leave behind, from which the rest continues:
`store.shortening`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody has one yet."""
    op.add_column("learners", sa.Column("base", sa.BigInteger, nullable=True))
