"""The log of what decisions depend on, and the audit log; both are written in the transaction of
the change itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select, true, update

from auth_service.domain import Change, Learner, Person, RelationKind, Role
from auth_service.store.database import Database
from auth_service.store.tables import (
    audit,
    change_clock,
    changes,
    classes,
    enrolments,
    learners,
    sessions,
    teachings,
    user_learners,
    users,
)

_MOST_CHANGES = 5_000
"""Beyond this many changes a snapshot is cheaper (and SQLite limits variables in a query)."""

SIGN_IN = "sign-in"
"""The action of sign-ins in the audit log."""

RECORDS = "send-records"
"""The action of sending learning records; all others are changes."""

PASSING = (SIGN_IN, RECORDS)
"""Actions whose entries are deleted after some time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One administrative change or sign-in, by ids only."""

    at_ms: int
    actor: str
    action: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySnapshot:
    """Everything that decisions depend on, as of change `seq`."""

    seq: int
    people: tuple[Person, ...]
    learners: tuple[Learner, ...]
    revoked: dict[str, int]
    """Session id → until when (Unix milliseconds) access tokens of that revoked session could still
    be used.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBatch:
    """What changed up to `seq`, with its present state; None for removed people and learners."""

    seq: int
    changes: tuple[Change, ...]
    people: dict[str, Person | None]
    learners: dict[str, Learner | None]
    revoked: dict[str, int]


class ChangeLog:
    """Lets a process keep its memory in step with the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def snapshot(self, now_ms: int) -> DirectorySnapshot:
        """Return everything."""
        with self._database.read() as connection:
            return DirectorySnapshot(
                seq=newest_change(connection),
                people=tuple(_people(connection, true(), true())),
                learners=tuple(_learners(connection, true(), true())),
                revoked=_revoked(connection, now_ms, true()),
            )

    def since(self, seq: int, now_ms: int) -> ChangeBatch | None:
        """Return the changes after `seq`; None when the log does not reach back that far and a
        snapshot is needed.
        """
        with self._database.read() as connection:
            newest = newest_change(connection)
            if newest == seq:
                return ChangeBatch(seq=seq, changes=(), people={}, learners={}, revoked={})
            if not 0 <= newest - seq <= _MOST_CHANGES:
                return None
            query = (
                select(changes)
                .where(changes.c.seq > seq, changes.c.seq <= newest)
                .order_by(changes.c.seq)
            )
            rows = connection.execute(query).all()
            if len(rows) != newest - seq:
                return None
            found = tuple(
                Change(
                    user_id=row.user_id,
                    session_id=row.session_id,
                    all_sessions=row.all_sessions,
                    learner_id=row.learner_id,
                )
                for row in rows
            )
            return _batch(connection, newest, found, now_ms)

    def audit_entries(self, limit: int, *, only: str = "") -> list[AuditEntry]:
        """Return the newest entries of the audit log, oldest first: changes, or those of one of
        `PASSING`.
        """
        which = audit.c.action == only if only else audit.c.action.not_in(PASSING)
        query = select(audit).where(which).order_by(audit.c.audit_id.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            AuditEntry(
                at_ms=row.at_ms,
                actor=row.actor,
                action=row.action,
                subject=row.subject,
                detail=row.detail,
            )
            for row in reversed(rows)
        ]

    def forget_before(self, at_ms: int) -> None:
        """Drop changes older than this; a process that has not followed for so long takes a
        snapshot.
        """
        with self._database.write() as connection:
            connection.execute(delete(changes).where(changes.c.at_ms < at_ms))


def record_changes(connection: Connection, now_ms: int, records: Iterable[Change]) -> None:
    """Append changes to the log, inside the transaction that makes them. Very many are only
    counted.
    """
    distinct = list(dict.fromkeys(records))
    if not distinct:
        return
    newest = connection.execute(
        update(change_clock)
        .values(seq=change_clock.c.seq + len(distinct))
        .returning(change_clock.c.seq)
    ).scalar_one()
    if len(distinct) > _MOST_CHANGES:
        return
    connection.execute(
        insert(changes),
        [
            {
                "seq": seq,
                "at_ms": now_ms,
                "user_id": record.user_id,
                "session_id": record.session_id,
                "all_sessions": record.all_sessions,
                "learner_id": record.learner_id,
            }
            for seq, record in enumerate(distinct, newest - len(distinct) + 1)
        ],
    )


def record_audit(
    connection: Connection, now_ms: int, *, actor: str, action: str, subject: str, detail: str = ""
) -> None:
    """Append to the audit log, inside the transaction of the change itself."""
    connection.execute(
        insert(audit).values(
            at_ms=now_ms, actor=actor[:64], action=action, subject=subject, detail=detail[:300]
        )
    )


def newest_change(connection: Connection) -> int:
    """Return the number of the last change."""
    newest: int = connection.execute(select(change_clock.c.seq)).scalar_one()
    return newest


def _batch(connection: Connection, seq: int, found: tuple[Change, ...], now_ms: int) -> ChangeBatch:
    user_ids = {change.user_id for change in found if change.user_id}
    learner_ids = {change.learner_id for change in found if change.learner_id}
    people: dict[str, Person | None] = dict.fromkeys(user_ids)
    for person in _people(
        connection, users.c.user_id.in_(user_ids), user_learners.c.user_id.in_(user_ids)
    ):
        people[person.user_id] = person
    known: dict[str, Learner | None] = dict.fromkeys(learner_ids)
    for learner in _learners(
        connection, learners.c.learner_id.in_(learner_ids), enrolments.c.learner_id.in_(learner_ids)
    ):
        known[learner.learner_id] = learner
    ended = {change.user_id for change in found if change.all_sessions or change.session_id}
    return ChangeBatch(
        seq=seq,
        changes=found,
        people=people,
        learners=known,
        revoked=_revoked(connection, now_ms, sessions.c.user_id.in_(ended)),
    )


def _people(
    connection: Connection, which_users: ColumnElement[bool], which_relations: ColumnElement[bool]
) -> Iterable[Person]:
    related: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in connection.execute(select(user_learners).where(which_relations)):
        related[row.user_id, row.kind].add(row.learner_id)
    taught: defaultdict[str, set[str]] = defaultdict(set)
    teaching = (
        select(teachings).join(users, users.c.user_id == teachings.c.user_id).where(which_users)
    )
    for row in connection.execute(teaching):
        taught[row.user_id].add(row.class_id)
    for row in connection.execute(select(users).where(which_users)):
        yield Person(
            user_id=row.user_id,
            role=Role(row.role),
            display_name=row.display_name,
            disabled=row.disabled,
            own_learners=frozenset(related.get((row.user_id, RelationKind.IS_LEARNER.value), ())),
            wards=frozenset(related.get((row.user_id, RelationKind.GUARDIAN_OF.value), ())),
            classes_taught=frozenset(taught.get(row.user_id, ())),
        )


def _learners(
    connection: Connection,
    which_learners: ColumnElement[bool],
    which_enrolments: ColumnElement[bool],
) -> Iterable[Learner]:
    names: defaultdict[str, dict[str, str]] = defaultdict(dict)
    enrolled = select(enrolments, classes.c.display_name).join(
        classes, classes.c.class_id == enrolments.c.class_id
    )
    for row in connection.execute(enrolled.where(which_enrolments)):
        names[row.learner_id][row.class_id] = row.display_name
    for row in connection.execute(select(learners).where(which_learners)):
        yield Learner(
            learner_id=row.learner_id,
            display_name=row.display_name,
            class_ids=frozenset(names[row.learner_id]),
            class_names={
                class_id: name for class_id, name in names[row.learner_id].items() if name
            },
        )


def _revoked(connection: Connection, now_ms: int, which: ColumnElement[bool]) -> dict[str, int]:
    query = select(sessions.c.session_id, sessions.c.access_until_ms).where(
        sessions.c.revoked_at_ms.is_not(None), sessions.c.access_until_ms > now_ms, which
    )
    return {row.session_id: row.access_until_ms for row in connection.execute(query)}
