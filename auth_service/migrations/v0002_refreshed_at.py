"""When each session was last refreshed: so long after it the same refresh may be asked again.

Revision: v0002, after v0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    """Add the column; sessions refreshed before have no such moment."""
    op.add_column("sessions", sa.Column("refreshed_at_ms", sa.BigInteger()))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("sessions", "refreshed_at_ms")
