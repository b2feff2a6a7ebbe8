"""The tables, for SQLite and PostgreSQL alike; `migrations` makes exactly these. All times are Unix
milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
)

from auth_service.domain import Role, User
from service_runtime.database.schema import Schema

SCHEMA: Final = Schema(
    service="auth_service",
    table="teachings",
    migrations=Path(__file__).parents[1] / "migrations",
    # People who were signed in then may have been signed out since.
    after_restore=("DELETE FROM sessions",),
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = String(128)
_UUID = String(36)
_NAME = String(200)

# SQLite counts rows up only for a primary key that is spelled INTEGER.
_COUNTER = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("user_id", _UUID, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("display_name", _NAME, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

learners = Table(
    "learners",
    metadata,
    Column("learner_id", _ID, primary_key=True),
    Column("display_name", _NAME, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

classes = Table(
    "classes",
    metadata,
    Column("class_id", _ID, primary_key=True),
    Column("display_name", _NAME, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

user_learners = Table(
    "user_learners",
    metadata,
    Column("user_id", _UUID, ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True),
    Column(
        "learner_id", _ID, ForeignKey("learners.learner_id", ondelete="CASCADE"), primary_key=True
    ),
    Column("kind", String(16), primary_key=True),
    Index(None, "learner_id"),
)
"""Users who are a learner, or guardian of one (`kind`, a value of RelationKind)."""

teachings = Table(
    "teachings",
    metadata,
    Column("user_id", _UUID, ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True),
    Column("class_id", _ID, ForeignKey("classes.class_id", ondelete="CASCADE"), primary_key=True),
    Index(None, "class_id"),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column(
        "learner_id", _ID, ForeignKey("learners.learner_id", ondelete="CASCADE"), primary_key=True
    ),
    Column("class_id", _ID, ForeignKey("classes.class_id", ondelete="CASCADE"), primary_key=True),
    Index(None, "class_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", _UUID, primary_key=True),
    Column("user_id", _UUID, ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    Column("access_until_ms", BigInteger, nullable=False),
    Column("refresh_digest", LargeBinary(32), nullable=False),
    Column("refresh_generation", Integer, nullable=False),
    Column("refresh_expires_at_ms", BigInteger, nullable=False),
    Column("refreshed_at_ms", BigInteger),
    Index(None, "user_id"),
    Index(None, "refresh_expires_at_ms"),
    Index(None, "revoked_at_ms"),
)
"""One row per sign-in. Of its refresh tokens only the digest of the newest is kept; older ones are
told by their MAC.

`access_until_ms` is when the last access token of the session expires: so long a revoked session
must be remembered.
"""

identities = Table(
    "identities",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", _UUID, ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
    Column("told_at_s", BigInteger, nullable=False),
    Index(None, "user_id"),
)
"""A user's identity at another issuer. `told_at_s` is when the newest applied token was issued,
Unix seconds.
"""

rostered = Table(
    "rostered",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("sourced_id", String(255), primary_key=True),
    Column("local_id", _ID, nullable=False),
    Column("left_at_ms", BigInteger),
    Index(None, "local_id"),
)
"""What came from a roster: a user, learner or class (`kind`), by the roster's id. Later rosters may
remove only these. `left_at_ms` is when a roster disabled a user; only then may a roster enable them
again.
"""

changes = Table(
    "changes",
    metadata,
    Column("seq", _COUNTER, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("user_id", _UUID, nullable=False),
    Column("session_id", _UUID, nullable=False),
    Column("all_sessions", Boolean, nullable=False),
    Column("learner_id", _ID, nullable=False),
    Index(None, "at_ms"),
)
"""The log of changes that decisions depend on, which every service process follows. Empty strings
mean "not this".
"""

change_clock = Table(
    "change_clock",
    metadata,
    Column("clock_id", Integer, primary_key=True, autoincrement=False),
    Column("seq", _COUNTER, nullable=False),
)
"""One row, the newest `changes.seq`. Writers lock it until they commit, so that numbers become
visible in order.
"""

audit = Table(
    "audit",
    metadata,
    Column("audit_id", _COUNTER, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("detail", String(300), nullable=False),
)
"""Administrative changes and sign-ins: who did what to whom, by ids only (no e-mail addresses, no
secrets).
"""


def user_of(row: Row[Any]) -> User:
    """Return the user in a row that has the columns of `users`."""
    return User(
        user_id=row.user_id,
        email=row.email,
        role=Role(row.role),
        display_name=row.display_name,
        disabled=row.disabled,
        created_at_ms=row.created_at_ms,
    )
