"""Who people are elsewhere: their names at other issuers and in rosters.

Revision: v0003, after v0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("told_at_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.user_id"],
            name="fk_identities_user_id_users",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identities"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.create_table(
        "rostered",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sourced_id", sa.String(length=255), nullable=False),
        sa.Column("local_id", sa.String(length=128), nullable=False),
        sa.Column("left_at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("kind", "sourced_id", name="pk_rostered"),
    )
    op.create_index("ix_rostered_local_id", "rostered", ["local_id"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("rostered")
    op.drop_table("identities")
