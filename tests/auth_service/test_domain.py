"""Who may do what, as a table; and what input is let in."""

from __future__ import annotations

from collections.abc import Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.domain import (
    RELATIONS_OF_ROLE,
    Action,
    InvalidInputError,
    Person,
    RelationKind,
    Role,
    RoomRules,
    checked_display_name,
    checked_id,
    checked_password,
    may,
    normalised_email,
)

CLASSES = {"ann": {"maths"}, "bob": {"maths", "art"}, "cyd": set()}


class Enrolled:
    """The learners of `CLASSES`."""

    def class_ids(self, learner_id: str) -> Set[str] | None:
        return CLASSES.get(learner_id)


PEOPLE = {
    "ann herself": Person(user_id="1", role=Role.LEARNER, own_learners=frozenset({"ann"})),
    "ann's parent": Person(user_id="2", role=Role.GUARDIAN, wards=frozenset({"ann"})),
    "maths teacher": Person(user_id="3", role=Role.TEACHER, classes_taught=frozenset({"maths"})),
    "art teacher": Person(user_id="4", role=Role.TEACHER, classes_taught=frozenset({"art"})),
    "teaching parent": Person(user_id="5", role=Role.TEACHER, wards=frozenset({"cyd"})),
    "admin": Person(user_id="6", role=Role.ADMIN),
    "stranger": Person(user_id="7", role=Role.GUARDIAN),
    "teacher of nobody": Person(user_id="8", role=Role.TEACHER),
    "disabled admin": Person(user_id="9", role=Role.ADMIN, disabled=True),
    "disabled ann": Person(
        user_id="10", role=Role.LEARNER, own_learners=frozenset({"ann"}), disabled=True
    ),
    "learner said to teach": Person(
        user_id="11",
        role=Role.LEARNER,
        classes_taught=frozenset({"maths"}),
        wards=frozenset({"cyd"}),
    ),
    "guardian said to teach": Person(
        user_id="12", role=Role.GUARDIAN, classes_taught=frozenset({"maths"})
    ),
    "parent of one gone": Person(user_id="13", role=Role.GUARDIAN, wards=frozenset({"gone"})),
    "nobody": None,
}

ENABLED = [name for name, person in PEOPLE.items() if person is not None and not person.disabled]

RIGHTS = [
    (Action.WATCH, "ann", ["ann herself", "ann's parent", "maths teacher", "admin"]),
    (Action.WATCH, "bob", ["maths teacher", "art teacher", "admin"]),
    (Action.WATCH, "cyd", ["teaching parent", "admin"]),
    (Action.WATCH, "gone", []),
    (Action.WATCH, "", []),
    (Action.INTERACT, "ann", ["ann herself", "admin"]),
    (Action.INTERACT, "cyd", ["admin"]),
    (Action.INTERACT, "gone", []),
    (Action.JOIN, "learner:ann", ["ann herself", "ann's parent", "maths teacher", "admin"]),
    (Action.JOIN, "learner:bob", ["maths teacher", "art teacher", "admin"]),
    (Action.JOIN, "learner:gone", ["admin"]),
    (Action.JOIN, "learner:", ["admin"]),
    (Action.JOIN, "class:maths", ["ann herself", "ann's parent", "maths teacher", "admin"]),
    (Action.JOIN, "class:art", ["art teacher", "admin"]),
    (Action.JOIN, "class:none", ["admin"]),
    (Action.JOIN, "lobby", ["admin"]),
    (Action.JOIN, "Class:maths", []),
    (Action.JOIN, "LEARNER:ann", []),
    (Action.JOIN, "class", ["admin"]),
    (Action.SPEAK, "learner:ann", ["ann herself", "ann's parent", "maths teacher", "admin"]),
    (Action.SPEAK, "class:maths", ["ann herself", "maths teacher", "admin"]),
    (Action.SPEAK, "class:art", ["art teacher", "admin"]),
    (Action.SPEAK, "Class:maths", []),
    (Action.SPEAK, "lobby", ["admin"]),
    (Action.JOIN, "", []),
    (Action.JOIN, "no room\n", []),
    (Action.JOIN, "x" * 129, []),
    (Action.ADMINISTER, "", ["admin"]),
    (Action.ADMINISTER, "ann", []),
]


@pytest.mark.parametrize(("action", "resource", "allowed"), RIGHTS)
def test_exactly_those_in_the_table_may(action: Action, resource: str, allowed: list[str]) -> None:
    granted = [name for name, person in PEOPLE.items() if may(person, action, resource, Enrolled())]

    assert sorted(allowed) == sorted(granted)


@pytest.mark.parametrize(
    ("rules", "action", "resource", "allowed"),
    [
        (RoomRules(free=True), Action.JOIN, "lobby", ENABLED),
        (RoomRules(free=True), Action.SPEAK, "lobby", ENABLED),
        (RoomRules(free=True), Action.JOIN, "cLass:maths", []),
        (RoomRules(free=True), Action.JOIN, "class:art", ["art teacher", "admin"]),
        (RoomRules(free=True), Action.JOIN, "no room\n", []),
        (
            RoomRules(guardians_speak=True),
            Action.SPEAK,
            "class:maths",
            ["ann herself", "ann's parent", "maths teacher", "admin"],
        ),
        (RoomRules(guardians_speak=True), Action.SPEAK, "lobby", ["admin"]),
    ],
)
def test_a_school_may_decide_otherwise_about_rooms(
    rules: RoomRules, action: Action, resource: str, allowed: list[str]
) -> None:
    granted = [
        name for name, person in PEOPLE.items() if may(person, action, resource, Enrolled(), rules)
    ]

    assert sorted(allowed) == sorted(granted)


def test_every_action_is_in_the_table() -> None:
    assert set(Action) == {action for action, _, _ in RIGHTS}


def test_every_role_has_its_relations() -> None:
    assert set(Role) == set(RELATIONS_OF_ROLE)
    assert all(RelationKind.ENROLLED not in kinds for kinds in RELATIONS_OF_ROLE.values())


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann@School.Example ", "ann@school.example"),
        ("o'neil+x@a-b.co", "o'neil+x@a-b.co"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_an_address_is_kept_in_lower_case(typed: str, kept: str) -> None:
    assert kept == normalised_email(typed)


@pytest.mark.parametrize(
    "typed",
    ["", "@", "a@", "@b", "a b@c.de", "a@b@c", "a..b@c.de", "a@-b.de", "a@b..de", "a" * 65 +
    "@b.de", "ä@b.de",
     "a@" + "b." * 130 + "de", "a@b.de\n<script>", 'a"@b.de'],
)  # fmt: skip
def test_a_malformed_address_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        normalised_email(typed)

    assert str(caught.value) == "the e-mail address is not well-formed"


@given(st.text())
def test_an_address_is_well_formed_or_refused_whatever_is_typed(typed: str) -> None:
    try:
        email = normalised_email(typed)
    except InvalidInputError:
        return
    assert email == normalised_email(email)
    assert email.isascii()
    assert email.count("@") == 1


@pytest.mark.parametrize(
    "password", ["", "eleven char", "aaaaaaaaaaaaaaaa", "abcdabcdabcdabcd", "x1y2z3" * 171]
)
def test_a_weak_or_oversized_password_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked_password(password)

    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("password", ["twelve chars", "päßwörter sind länger", "x1y2z3" * 170])
def test_a_long_password_is_let_in_as_typed(password: str) -> None:
    assert password == checked_password(password)


@pytest.mark.parametrize("bad", ["", "x" * 129, "a b", "a/b", "ä", "a\n", "../x"])
def test_a_malformed_id_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInputError):
        checked_id(bad, "learner id")


def test_a_well_formed_id_is_kept() -> None:
    assert checked_id("u:1_2.3@x-Y", "learner id") == "u:1_2.3@x-Y"


@pytest.mark.parametrize("bad", ["a\x00b", "a\nb", "x" * 201, "\ud800"])
def test_a_display_name_without_sense_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInputError):
        checked_display_name(bad)


def test_a_display_name_is_stripped_and_composed() -> None:
    assert checked_display_name("  Zoe\u0308 ") == "Zo\u00eb"
