"""Packs the log's rows and moves states out of them: see `store.entries`, `store.heads`.

A log of 300,000 rows takes some ten seconds. What SQLite frees stays in the file and is used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from brain_service.engine.storage import Row
from brain_service.store import heads
from brain_service.store.entries import pack, uuid_bytes

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHUNK = 1000
_OLD = sa.text(
    "SELECT seq, learner_key, revision, previous, interaction_key, interaction_id, kind, content,"
    " response, context_json, occurred_at_ms, received_at_ms, traceparent, outcome FROM log_0003"
    " WHERE seq > :after AND learner_key IS NOT NULL ORDER BY seq LIMIT :chunk"
)
_HEADS = sa.text(
    "SELECT learners.learner_key, newest, learners.revision, occurred_at_ms, outcome, state"
    " FROM learners"
    " JOIN log_0003 ON log_0003.seq = learners.newest"
    " WHERE learners.learner_key > :after ORDER BY learners.learner_key LIMIT :chunk"
)


def upgrade() -> None:
    """Pack every row, and put every learner's newest state beside the log."""
    connection = op.get_bind()
    on_sqlite = connection.dialect.name == "sqlite"
    op.add_column("learners", sa.Column("head", sa.BigInteger, nullable=True))
    op.add_column(
        "learners", sa.Column("forgotten", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_table(
        "heads",
        sa.Column("place", _serial, primary_key=True),
        sa.Column("newest", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
    )
    op.drop_index("log_milestones", "log")
    op.rename_table("log", "log_0003")
    if not on_sqlite:
        op.execute("ALTER INDEX log_pkey RENAME TO log_0003_pkey")
        op.execute("ALTER INDEX log_interaction_learner RENAME TO log_0003_interaction_learner")
        op.execute("ALTER SEQUENCE log_seq_seq RENAME TO log_0003_seq_seq")
        # Heads change all the time: leave room in each page, and do not compress them or move them
        # out of the table.
        op.execute("ALTER TABLE heads ALTER COLUMN head SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE heads SET (fillfactor = 50, toast_tuple_target = 8160)")
    key = sa.LargeBinary() if on_sqlite else sa.Uuid()
    op.create_table(
        "log",
        sa.Column("seq", _serial, primary_key=True, autoincrement=True),
        sa.Column("previous", sa.BigInteger, nullable=False),
        sa.Column("learner_key", sa.Integer, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("interaction_key", key, nullable=True),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("interaction_key", "learner_key", name="log_interaction_learner"),
    )
    _copy_rows(connection)
    _copy_heads(connection)
    milestones = sa.text("(revision & 63) = 0")
    op.create_index(
        "log_milestones",
        "log",
        ["learner_key", "revision"],
        unique=True,
        sqlite_where=milestones,
        postgresql_where=milestones,
    )
    op.drop_table("log_0003")
    for column in ("newest", "revision"):  # by itself: a copy would forget that keys are used once
        op.execute(f"ALTER TABLE learners DROP COLUMN {column}")


def _chunks(connection: sa.Connection, query: sa.TextClause) -> Iterator[list[Any]]:
    after = 0
    while rows := list(connection.execute(query, {"after": after, "chunk": _CHUNK})):
        yield rows
        after = rows[-1][0]


def _copy_rows(connection: sa.Connection) -> None:
    insert = sa.text(
        "INSERT INTO log (seq, learner_key, revision, previous, interaction_key, entry)"
        " VALUES (:seq, :learner_key, :revision, :previous, :interaction_key, :entry)"
    )
    as_text = connection.dialect.name != "sqlite"
    for rows in _chunks(connection, _OLD):
        packed = []
        for seq, learner_key, number, previous, key, interaction_id, *rest in rows:
            row = Row._make(("", learner_key, number, interaction_id, *rest, b""))
            entry = pack(row, id_is_told=uuid_bytes(interaction_id) is not None)
            packed.append({
                "seq": seq, "learner_key": learner_key, "revision": number, "previous": previous,
                "interaction_key": bytes(key).hex() if as_text else key, "entry": entry,
            })  # fmt: skip
        connection.execute(_typed(insert) if as_text else insert, packed)
    if as_text:
        op.execute("SELECT setval('log_seq_seq', (SELECT max(seq) FROM log))")


def _typed(insert: sa.TextClause) -> sa.TextClause:
    return sa.text(insert.text.replace(":interaction_key", "CAST(:interaction_key AS uuid)"))


def _copy_heads(connection: sa.Connection) -> None:
    insert = sa.text(
        "INSERT INTO heads (place, newest, revision, head)"
        " VALUES (:place, :newest, :revision, :head)"
    )
    for rows in _chunks(connection, _HEADS):
        kept = [
            {"place": key, "newest": newest, "revision": number, "head": heads.pack(at_ms, *packed)}
            for key, newest, number, at_ms, *packed in rows
        ]
        connection.execute(insert, kept)
    op.execute("UPDATE learners SET head = learner_key WHERE newest IS NOT NULL")
