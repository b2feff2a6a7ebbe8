"""A learner's rows point to one another, and the index over all of them is dropped: see
`store.chain`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REST = (
    "interaction_key, interaction_id, kind, content, response, context_json, occurred_at_ms,"
    " received_at_ms, traceparent, outcome, state"
)
_BEFORE = (
    "(SELECT before.seq FROM log AS before"
    " WHERE before.learner_key = log.learner_key AND before.revision = log.revision - 1)"
)


def upgrade() -> None:
    """Fill in each row's predecessor, while the old index still exists."""
    op.add_column(
        "learners", sa.Column("revision", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column("learners", sa.Column("newest", sa.BigInteger, nullable=True))
    op.execute(
        "UPDATE learners SET revision = coalesce("
        "(SELECT max(log.revision) FROM log WHERE log.learner_key = learners.learner_key), 0)"
    )
    op.execute(
        "UPDATE learners SET newest = (SELECT log.seq FROM log"
        " WHERE log.learner_key = learners.learner_key AND log.revision = learners.revision)"
    )
    if op.get_bind().dialect.name == "sqlite":
        _copy_log()
    else:
        _alter_log()
    milestones = sa.text("(revision & 63) = 0")
    op.create_index(
        "log_milestones",
        "log",
        ["learner_key", "revision"],
        unique=True,
        sqlite_where=milestones,
        postgresql_where=milestones,
    )


def _copy_log() -> None:
    """SQLite cannot drop a constraint; the copy also has `previous` before the long columns, where
    walking reads it.
    """
    op.create_table(
        "log_0002",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("learner_key", sa.BigInteger, nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.BigInteger, nullable=False),
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
        sa.UniqueConstraint("interaction_key", "learner_key", name="log_interaction_learner"),
    )
    op.execute(
        f"INSERT INTO log_0002 (seq, learner_key, revision, previous, {_REST}) "  # noqa: S608 - our own words only
        f"SELECT seq, learner_key, revision, coalesce({_BEFORE}, 0), {_REST} FROM log ORDER BY seq"
    )
    op.drop_table("log")
    op.rename_table("log_0002", "log")


def _alter_log() -> None:
    op.add_column("log", sa.Column("previous", sa.BigInteger, nullable=True))
    op.execute(f"UPDATE log SET previous = coalesce({_BEFORE}, 0)")  # noqa: S608 - our own words only
    op.alter_column("log", "previous", nullable=False)
    op.drop_constraint("log_learner", "log", type_="foreignkey")
    op.drop_constraint("log_learner_revision", "log", type_="unique")
