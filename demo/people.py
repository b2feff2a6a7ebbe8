"""The demonstration's school: invented people with random passwords, made through the auth
service's admin calls.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from demo.users import LOAD_TEST, Person, draft_of, read_users, write_users
from harness.registry import Registry

PASSWORD_BYTES = 12
"""Of randomness; 16 characters to type."""

LOADED = 100
"""Learners that this account may act for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """A learner to be made."""

    learner_id: str
    name: str
    class_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adult:
    """A parent, teacher or admin to be made, and what ties them to the school."""

    name: str
    email: str
    role: str
    children: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """An account for load tests, which acts for many learners."""

    email: str
    learners: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """Who belongs to the demonstration."""

    classes: dict[str, str]
    """Name of each class by its id."""
    pupils: tuple[Pupil, ...]
    adults: tuple[Adult, ...]
    loaders: tuple[Loader, ...] = ()


FEWEST_LEARNERS = 12
MOST_LEARNERS = 999
CLASS_SIZE = 30
_MORE_NAMES = (
    *("Amir", "Bea", "Carl", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Karl", "Lou"),
    *("Mia", "Nils", "Olga", "Paco", "Ruth", "Sara", "Timo", "Ugo", "Vera", "Wim", "Yara", "Zoe"),
)


def demo_school(learners: int = FEWEST_LEARNERS) -> School:
    """Return two classes of six, their parents (two have two children), two teachers and an admin.

    Further learners, up to `learners` in all, fill class 5a to 30, then classes of 30 that Ms Vega
    teaches as well: with 36 she has 30, with 206 she has 200.
    """
    classes = {"demo-class-5a": "Class 5a", "demo-class-7b": "Class 7b"}
    names = {
        "demo-class-5a": ("Ada", "Ben", "Chloe", "David", "Elif", "Femi"),
        "demo-class-7b": ("Grace", "Hugo", "Ines", "Jonas", "Kofi", "Lena"),
    }
    pupils = tuple(
        Pupil(learner_id=f"demo-{name.lower()}", name=f"{name} (simulated)", class_id=class_id)
        for class_id, members in names.items()
        for name in members
    )
    more = _more_pupils(learners - FEWEST_LEARNERS)
    classes |= {one.class_id: one.class_id.replace("demo-class-", "Class ") for one in more}
    families = (
        ("Mary", ("ada", "grace")),
        ("Paul", ("ben",)),
        ("Quinn", ("chloe", "david")),
        ("Rosa", ("elif",)),
        ("Sam", ("femi", "hugo")),
        ("Tara", ("ines", "jonas")),
        ("Uma", ("kofi", "lena")),
    )
    parents = tuple(
        Adult(
            name=f"{name} (parent)",
            email=f"{name.lower()}@parents.example",
            role="guardian",
            children=tuple(f"demo-{child}" for child in children),
        )
        for name, children in families
    )
    staff = (
        Adult(
            name="Ms Vega",
            email="vega@school.example",
            role="teacher",
            classes=tuple(one for one in classes if one != "demo-class-7b"),
        ),
        Adult(
            name="Mr Wolf", email="wolf@school.example", role="teacher", classes=("demo-class-7b",)
        ),
        Adult(name="The office", email="admin@school.example", role="admin"),
    )
    # What the load test of the original guide acts for.
    loader = Loader(
        email=LOAD_TEST, learners=tuple(f"learner-test-{number}" for number in range(LOADED))
    )
    return School(classes=classes, pupils=pupils + more, adults=parents + staff, loaders=(loader,))


def _more_pupils(count: int) -> tuple[Pupil, ...]:
    """Return pupils beyond the named ones: Amir A., Bea A., …; their classes are 5a, 5b, …"""
    free = CLASS_SIZE - FEWEST_LEARNERS // 2
    pupils = []
    for number in range(count):
        initial, name = divmod(number, len(_MORE_NAMES))
        first, last = _MORE_NAMES[name], chr(ord("A") + initial % 26) + "b" * (initial // 26)
        letter = 0 if number < free else 1 + (number - free) // CLASS_SIZE
        pupils.append(
            Pupil(
                learner_id=f"demo-{first}-{last}".lower(),
                name=f"{first} {last}. (simulated)",
                class_id=f"demo-class-{5 + letter // 4}{'abcd'[letter % 4]}",
            )
        )
    return tuple(pupils)


def seed(registry: Registry, school: School, users_file: Path) -> list[Person]:
    """Make everyone of `school` who is missing and return those who can log in.

    Passwords come from `users_file` where it has them, else they are made up. The file (mode 600)
    appears when everybody in it can log in; until then a draft beside it keeps the passwords, so
    that a run cut short is completed by the next. Whoever exists under a password that neither
    knows gets a new one.
    """
    draft = draft_of(users_file)
    known = {person.email: person for person in (*read_users(draft), *read_users(users_file))}
    existing = registry.users_by_email()
    people = [_entry(person, known.get(person.email)) for person in _people(school)]
    if any(existing.get(person.email) != person.user_id for person in people):
        write_users(draft, people)
        users_file.unlink(missing_ok=True)
    for class_id, name in school.classes.items():
        registry.add_class(class_id, name)
    for pupil in school.pupils:
        registry.add_learner(pupil.learner_id, pupil.name)
        registry.relate("enrolled", pupil.learner_id, pupil.class_id)
    for loader in school.loaders:
        for learner_id in loader.learners:
            registry.add_learner(learner_id, f"{learner_id} (load test)")
    names = {pupil.learner_id: pupil.name for pupil in school.pupils} | {
        a.email: a.name for a in school.adults
    }
    seeded = []
    for person in people:
        user_id = existing.get(person.email)
        if user_id is None:
            name = names.get(person.email) or names.get(person.learners[0], "Load test")
            user_id = registry.add_user(person.email, person.password, person.role, name)
        elif user_id != person.user_id:
            registry.set_password(user_id, person.password)
        seeded.append(replace(person, user_id=user_id))
    _relate(registry, school, {person.email: person for person in seeded})
    if seeded != read_users(users_file):
        write_users(users_file, seeded)
    draft.unlink(missing_ok=True)
    return seeded


def _people(school: School) -> Iterable[Person]:
    everyone = tuple(pupil.learner_id for pupil in school.pupils)
    for adult in school.adults:
        if adult.role == "admin":
            learners = everyone
        else:
            taught = tuple(
                pupil.learner_id for pupil in school.pupils if pupil.class_id in adult.classes
            )
            learners = adult.children + taught
        yield Person(email=adult.email, password="", role=adult.role, user_id="", learners=learners)
    for loader in school.loaders:
        yield Person(
            email=loader.email, password="", role="learner", user_id="", learners=loader.learners
        )
    for pupil in school.pupils:
        yield Person(
            email=learner_email(pupil.learner_id),
            password="",
            role="learner",
            user_id="",
            learners=(pupil.learner_id,),
        )


def learner_email(learner_id: str) -> str:
    """Return the address that a learner of the demonstration logs in with."""
    return f"{learner_id.removeprefix('demo-')}@pupils.example"


def _entry(person: Person, known: Person | None) -> Person:
    if known is not None:
        return replace(person, password=known.password, user_id=known.user_id)
    return replace(person, password=secrets.token_urlsafe(PASSWORD_BYTES))


def _relate(registry: Registry, school: School, people: dict[str, Person]) -> None:
    for adult in school.adults:
        for child in adult.children:
            registry.relate("guardian_of", people[adult.email].user_id, child)
        for class_id in adult.classes:
            registry.relate("teaches", people[adult.email].user_id, class_id)
    for pupil in school.pupils:
        registry.relate(
            "is_learner", people[learner_email(pupil.learner_id)].user_id, pupil.learner_id
        )
    for loader in school.loaders:
        for learner_id in loader.learners:
            registry.relate("is_learner", people[loader.email].user_id, learner_id)
