"""Takes a roster over in one transaction: all of it, or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from auth_service.domain import Change, RelationKind
from auth_service.roster.changes import Present, RosterChanges, changes_of
from auth_service.roster.reading import Roster, RosterError
from auth_service.store.change_log import record_audit, record_changes
from auth_service.store.database import Database
from auth_service.store.tables import (
    classes,
    enrolments,
    identities,
    learners,
    rostered,
    sessions,
    teachings,
    user_learners,
    user_of,
    users,
)

_FEW = 10
"""So many may always leave at once."""


class Rosters:
    """Compares rosters with the database. Every method blocks: call it through `Database.run`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def present(self) -> Present:
        """Return who is here."""
        with self._database.read() as connection:
            return _present(connection)

    def take_over(
        self,
        roster: Roster,
        *,
        actor: str,
        issuer: str = "",
        most_leaving: float = 1.0,
        dry_run: bool = False,
    ) -> RosterChanges:
        """Make people as a roster says, and return what that changes; nothing on a `dry_run`.

        `issuer` is who knows them by their `subject`. Raises RosterError, also when more than the
        share `most_leaving` of those who may sign in would be disabled: such a file is rather half
        than true.
        """
        if dry_run:
            return self._checked(changes_of(roster, self.present()), most_leaving)
        with self._database.write() as connection:
            changes = self._checked(changes_of(roster, _present(connection)), most_leaving)
            affected = _affected(connection, changes)
            self._write(connection, changes, issuer)
            count = sum(1 for _ in changes.lines())
            if count or changes.adopted:
                record_changes(connection, self._clock_ms(), affected)
                record_audit(
                    connection,
                    self._clock_ms(),
                    actor=actor,
                    action="import-roster",
                    subject="",
                    detail=f"{count} changes",
                )
        return changes

    @staticmethod
    def _checked(changes: RosterChanges, most_leaving: float) -> RosterChanges:
        leaving = len(changes.disabled)
        if leaving > _FEW and leaving > most_leaving * changes.here:
            raise RosterError(
                f"{leaving} of {changes.here} people would be disabled; if that is right, import"
                " with --most-leaving 100"
            )
        return changes

    def _write(self, connection: Connection, changes: RosterChanges, issuer: str) -> None:
        now_ms = self._clock_ms()
        _many(
            connection,
            insert(users),
            (
                {
                    "user_id": user_id,
                    "email": told.email or f"{user_id}@people.invalid",
                    "password_hash": "",  # no password opens it
                    "role": told.role.value,
                    "display_name": told.display_name,
                    "disabled": not told.enabled,
                    "created_at_ms": now_ms,
                }
                for user_id, told in changes.new_users.items()
            ),
        )
        for user_id, told in changes.changed_users.items():
            values = {"role": told.role.value, "display_name": told.display_name}
            if told.email:
                values["email"] = told.email
            connection.execute(update(users).where(users.c.user_id == user_id).values(values))
        for table, key, new, renamed in (
            (learners, learners.c.learner_id, changes.new_learners, changes.renamed_learners),
            (classes, classes.c.class_id, changes.new_classes, changes.renamed_classes),
        ):
            _many(
                connection,
                insert(table),
                (
                    {key.name: one, "display_name": name, "created_at_ms": now_ms}
                    for one, name in new.items()
                ),
            )
            _many(
                connection,
                update(table).where(key == bindparam("one")).values(display_name=bindparam("name")),
                ({"one": one, "name": name} for one, name in renamed.items()),
            )
        _many(
            connection,
            insert(rostered),
            (
                {"kind": kind, "sourced_id": sourced_id, "local_id": local_id}
                for (kind, sourced_id), local_id in changes.adopted.items()
            ),
        )
        self._let_in_and_out(connection, changes, now_ms)
        _write_relations(connection, changes)
        if issuer:
            _write_subjects(connection, changes, issuer)

    def _let_in_and_out(self, connection: Connection, changes: RosterChanges, now_ms: int) -> None:
        out = changes.disabled | {
            user_id for user_id, told in changes.new_users.items() if not told.enabled
        }
        for ids, left_at_ms in ((changes.enabled, None), (out, now_ms)):
            _many(
                connection,
                update(users)
                .where(users.c.user_id == bindparam("one"))
                .values(disabled=left_at_ms is not None),
                ({"one": one} for one in ids),
            )
            _many(
                connection,
                update(rostered)
                .where(rostered.c.kind == "user", rostered.c.local_id == bindparam("one"))
                .values(left_at_ms=left_at_ms),
                ({"one": one} for one in ids),
            )
        _many(
            connection,
            update(sessions)
            .where(sessions.c.user_id == bindparam("one"), sessions.c.revoked_at_ms.is_(None))
            .values(revoked_at_ms=now_ms),
            ({"one": one} for one in changes.disabled),
        )


def _present(connection: Connection) -> Present:
    relations = {
        (RelationKind(row.kind), row.user_id, row.learner_id)
        for row in connection.execute(select(user_learners))
    }
    for kind, table in ((RelationKind.TEACHES, teachings), (RelationKind.ENROLLED, enrolments)):
        relations |= {(kind, one, other) for one, other in connection.execute(select(table))}
    belonging = connection.execute(select(rostered)).all()
    return Present(
        users={row.user_id: user_of(row) for row in connection.execute(select(users))},
        learners={row.learner_id: row.display_name for row in connection.execute(select(learners))},
        classes={row.class_id: row.display_name for row in connection.execute(select(classes))},
        relations=relations,
        rostered={(row.kind, row.sourced_id): row.local_id for row in belonging},
        left=frozenset(row.local_id for row in belonging if row.left_at_ms is not None),
    )


def _write_relations(connection: Connection, changes: RosterChanges) -> None:
    for kind, table in (
        (RelationKind.TEACHES, teachings),
        (RelationKind.ENROLLED, enrolments),
        (RelationKind.IS_LEARNER, user_learners),
        (RelationKind.GUARDIAN_OF, user_learners),
    ):
        one, other = table.c[0], table.c[1]
        kinds = {"kind": kind.value} if table is user_learners else {}
        gone = delete(table).where(one == bindparam("this"), other == bindparam("that"))
        if kinds:
            gone = gone.where(user_learners.c.kind == kind.value)
        pairs = {
            sign: [(this, that) for found, this, that in relations if found is kind]
            for sign, relations in (("-", changes.removed), ("+", changes.added))
        }
        _many(connection, gone, ({"this": this, "that": that} for this, that in pairs["-"]))
        _many(
            connection,
            insert(table),
            ({one.name: this, other.name: that, **kinds} for this, that in pairs["+"]),
        )


def _write_subjects(connection: Connection, changes: RosterChanges, issuer: str) -> None:
    known = dict(
        connection.execute(
            select(identities.c.subject, identities.c.user_id).where(identities.c.issuer == issuer)
        )
        .tuples()
        .all()
    )
    wrong = {one for one, user_id in changes.subjects.items() if known.get(one, user_id) != user_id}
    if wrong:
        raise RosterError(f"{len(wrong)} people are known to {issuer} by the name of others")
    _many(
        connection,
        insert(identities),
        (
            {"issuer": issuer, "subject": one, "user_id": user_id, "told_at_s": 0}
            for one, user_id in changes.subjects.items()
            if one not in known
        ),
    )


def _affected(connection: Connection, changes: RosterChanges) -> list[Change]:
    """Return whose rights may have changed; asked before relations are gone."""
    ended = {Change(user_id=one, all_sessions=True) for one in changes.disabled}
    people = {*changes.new_users, *changes.changed_users, *changes.enabled}
    known = {*changes.new_learners, *changes.renamed_learners}
    teachers: defaultdict[str, set[str]] = defaultdict(set)
    for user_id, class_id in connection.execute(select(teachings)):
        teachers[class_id].add(user_id)
    close: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.execute(select(user_learners)):
        close[row.learner_id].add(row.user_id)
    for kind, one, other in changes.added | changes.removed:
        if kind is RelationKind.ENROLLED:
            known.add(one)
            people |= close[one] | teachers[other]
        else:
            people.add(one)
    return [
        *sorted(ended, key=lambda change: change.user_id),
        *(Change(learner_id=one) for one in sorted(known)),
        *(Change(user_id=one) for one in sorted(people)),
    ]


def _many(connection: Connection, statement: Any, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        connection.execute(statement, listed)
