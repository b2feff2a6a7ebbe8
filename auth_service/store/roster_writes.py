"""What taking a roster over writes, made ready before the database is locked for it: everybody who
signs in meanwhile waits for that lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Dialect, Table, bindparam, delete, insert, update

from auth_service.domain import RelationKind
from auth_service.roster.changes import RosterChanges
from auth_service.store.tables import (
    classes,
    enrolments,
    identities,
    learners,
    rostered,
    sessions,
    teachings,
    user_learners,
    users,
)

Rows = Iterable[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Write:
    """A statement in the words of the driver, and what it is run with."""

    text: str
    rows: list[Any]

    def run(self, connection: Connection) -> None:
        """Write all rows."""
        connection.exec_driver_sql(self.text, self.rows)


@dataclass(frozen=True, slots=True)
class Names:
    """What an issuer calls people: user ids by names that are new, or were somebody else's."""

    issuer: str
    new: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


def writes_of(changes: RosterChanges, names: Names, now_ms: int, dialect: Dialect) -> list[Write]:
    """Return what makes people as a roster says, in the order in which it has to be done.

    Rows go by their keys, so that neighbours of a page are written together. Existing people are
    updated last: on a server a sign-in waits only for its own row.
    """
    steps = (
        *_addresses_given_up(changes),
        *_newcomers(changes, now_ms),
        *_relations(changes),
        *_identities(names),
        *_names(changes),
        *_in_and_out(changes, now_ms),
    )
    return [_ready(statement, rows, dialect) for statement, rows in steps if rows]


def _ready(statement: Any, rows: list[dict[str, Any]], dialect: Dialect) -> Write:
    # The driver takes tuples several times faster than the toolkit takes mappings.
    compiled = statement.compile(dialect=dialect)
    order = compiled.positiontup
    given = ({**compiled.params, **row} for row in rows)
    if order is None:
        return Write(str(compiled), list(given))
    return Write(str(compiled), [tuple(row[name] for name in order) for row in given])


def _inserts(table: Table, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> Any:
    names = list(columns)
    statement = insert(table).values({name: bindparam(name) for name in names})
    return statement, [dict(zip(names, row, strict=True)) for row in sorted(rows)]


def _addresses_given_up(changes: RosterChanges) -> Iterator[Any]:
    """Two people may have changed addresses with one another."""
    yield (
        update(users).where(users.c.user_id == bindparam("one")).values(email=bindparam("none")),
        [{"one": one, "none": f"{one}@people.invalid"} for one in sorted(changes.readdressed)],
    )


def _newcomers(changes: RosterChanges, now_ms: int) -> Iterator[Any]:
    yield _inserts(
        users,
        (
            "user_id",
            "email",
            "password_hash",
            "role",
            "display_name",
            "disabled",
            "created_at_ms",
        ),
        (
            (
                user_id,
                told.email or f"{user_id}@people.invalid",
                "",  # no password opens it
                told.role.value,
                told.display_name,
                not told.enabled,
                now_ms,
            )
            for user_id, told in changes.new_users.items()
        ),
    )
    for table, new, renamed in (
        (learners, changes.new_learners, changes.renamed_learners),
        (classes, changes.new_classes, changes.renamed_classes),
    ):
        key = table.c[0]
        yield _inserts(
            table,
            (key.name, "display_name", "created_at_ms"),
            ((one, name, now_ms) for one, name in new.items()),
        )
        yield (
            update(table).where(key == bindparam("one")).values(display_name=bindparam("name")),
            [{"one": one, "name": name} for one, name in sorted(renamed.items())],
        )
    yield _inserts(
        rostered,
        ("kind", "sourced_id", "local_id"),
        ((kind, one, local_id) for (kind, one), local_id in changes.adopted.items()),
    )


def _relations(changes: RosterChanges) -> Iterator[Any]:
    for kind, table in (
        (RelationKind.TEACHES, teachings),
        (RelationKind.ENROLLED, enrolments),
        (RelationKind.IS_LEARNER, user_learners),
        (RelationKind.GUARDIAN_OF, user_learners),
    ):
        one, other = table.c[0], table.c[1]
        gone = delete(table).where(one == bindparam("this"), other == bindparam("that"))
        kinds: tuple[str, ...] = ()
        if table is user_learners:
            gone = gone.where(user_learners.c.kind == kind.value)
            kinds = (kind.value,)
        yield (
            gone,
            [
                {"this": this, "that": that}
                for found, this, that in sorted(changes.removed)
                if found is kind
            ],
        )
        yield _inserts(
            table,
            (column.name for column in table.c),
            ((this, that, *kinds) for found, this, that in changes.added if found is kind),
        )


def _identities(names: Names) -> Iterator[Any]:
    yield _inserts(
        identities,
        ("issuer", "subject", "user_id", "told_at_s"),
        ((names.issuer, one, user_id, 0) for one, user_id in names.new.items()),
    )
    yield (
        update(identities)
        .where(identities.c.issuer == names.issuer, identities.c.subject == bindparam("one"))
        .values(user_id=bindparam("whose"), told_at_s=0),
        [{"one": one, "whose": user_id} for one, user_id in sorted(names.moved.items())],
    )


def _names(changes: RosterChanges) -> Iterator[Any]:
    told = sorted(changes.changed_users.items(), key=lambda item: item[0])
    whose = update(users).where(users.c.user_id == bindparam("one"))
    named = whose.values(role=bindparam("as_role"), display_name=bindparam("name"))
    rows = [
        {"one": one, "as_role": user.role.value, "name": user.display_name, "address": user.email}
        for one, user in told
    ]
    yield (
        named,
        [{name: row[name] for name in row if name != "address"} for row in rows],
    )
    yield (
        whose.values(email=bindparam("address")),
        [{"one": row["one"], "address": row["address"]} for row in rows if row["address"]],
    )


def _in_and_out(changes: RosterChanges, now_ms: int) -> Iterator[Any]:
    out = changes.disabled | {
        user_id for user_id, told in changes.new_users.items() if not told.enabled
    }
    for ids, left_at_ms in ((changes.enabled, None), (out, now_ms)):
        people = [{"one": one} for one in sorted(ids)]
        yield (
            update(users)
            .where(users.c.user_id == bindparam("one"))
            .values(disabled=left_at_ms is not None),
            people,
        )
        yield (
            update(rostered)
            .where(rostered.c.kind == "user", rostered.c.local_id == bindparam("one"))
            .values(left_at_ms=left_at_ms),
            people,
        )
    yield (
        update(sessions)
        .where(sessions.c.user_id == bindparam("one"), sessions.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms),
        [{"one": one} for one in sorted(changes.disabled)],
    )
