"""The audit log: who requested a learner's data or erasure, who recorded interactions for others,
and when. Learners are in it by digest, so it names nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa

from brain_service.engine.storage import AuditEntry
from brain_service.store.tables import audit

_RECORD: Final = "record"
_HOUR_MS: Final = 3_600_000
KEEP_MS: Final = 90 * 24 * _HOUR_MS
"""How long lines about recorded interactions are kept; all others stay for good."""
_TOLD: Final = [column for column in audit.columns if column.name != "learner_digest"]


def note(
    connection: sa.Connection,
    action: str,
    digest: bytes,
    key: int,
    *,
    requested_by: str,
    at_ms: int,
    count: int,
) -> int:
    """Write one line and return its number; `count` is of interactions, or of learners for lines
    about all.
    """
    row = {
        "at_ms": at_ms,
        "action": action,
        "learner_digest": digest,
        "learner_key": key,
        "requested_by": requested_by,
        "interactions": count,
    }
    made = connection.execute(sa.insert(audit).values(row).returning(audit.c.audit_id))
    return int(made.scalar_one())


def note_rebuild(connection: sa.Connection, *, action: str, at_ms: int, learners: int) -> None:
    """Record that rebuilding begins or has ended."""
    by = "python -m brain_service rebuild"
    note(connection, action, b"", 0, requested_by=by, at_ms=at_ms, count=learners)


def lines(connection: sa.Connection, *, digest: bytes | None, after: int) -> list[AuditEntry]:
    """Return the lines after one, of one learner or of all, oldest first, without those about
    recording.
    """
    query = sa.select(*_TOLD).where(audit.c.audit_id > after, audit.c.action != _RECORD)
    query = query.order_by(audit.c.audit_id)
    if digest is not None:
        query = query.where(audit.c.learner_digest == digest)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()]


def newest(connection: sa.Connection, *, limit: int) -> list[AuditEntry]:
    """Return the last lines of all kinds, oldest first."""
    query = sa.select(*_TOLD).order_by(audit.c.audit_id.desc()).limit(limit)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()][::-1]


class Recorders:
    """Who recorded interactions for others: a line per recorder and hour.

    A process updates its own lines only, so that brains never wait for each other's.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells the time in Unix seconds."""
        self._clock = clock
        self._lines: dict[str, tuple[int, int]] = {}
        """By recorder: the hour and the number of the line."""

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, connection: sa.Connection, recorded: Mapping[str, int]) -> None:
        """Count interactions within the transaction that writes them."""
        at_ms = int(self._clock() * 1000)
        hour = at_ms // _HOUR_MS
        for name, count in recorded.items():
            began, line = self._lines.get(name, (0, 0))
            if began == hour and _count_on(connection, line, name, count):
                continue
            stale = sa.and_(audit.c.action == _RECORD, audit.c.at_ms < at_ms - KEEP_MS)
            connection.execute(sa.delete(audit).where(stale))
            line = note(connection, _RECORD, b"", 0, requested_by=name, at_ms=at_ms, count=count)
            self._lines = {one: of for one, of in self._lines.items() if of[0] == hour}
            self._lines[name] = hour, line


def _count_on(connection: sa.Connection, line: int, name: str, count: int) -> bool:
    """Add to a line; False if it is missing because its transaction was rolled back."""
    found = sa.and_(
        audit.c.audit_id == line, audit.c.action == _RECORD, audit.c.requested_by == name
    )
    more = {"interactions": audit.c.interactions + count}
    return bool(connection.execute(sa.update(audit).where(found).values(more)).rowcount)
