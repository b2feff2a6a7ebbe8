"""The audit log: who asked for a learner's data or erasure, and when. Learners stand in it by
digest, so it names nobody.
"""

from __future__ import annotations

import sqlalchemy as sa

from brain_service.engine.journal import AuditEntry
from brain_service.store.tables import audit


def note(
    connection: sa.Connection,
    action: str,
    digest: bytes,
    key: int,
    *,
    requested_by: str,
    at_ms: int,
    count: int,
) -> None:
    """Write one line; `count` is of interactions, or of learners where it is about all."""
    row = {
        "at_ms": at_ms,
        "action": action,
        "learner_digest": digest,
        "learner_key": key,
        "requested_by": requested_by,
        "interactions": count,
    }
    connection.execute(sa.insert(audit), row)


def note_rebuild(connection: sa.Connection, *, action: str, at_ms: int, learners: int) -> None:
    """Write that rebuilding begins or has ended."""
    by = "python -m brain_service rebuild"
    note(connection, action, b"", 0, requested_by=by, at_ms=at_ms, count=learners)


def lines(connection: sa.Connection, *, digest: bytes | None, after: int) -> list[AuditEntry]:
    """Return the lines after one, of one learner or of all, oldest first."""
    columns = [column for column in audit.columns if column.name != "learner_digest"]
    query = sa.select(*columns).where(audit.c.audit_id > after).order_by(audit.c.audit_id)
    if digest is not None:
        query = query.where(audit.c.learner_digest == digest)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()]
