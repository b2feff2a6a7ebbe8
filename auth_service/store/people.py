"""Users, learners, classes and relations in the database; every change is logged and audited with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from auth_service.domain import (
    RELATIONS_OF_ROLE,
    AlreadyExistsError,
    Change,
    InvalidInputError,
    Learner,
    NotFoundError,
    Relation,
    RelationKind,
    Role,
    User,
)
from auth_service.store.change_log import RECORDS, record_audit, record_changes
from auth_service.store.database import Database
from auth_service.store.session_table import revoke_sessions
from auth_service.store.tables import (
    classes,
    enrolments,
    learners,
    teachings,
    user_learners,
    user_of,
    users,
)

_MOST_DETAIL = 297
_NO_USER = "there is no such user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user with the hash that the password is checked against."""

    user: User
    password_hash: str


class People:
    """Reads and changes people. Every method blocks: call it through `Database.run`. `clock_ms` is
    Unix milliseconds.

    Changes take the `actor` for the audit log, are idempotent where they say so, and otherwise
    change nothing when they raise.
    """

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def create_user(self, user: User, password_hash: str, *, actor: str) -> None:
        """Add a user. Raises AlreadyExistsError when the e-mail address is taken."""
        with self._database.write() as connection, _unique("the e-mail address is taken"):
            connection.execute(insert(users).values(password_hash=password_hash, **_columns(user)))
            self._record(
                connection,
                actor,
                "create-user",
                user.user_id,
                f"role {user.role}",
                Change(user_id=user.user_id),
            )

    def credentials(self, email: str) -> Credentials | None:
        """Return the user with this (normalised) address, disabled or not."""
        with self._database.read() as connection:
            row = connection.execute(select(users).where(users.c.email == email)).one_or_none()
        return (
            None if row is None else Credentials(user=user_of(row), password_hash=row.password_hash)
        )

    def user(self, user_id: str) -> User:
        """Return one user. Raises NotFoundError."""
        with self._database.read() as connection:
            return user_of(_get_user(connection, user_id))

    def list_users(self, *, after: str, limit: int) -> list[User]:
        """Return up to `limit` users whose ids come after `after`, by id."""
        query = select(users).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        with self._database.read() as connection:
            return [user_of(row) for row in connection.execute(query)]

    def own_learners(self, emails: Sequence[str]) -> dict[str, str]:
        """Return the learners of the users with these (normalised) addresses."""
        query = (
            select(users.c.email, user_learners.c.learner_id)
            .join(user_learners, user_learners.c.user_id == users.c.user_id)
            .where(
                users.c.email.in_(emails),
                user_learners.c.kind == RelationKind.IS_LEARNER.value,
            )
            .order_by(user_learners.c.learner_id.desc())
        )
        with self._database.read() as connection:
            return {row.email: row.learner_id for row in connection.execute(query)}

    def note_records(self, user_id: str, learner_ids: Sequence[str], counts: str) -> None:
        """Record in the audit log that a user sent learning records; names as many learners as fit
        into a line.
        """
        subject = learner_ids[0] if len(learner_ids) == 1 else f"{len(learner_ids)} learners"
        detail = counts
        for place, learner_id in enumerate(learner_ids if len(learner_ids) > 1 else ()):
            longer = f"{detail}{', ' if place else '; '}{learner_id}"
            if len(longer) > _MOST_DETAIL:
                detail += ", …"
                break
            detail = longer
        with self._database.write() as connection:
            record_audit(
                connection,
                self._clock_ms(),
                actor=user_id,
                action=RECORDS,
                subject=subject,
                detail=detail,
            )

    def learner_ids(self, class_id: str) -> list[str]:
        """Return the ids of a class's learners, or of all if no class is named. Raises
        NotFoundError.
        """
        query = select(learners.c.learner_id).order_by(learners.c.learner_id)
        if class_id:
            query = query.join(enrolments, enrolments.c.learner_id == learners.c.learner_id)
            query = query.where(enrolments.c.class_id == class_id)
        with self._database.read() as connection:
            there = select(exists().where(classes.c.class_id == class_id))
            if class_id and not connection.execute(there).scalar():
                raise NotFoundError("there is no such class")
            return list(connection.scalars(query))

    def has_admin(self) -> bool:
        """Return whether any administrator exists, disabled ones included."""
        with self._database.read() as connection:
            return bool(
                connection.execute(
                    select(exists().where(users.c.role == Role.ADMIN.value))
                ).scalar()
            )

    def set_disabled(self, user_id: str, disabled: bool, *, actor: str) -> User:
        """Disable or enable; disabling ends all sessions. Idempotent. Raises NotFoundError."""
        with self._database.write() as connection:
            if _get_user(connection, user_id).disabled != disabled:
                connection.execute(
                    update(users).where(users.c.user_id == user_id).values(disabled=disabled)
                )
                if disabled:
                    revoke_sessions(connection, user_id, self._clock_ms())
                self._record(
                    connection,
                    actor,
                    "disable-user" if disabled else "enable-user",
                    user_id,
                    "",
                    Change(user_id=user_id, all_sessions=disabled),
                )
            return user_of(_get_user(connection, user_id))

    def set_password(self, user_id: str, password_hash: str, *, actor: str) -> None:
        """Replace a password hash and end all sessions. Raises NotFoundError."""
        with self._database.write() as connection:
            _get_user(connection, user_id)
            connection.execute(
                update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
            )
            revoke_sessions(connection, user_id, self._clock_ms())
            self._record(
                connection,
                actor,
                "set-password",
                user_id,
                "",
                Change(user_id=user_id, all_sessions=True),
            )

    def rehash(self, user_id: str, old_hash: str, new_hash: str) -> None:
        """Replace the hash of an unchanged password, unless the password was changed meanwhile."""
        unchanged = (users.c.user_id == user_id) & (users.c.password_hash == old_hash)
        with self._database.write() as connection:
            connection.execute(update(users).where(unchanged).values(password_hash=new_hash))

    def create_learner(self, learner_id: str, display_name: str, *, actor: str) -> Learner:
        """Add a learner without relations. Raises AlreadyExistsError."""
        with self._database.write() as connection, _unique("the learner id is taken"):
            connection.execute(
                insert(learners).values(
                    learner_id=learner_id, display_name=display_name, created_at_ms=self._clock_ms()
                )
            )
            self._record(
                connection, actor, "create-learner", learner_id, "", Change(learner_id=learner_id)
            )
        return Learner(learner_id=learner_id, display_name=display_name)

    def delete_learner(self, learner_id: str, *, actor: str) -> None:
        """Remove a learner with all relations. Idempotent."""
        with self._database.write() as connection:
            affected = _affected_by(connection, learner_id)
            if connection.execute(
                delete(learners).where(learners.c.learner_id == learner_id)
            ).rowcount:
                self._record(connection, actor, "delete-learner", learner_id, "", *affected)

    def create_class(self, class_id: str, display_name: str, *, actor: str) -> None:
        """Add a class. Raises AlreadyExistsError."""
        with self._database.write() as connection, _unique("the class id is taken"):
            connection.execute(
                insert(classes).values(
                    class_id=class_id, display_name=display_name, created_at_ms=self._clock_ms()
                )
            )
            self._record(connection, actor, "create-class", class_id, "")

    def add_relation(self, relation: Relation, *, actor: str) -> None:
        """Relate two parties. Idempotent.

        Raises NotFoundError when one does not exist, InvalidInputError when the user's role cannot
        have such a relation.
        """
        table, values = _relation_row(relation)
        with self._database.write() as connection:
            _check_ends(connection, relation)
            if not connection.execute(select(exists().where(*_matches(table, values)))).scalar():
                connection.execute(insert(table).values(values))
                self._record_relation(
                    connection, actor, "relate", relation, _affected(connection, relation)
                )

    def remove_relation(self, relation: Relation, *, actor: str) -> None:
        """Remove a relation. Idempotent, also when an end does not exist."""
        table, values = _relation_row(relation)
        with self._database.write() as connection:
            # Before the row is deleted: teachers and classes are found through it.
            affected = _affected(connection, relation)
            if connection.execute(delete(table).where(*_matches(table, values))).rowcount:
                self._record_relation(connection, actor, "unrelate", relation, affected)

    def _record_relation(
        self,
        connection: Connection,
        actor: str,
        action: str,
        relation: Relation,
        affected: list[Change],
    ) -> None:
        self._record(
            connection,
            actor,
            action,
            relation.subject,
            f"{relation.kind} {relation.object}",
            *affected,
        )

    def _record(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str,
        detail: str,
        *records: Change,
    ) -> None:
        now_ms = self._clock_ms()
        record_audit(connection, now_ms, actor=actor, action=action, subject=subject, detail=detail)
        record_changes(connection, now_ms, records)


def _columns(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "email": user.email,
        "role": user.role.value,
        "display_name": user.display_name,
        "disabled": user.disabled,
        "created_at_ms": user.created_at_ms,
    }


def _get_user(connection: Connection, user_id: str) -> Row[Any]:
    row = connection.execute(select(users).where(users.c.user_id == user_id)).one_or_none()
    if row is None:
        raise NotFoundError(_NO_USER)
    return row


def _relation_row(relation: Relation) -> tuple[Table, dict[str, str]]:
    match relation.kind:
        case RelationKind.ENROLLED:
            return enrolments, {"learner_id": relation.subject, "class_id": relation.object}
        case RelationKind.TEACHES:
            return teachings, {"user_id": relation.subject, "class_id": relation.object}
        case kind:
            return user_learners, {
                "user_id": relation.subject,
                "learner_id": relation.object,
                "kind": kind.value,
            }


def _matches(table: Table, values: dict[str, str]) -> list[Any]:
    return [table.c[name] == value for name, value in values.items()]


def _check_ends(connection: Connection, relation: Relation) -> None:
    if relation.kind is RelationKind.ENROLLED:
        _check_learner(connection, relation.subject)
    else:
        role = Role(_get_user(connection, relation.subject).role)
        if relation.kind not in RELATIONS_OF_ROLE[role]:
            raise InvalidInputError(
                f"a user with the role {role} cannot have the relation {relation.kind}"
            )
    if relation.kind in (RelationKind.ENROLLED, RelationKind.TEACHES):
        if not connection.execute(
            select(exists().where(classes.c.class_id == relation.object))
        ).scalar():
            raise NotFoundError("there is no such class")
    else:
        _check_learner(connection, relation.object)


def _check_learner(connection: Connection, learner_id: str) -> None:
    if not connection.execute(select(exists().where(learners.c.learner_id == learner_id))).scalar():
        raise NotFoundError("there is no such learner")


def _affected(connection: Connection, relation: Relation) -> list[Change]:
    if relation.kind is RelationKind.ENROLLED:
        return _affected_by(connection, relation.subject)
    return [Change(user_id=relation.subject)]


def _affected_by(connection: Connection, learner_id: str) -> list[Change]:
    """Return the learner and all users whose rights may depend on it: rooms are decided per
    user.
    """
    close = select(user_learners.c.user_id).where(user_learners.c.learner_id == learner_id)
    taught = (
        select(teachings.c.user_id)
        .join(enrolments, enrolments.c.class_id == teachings.c.class_id)
        .where(enrolments.c.learner_id == learner_id)
    )
    user_ids = sorted(connection.execute(close.union(taught)).scalars())
    return [Change(learner_id=learner_id), *(Change(user_id=user_id) for user_id in user_ids)]


@contextmanager
def _unique(sentence: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise AlreadyExistsError(sentence) from None
