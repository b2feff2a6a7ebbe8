"""The tables of the durable log; `migrations` makes them, a test keeps the two equal."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from service_runtime.database.schema import Schema

SCHEMA: Final = Schema(
    service="brain_service",
    table="bank_norms",
    migrations=Path(__file__).parents[1] / "migrations",
)

metadata = sa.MetaData()

# SQLite numbers rows by itself only in a column of type INTEGER.
_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

MILESTONE = 64
"""One in this many rows of a learner, a power of two, is in the index by revision; see `chain`."""

# A learner's id is kept as a keyed digest only: erasing then leaves no name behind in pages that an
# index once split, and the audit log can prove an erasure without naming the person.
learners = sa.Table(
    "learners",
    metadata,
    sa.Column("learner_key", _serial, primary_key=True, autoincrement=True),
    sa.Column("learner_digest", sa.LargeBinary, nullable=False),
    # Place of the learner's head.
    sa.Column("head", sa.BigInteger, nullable=True),
    # The log was deleted up to this revision.
    sa.Column("forgotten", sa.BigInteger, nullable=False, server_default="0"),
    # Place among the heads of the state at that revision; see `shortening`.
    sa.Column("base", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("learner_digest", name="learners_digest"),
    # Keys are never used twice: a brain with a stale cache must not write into another learner's
    # log.
    sqlite_autoincrement=True,
)

# Each learner's head: the newest row's place in the log and revision, the state after it, and the
# assessment; see `heads`.
heads = sa.Table(
    "heads",
    metadata,
    sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("newest", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("head", sa.LargeBinary, nullable=False),
)


class _Key(sa.TypeDecorator[bytes]):
    """16 bytes, which PostgreSQL keeps without a length."""

    impl = sa.LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Uuid())
        return dialect.type_descriptor(sa.LargeBinary())

    def process_bind_param(self, value: bytes | None, dialect: sa.Dialect) -> Any:
        if value is None or dialect.name != "postgresql":
            return value
        return uuid.UUID(bytes=value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> bytes | None:
        return value.bytes if isinstance(value, uuid.UUID) else value


# Rows are only written for existing learners, see `chain`; a foreign key would check that again.
# `learner_key` and `interaction_key` are NULL only in the empty shells that erasing leaves on
# SQLite. Columns of eight bytes come first: PostgreSQL pads what is shorter.
log = sa.Table(
    "log",
    metadata,
    sa.Column("seq", _serial, primary_key=True, autoincrement=True),
    # Place of the learner's row before this one; 0 in the first.
    sa.Column("previous", sa.BigInteger, nullable=False),
    sa.Column("learner_key", sa.Integer, nullable=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("interaction_key", _Key, nullable=True),
    # All the rest, packed; see `entries`.
    sa.Column("entry", sa.LargeBinary, nullable=False),
    # The id first, so that time-ordered ids append to the index instead of landing all over it.
    sa.UniqueConstraint("interaction_key", "learner_key", name="log_interaction_learner"),
)

# As text, because only these very words in a query let SQLite read by the index.
MILESTONES = sa.text(f"(log.revision & {MILESTONE - 1}) = 0")
_milestones = sa.text(f"(revision & {MILESTONE - 1}) = 0")
sa.Index(
    "log_milestones",
    log.c.learner_key,
    log.c.revision,
    unique=True,
    sqlite_where=_milestones,
    postgresql_where=_milestones,
)

bank_items = sa.Table(
    "bank_items",
    metadata,
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("easiness", sa.Double, nullable=False),
    sa.Column("answers", sa.Double, nullable=False),
    # Last taught, in days since 1970.
    sa.Column("day", sa.Integer, nullable=False, server_default="0"),
)

bank_norms = sa.Table(
    "bank_norms",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("mean", sa.Double, nullable=False),
    sa.Column("observations", sa.Double, nullable=False),
    sa.Column("day", sa.Integer, nullable=False, server_default="0"),
)

# Names of items and subjects that an operator declared; see `engine.teaching`.
bank_declared = sa.Table(
    "bank_declared",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("audit_id", _serial, primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("learner_digest", sa.LargeBinary, nullable=False),
    sa.Column("learner_key", sa.BigInteger, nullable=False),
    sa.Column("interactions", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Notices not yet delivered; see `outbox`. Places are never reused, or the dispatcher could confuse
# two notices.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("place", _serial, primary_key=True, autoincrement=True),
    sa.Column("learner_key", sa.BigInteger, nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("due_ms", sa.BigInteger, nullable=False),
    # When it was given up; NULL while it waits.
    sa.Column("dead_ms", sa.BigInteger, nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False, server_default=""),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
_waits = sa.text("dead_ms IS NULL")
sa.Index(
    "outbox_waiting",
    outbox.c.endpoint,
    outbox.c.learner_key,
    outbox.c.place,
    sqlite_where=_waits,
    postgresql_where=_waits,
)

# Which brain delivers what is in the outbox.
outbox_lease = sa.Table(
    "outbox_lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)
