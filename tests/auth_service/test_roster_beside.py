"""Rosters beside what goes on meanwhile: who signs in does not wait, and who changes people is not
overlooked.

What happens meanwhile happens when the import asks for the time: first after comparing, then after
writing, before the commit.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auth_service.domain import Change, Relation, RelationKind, Role
from auth_service.roster.reading import Roster, RosterError, RosterUser
from auth_service.store import Rosters
from auth_service.store.change_log import record_changes
from tests.auth_service.harness import Stored
from tests.auth_service.test_store import add_user, changes_after, newest
from tests.auth_service.test_store_sessions import rotation

TESS = "tess@hill.example"


def a_roster(*, classes: tuple[str, ...] = ("c-1",), **addresses: str) -> Roster:
    """Return a roster of teachers, by their names there; the first teaches the classes."""
    people = addresses or {"tess": TESS}
    return Roster(
        users={
            one: RosterUser(
                sourced_id=one,
                role=Role.TEACHER,
                email=email,
                display_name=one,
                enabled=True,
                subject=one,
            )
            for one, email in people.items()
        },
        classes=dict.fromkeys(classes, "Maths"),
        relations={(RelationKind.TEACHES, next(iter(people)), one) for one in classes},
    )


def during(stored: Stored, *meanwhile: Callable[[], object] | None) -> Rosters:
    """Return rosters to which these things happen, one each time they ask for the time."""
    coming = iter(meanwhile)

    def clock_ms() -> int:
        if happens := next(coming, None):
            happens()
        return stored.clock.ms()

    return Rosters(stored.database, clock_ms)


def take_over(stored: Stored, roster: Roster) -> None:
    during(stored).take_over(roster, actor="test")


def people(stored: Stored) -> dict[str, str]:
    """Return user ids by e-mail address."""
    return {one.email: one.user_id for one in during(stored).present().users.values()}


def sign_in(stored: Stored, user_id: str) -> None:
    first = rotation(stored, "s", 0)
    stored.sessions.open(user_id, None, first, expires_at_ms=first.refresh_expires_at_ms)


def test_who_signs_in_does_not_wait_while_people_are_compared(stored: Stored) -> None:
    user_id = add_user(stored)
    during(stored, lambda: sign_in(stored, user_id)).take_over(a_roster(), actor="test")
    assert TESS in people(stored)


def test_a_teacher_signs_in_while_their_classes_are_written(stored: Stored) -> None:
    if stored.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    take_over(stored, a_roster())
    user_id = people(stored)[TESS]
    rosters = during(stored, None, lambda: sign_in(stored, user_id))
    rosters.take_over(a_roster(classes=("c-1", "c-2")), actor="test")
    assert (RelationKind.TEACHES, user_id, "c-2") in rosters.present().relations


def test_what_others_change_meanwhile_is_compared_once_more(stored: Stored) -> None:
    made: list[str] = []
    rosters = during(stored, lambda: made.append(add_user(stored, TESS)))
    changes = rosters.take_over(a_roster(), actor="test")
    assert people(stored) == {TESS: made[0]}, "who is here already is that person"
    assert not changes.new_users


def test_what_leaves_no_change_behind_is_compared_once_more_too(stored: Stored) -> None:
    rosters = during(stored, lambda: stored.people.create_class("c-1", "By hand", actor="test"))
    rosters.take_over(a_roster(), actor="test")
    assert rosters.present().classes == {"c-1": "Maths"}


def test_who_never_stops_changing_people_holds_up_no_import(stored: Stored) -> None:
    addresses = [f"new-{number}@hill.example" for number in range(3)]
    rosters = during(stored, *(lambda one=one: add_user(stored, one) for one in addresses))
    rosters.take_over(a_roster(), actor="test")
    assert set(people(stored)) == {TESS, *addresses}


def test_a_roster_that_changes_nothing_writes_nothing(stored: Stored) -> None:
    take_over(stored, a_roster())
    before = len(stored.log.audit_entries(10))
    asked: list[None] = []
    during(stored, None, lambda: asked.append(None)).take_over(a_roster(), actor="test")
    assert not asked
    assert len(stored.log.audit_entries(10)) == before


def test_names_at_a_provider_are_in_the_audit_log_too(stored: Stored) -> None:
    take_over(stored, a_roster())
    during(stored).take_over(a_roster(), actor="test", issuer="https://id.hill.example")
    entry = stored.log.audit_entries(1)[0]
    assert (entry.action, entry.detail) == (
        "import-roster",
        "0 changes, 1 named at https://id.hill.example",
    )


def test_more_changes_than_anybody_follows_are_counted_only(stored: Stored) -> None:
    before = newest(stored)
    with stored.database.write() as connection:
        record_changes(connection, 0, (Change(user_id=str(number)) for number in range(5_001)))
    assert newest(stored) == before + 5_001
    assert stored.log.since(before, 0) is None, "whoever follows takes a snapshot"
    with stored.database.write() as connection:
        record_changes(connection, 0, [Change(user_id="one")])
    assert changes_after(stored, before + 5_001) == (Change(user_id="one"),)


def test_two_people_may_change_addresses_with_one_another(stored: Stored) -> None:
    one, other = "a@hill.example", "b@hill.example"
    take_over(stored, a_roster(tess=one, tim=other))
    before = people(stored)
    take_over(stored, a_roster(tess=other, tim=one))
    assert people(stored) == {one: before[other], other: before[one]}


def test_an_address_that_its_owner_gave_up_may_be_somebody_elses(stored: Stored) -> None:
    take_over(stored, a_roster())
    before = people(stored)
    take_over(stored, a_roster(tess="new@hill.example", tim=TESS))
    now = people(stored)
    assert now["new@hill.example"] == before[TESS]
    assert now[TESS] != before[TESS]


def test_two_of_a_roster_are_never_one_person(stored: Stored) -> None:
    take_over(stored, a_roster())
    with pytest.raises(RosterError, match="sourcedId tim, email"):
        take_over(stored, a_roster(tess="", tim=TESS))


def test_a_class_that_is_called_otherwise_is_called_so_at_once(stored: Stored) -> None:
    take_over(stored, a_roster())
    stored.people.create_learner("ada", "", actor="test")
    enrolled = Relation(kind=RelationKind.ENROLLED, subject="ada", object="c-1")
    stored.people.add_relation(enrolled, actor="test")
    before = newest(stored)
    renamed = a_roster()
    renamed.classes["c-1"] = "Physics"
    take_over(stored, renamed)
    assert changes_after(stored, before) == (Change(learner_id="ada"),)
