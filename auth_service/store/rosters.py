"""Takes a roster over in one transaction: all of it, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from auth_service.domain import Change, RelationKind
from auth_service.roster.changes import Present, RosterChanges, affected_by, changes_of
from auth_service.roster.reading import Roster, RosterError
from auth_service.store.change_log import newest_change, record_audit, record_changes
from auth_service.store.database import Database
from auth_service.store.roster_writes import Names, Write, writes_of
from auth_service.store.tables import changes as change_rows
from auth_service.store.tables import (
    classes,
    enrolments,
    identities,
    learners,
    rostered,
    teachings,
    user_learners,
    user_of,
    users,
)
from service_runtime.database.errors import ConflictError

_FEW: Final = 10
"""So many may always leave at once."""
_TRIES: Final = 3
"""How often to compare before the lock is taken; then comparing holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to do to people as they were at change `seq`."""

    seq: int
    changes: RosterChanges
    told: str
    """For the audit log."""
    affected: list[Change]
    writes: list[Write]


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
            with self._database.read() as connection:
                return self._plan(connection, roster, issuer, most_leaving).changes
        for _ in range(_TRIES):
            # Nobody waits while people are compared: the lock is for writing what came of it.
            with self._database.read() as connection:
                plan = self._plan(connection, roster, issuer, most_leaving)
            if not plan.writes:
                return plan.changes
            # Where somebody made the same meanwhile, it is there when it is compared once more.
            with contextlib.suppress(ConflictError), self._database.write() as connection:
                if _is_as_at(connection, plan.seq):
                    self._carry_out(connection, plan, actor)
                    return plan.changes
        with self._database.write() as connection:
            plan = self._plan(connection, roster, issuer, most_leaving)
            if plan.writes:
                self._carry_out(connection, plan, actor)
            return plan.changes

    def _plan(
        self, connection: Connection, roster: Roster, issuer: str, most_leaving: float
    ) -> _Plan:
        seq, present = newest_change(connection), _present(connection)
        changes = _checked(changes_of(roster, present), most_leaving)
        names = _names(connection, changes, issuer) if issuer else Names(issuer)
        count = len(names.new) + len(names.moved)
        named = f", {count} named at {issuer}" if count else ""
        return _Plan(
            seq=seq,
            changes=changes,
            told=f"{sum(1 for _ in changes.lines())} changes{named}",
            affected=affected_by(changes, present),
            writes=writes_of(changes, names, self._clock_ms(), self._database.engine.dialect),
        )

    def _carry_out(self, connection: Connection, plan: _Plan, actor: str) -> None:
        for write in plan.writes:
            write.run(connection)
        record_changes(connection, self._clock_ms(), plan.affected)
        record_audit(
            connection,
            self._clock_ms(),
            actor=actor,
            action="import-roster",
            subject="",
            detail=plan.told,
        )


def _checked(changes: RosterChanges, most_leaving: float) -> RosterChanges:
    leaving = len(changes.disabled)
    if leaving > _FEW and leaving > most_leaving * changes.here:
        raise RosterError(
            f"{leaving} of {changes.here} people would be disabled; if that is right, import"
            " with --most-leaving 100"
        )
    return changes


def _is_as_at(connection: Connection, seq: int) -> bool:
    """Tell whether nothing but sessions has changed since then."""
    since = select(change_rows.c.session_id).where(change_rows.c.seq > seq)
    of_sessions = sum(1 for session_id in connection.scalars(since) if session_id)
    return of_sessions == newest_change(connection) - seq


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


def _names(connection: Connection, changes: RosterChanges, issuer: str) -> Names:
    """Return what people are called at the issuer from now on. A name may go from one of the
    roster's people to another: usernames are given again. Raises RosterError where it is that of
    somebody whom no roster named.
    """
    query = select(identities.c.subject, identities.c.user_id).where(identities.c.issuer == issuer)
    known = {row.subject: row.user_id for row in connection.execute(query)}
    names = Names(issuer)
    wrong = []
    for name, user_id in changes.subjects.items():
        owner = known.get(name, user_id)
        if name not in known:
            names.new[name] = user_id
        elif owner != user_id and owner in changes.sourced:
            names.moved[name] = user_id
        elif owner != user_id:
            wrong.append(
                f"users.csv, sourcedId {changes.sourced[user_id]}: {issuer} knows somebody else"
                f" here by that name (user {owner})"
            )
    if wrong:
        raise RosterError("\n".join(wrong))
    return names
