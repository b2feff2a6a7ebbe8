"""People of other issuers in the database: found, created at first sight, updated by their
claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, insert, select, update

from auth_service.domain import (
    RELATIONS_OF_ROLE,
    Change,
    RelationKind,
    Role,
    User,
    new_id,
)
from auth_service.store.change_log import record_audit, record_changes
from auth_service.store.database import Database
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Another issuer's checked claims about a person."""

    issuer: str
    subject: str
    told_at_s: int
    role: Role
    email: str
    """Normalised; empty if unknown."""
    display_name: str
    learners: tuple[str, ...] | None
    classes: tuple[str, ...] | None


class Identities:
    """Reads and changes identities. Every method blocks: call it through `Database.run`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def settle(self, told: Told, *, create: bool, link_by_email: bool) -> str | None:
        """Return the user id for these claims, creating or updating the user.

        None when there is no such user and none may be created. Older tokens change nothing.
        """
        with self._database.write() as connection:
            row = connection.execute(
                select(identities.c.user_id, identities.c.told_at_s)
                .where(identities.c.issuer == told.issuer, identities.c.subject == told.subject)
                .with_for_update()
            ).one_or_none()
            if row is not None:
                if told.told_at_s > row.told_at_s:
                    self._update(connection, row.user_id, told)
                return str(row.user_id)
            user = self._linked(connection, told) if link_by_email else None
            if user is None:
                if not create:
                    return None
                user = self._created(connection, told)
            connection.execute(
                insert(identities).values(
                    issuer=told.issuer,
                    subject=told.subject,
                    user_id=user.user_id,
                    told_at_s=told.told_at_s,
                )
            )
            self._audit(connection, told, "link-identity", user.user_id)
            self._relate(connection, user.user_id, user.role, told, create=create)
            return user.user_id

    def _linked(self, connection: Connection, told: Told) -> User | None:
        if not told.email:
            return None
        row = connection.execute(
            select(users).where(users.c.email == told.email, users.c.role != Role.ADMIN.value)
        ).one_or_none()
        return None if row is None else user_of(row)

    def _created(self, connection: Connection, told: Told) -> User:
        user_id = new_id()
        taken = (
            told.email
            and connection.execute(
                select(users.c.user_id).where(users.c.email == told.email)
            ).one_or_none()
        )
        # If somebody else has the address here, the newcomer gets a placeholder.
        email = told.email if told.email and not taken else f"{user_id}@people.invalid"
        user = User(
            user_id=user_id,
            email=email,
            role=told.role,
            display_name=told.display_name,
            disabled=False,
            created_at_ms=self._clock_ms(),
        )
        connection.execute(
            insert(users).values(
                user_id=user_id,
                email=email,
                password_hash="",  # no password opens it
                role=told.role.value,
                display_name=told.display_name,
                disabled=False,
                created_at_ms=user.created_at_ms,
            )
        )
        self._audit(connection, told, "create-user", user_id)
        record_changes(connection, self._clock_ms(), [Change(user_id=user_id)])
        return user

    def _update(self, connection: Connection, user_id: str, told: Told) -> None:
        key = (identities.c.issuer == told.issuer) & (identities.c.subject == told.subject)
        connection.execute(update(identities).where(key).values(told_at_s=told.told_at_s))
        role = Role(
            connection.execute(select(users.c.role).where(users.c.user_id == user_id)).scalar_one()
        )
        if role not in (told.role, Role.ADMIN) and not _is_rostered(connection, user_id):
            role = told.role
            connection.execute(
                update(users).where(users.c.user_id == user_id).values(role=role.value)
            )
            self._audit(connection, told, "set-role", user_id)
            record_changes(connection, self._clock_ms(), [Change(user_id=user_id)])
        self._relate(connection, user_id, role, told, create=False)

    def _relate(
        self, connection: Connection, user_id: str, role: Role, told: Told, *, create: bool
    ) -> None:
        """Make relations equal to the claims' lists; a missing claim changes none."""
        changed: list[Change] = []
        if told.learners is not None:
            kind = RelationKind.IS_LEARNER if role is Role.LEARNER else RelationKind.GUARDIAN_OF
            if create and role is Role.LEARNER:
                self._make_learners(connection, told, changed)
            changed += self._replace(
                connection,
                user_learners,
                {"user_id": user_id, "kind": kind.value},
                "learner_id",
                _existing(connection, learners, "learner_id", told.learners),
                Change(user_id=user_id),
            )
        if told.classes is not None and RelationKind.TEACHES in RELATIONS_OF_ROLE[role]:
            changed += self._replace(
                connection,
                teachings,
                {"user_id": user_id},
                "class_id",
                _existing(connection, classes, "class_id", told.classes),
                Change(user_id=user_id),
            )
        if told.classes is not None and told.learners is not None and role is Role.LEARNER:
            for learner_id in _existing(connection, learners, "learner_id", told.learners):
                changed += self._replace(
                    connection,
                    enrolments,
                    {"learner_id": learner_id},
                    "class_id",
                    _existing(connection, classes, "class_id", told.classes),
                    Change(learner_id=learner_id),
                )
        if changed:
            self._audit(connection, told, "relate-by-claims", user_id)
            record_changes(connection, self._clock_ms(), changed)

    def _make_learners(self, connection: Connection, told: Told, changed: list[Change]) -> None:
        wanted = told.learners or ()
        known = _existing(connection, learners, "learner_id", wanted)
        for learner_id in sorted(set(wanted) - known):
            connection.execute(
                insert(learners).values(
                    learner_id=learner_id,
                    display_name=told.display_name,
                    created_at_ms=self._clock_ms(),
                )
            )
            changed.append(Change(learner_id=learner_id))

    def _replace(
        self,
        connection: Connection,
        table: Table,
        owner: dict[str, Any],
        column: str,
        wanted: set[str],
        change: Change,
    ) -> list[Change]:
        mine = [table.c[name] == value for name, value in owner.items()]
        held = set(connection.execute(select(table.c[column]).where(*mine)).scalars())
        for gone in held - wanted:
            connection.execute(delete(table).where(*mine, table.c[column] == gone))
        for new in sorted(wanted - held):
            connection.execute(insert(table).values({**owner, column: new}))
        return [] if held == wanted else [change]

    def _audit(self, connection: Connection, told: Told, action: str, user_id: str) -> None:
        record_audit(
            connection,
            self._clock_ms(),
            actor=f"issuer:{told.issuer}",
            action=action,
            subject=user_id,
        )


def _is_rostered(connection: Connection, user_id: str) -> bool:
    """Return whether a roster decides this user's role; then claims do not."""
    query = select(exists().where(rostered.c.kind == "user", rostered.c.local_id == user_id))
    return bool(connection.execute(query).scalar())


def _existing(connection: Connection, table: Table, column: str, wanted: Iterable[str]) -> set[str]:
    query = select(table.c[column]).where(table.c[column].in_(set(wanted)))
    return set(connection.execute(query).scalars())
