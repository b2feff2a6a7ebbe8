"""People, learners, relations, and who may do what because of them. Pure: no transport, no
database.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from service_runtime import validation

MAX_DISPLAY_NAME = 200
MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_BYTES = 1024
_MIN_DISTINCT_CHARACTERS = 5

_EMAIL_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_EMAIL_DOMAIN = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)

LEARNER_ROOM = "learner:"
CLASS_ROOM = "class:"


class InvalidInputError(Exception):
    """The request is invalid; the sentence says what to fix. Nothing has changed."""


class NotFoundError(Exception):
    """The named object does not exist. Nothing has changed."""


class AlreadyExistsError(Exception):
    """The id or e-mail address is taken. Nothing has changed."""


class Role(StrEnum):
    """What kind of user someone is; it decides which relations count."""

    LEARNER = "learner"
    GUARDIAN = "guardian"
    TEACHER = "teacher"
    ADMIN = "admin"


class Action(StrEnum):
    """Something a person wants to do."""

    WATCH = "watch"
    INTERACT = "interact"
    JOIN = "join"
    """Be in a room and receive its messages."""
    SPEAK = "speak"
    """Send messages to a room."""
    ADMINISTER = "administer"


class RelationKind(StrEnum):
    """A way in which two parties belong together."""

    IS_LEARNER = "is_learner"
    GUARDIAN_OF = "guardian_of"
    TEACHES = "teaches"
    ENROLLED = "enrolled"


RELATIONS_OF_ROLE = {
    Role.LEARNER: frozenset({RelationKind.IS_LEARNER}),
    Role.GUARDIAN: frozenset({RelationKind.IS_LEARNER, RelationKind.GUARDIAN_OF}),
    Role.TEACHER: frozenset(
        {RelationKind.IS_LEARNER, RelationKind.GUARDIAN_OF, RelationKind.TEACHES}
    ),
    Role.ADMIN: frozenset(
        {RelationKind.IS_LEARNER, RelationKind.GUARDIAN_OF, RelationKind.TEACHES}
    ),
}
"""Relations that a user of a role can have. A teacher may be a parent too; a learner never teaches
by mistake.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One person with a login; never carries the password hash."""

    user_id: str
    email: str
    role: Role
    display_name: str
    disabled: bool
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Someone whose state is followed, with their classes: ids, and names where they have some."""

    learner_id: str
    display_name: str
    class_ids: frozenset[str] = frozenset()
    class_names: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Ties a user (a learner for ENROLLED) as `subject` to a learner or class as `object`."""

    kind: RelationKind
    subject: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """All that decides about a user: role, standing, and the relations they have."""

    user_id: str
    role: Role
    display_name: str = ""
    disabled: bool = False
    own_learners: frozenset[str] = frozenset()
    wards: frozenset[str] = frozenset()
    classes_taught: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that decisions depend on: about one user or one learner, never both.

    With `session_id` that session ended; with `all_sessions` every session of the user did.
    """

    user_id: str = ""
    session_id: str = ""
    all_sessions: bool = False
    learner_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRules:
    """A school's rules about rooms, both off by default."""

    free: bool = False
    """Any user may join and speak in rooms that belong to no learner and no class."""
    guardians_speak: bool = False
    """Guardians may speak in the rooms of their wards' classes, not only listen."""


CAREFUL = RoomRules()


class Enrolments(Protocol):
    """What `may` asks about learners."""

    def class_ids(self, learner_id: str) -> Set[str] | None:
        """Return the classes of a learner; None when there is no such learner."""


def may(
    person: Person | None,
    action: Action,
    resource: str,
    enrolments: Enrolments,
    rules: RoomRules = CAREFUL,
) -> bool:
    """Tell whether `person` may do `action` to `resource`: the one place where rights are decided.

    ===========  ========================  =====================================================
    action       resource                  allowed for
    ===========  ========================  =====================================================
    WATCH        an existing learner       the learner, its guardians, its classes' teachers,
                                           admins
    INTERACT     an existing learner       the learner, admins (imports, replays, support)
    JOIN         room ``learner:<id>``     who may WATCH that learner, admins
    JOIN         room ``class:<id>``       its teachers, learners enrolled in it, their guardians,
                                           admins
    JOIN         any other well-formed id  admins; every user where rooms are free
    SPEAK        a room                    who may JOIN it; guardians in a class room only where
                                           that is allowed
    ADMINISTER   empty                     admins
    ===========  ========================  =====================================================

    Nobody (`None`) and disabled users may do nothing. Relations that do not belong to the person's
    role (`RELATIONS_OF_ROLE`) count for nothing.
    """
    if person is None or person.disabled:
        return False
    match action:
        case Action.WATCH:
            return _may_watch(person, resource, enrolments)
        case Action.INTERACT:
            exists = enrolments.class_ids(resource) is not None
            return exists and (
                person.role is Role.ADMIN or _counts(person, RelationKind.IS_LEARNER, resource)
            )
        case Action.JOIN:
            return _may_join(person, resource, enrolments, rules)
        case Action.SPEAK:
            return _may_join(person, resource, enrolments, rules) and not (
                person.role is Role.GUARDIAN
                and resource.startswith(CLASS_ROOM)
                and not rules.guardians_speak
            )
        case Action.ADMINISTER:
            return person.role is Role.ADMIN and resource == ""


def _may_watch(person: Person, learner_id: str, enrolments: Enrolments) -> bool:
    classes = enrolments.class_ids(learner_id)
    if classes is None:
        return False
    return (
        person.role is Role.ADMIN
        or _counts(person, RelationKind.IS_LEARNER, learner_id)
        or _counts(person, RelationKind.GUARDIAN_OF, learner_id)
        or any(_counts(person, RelationKind.TEACHES, class_id) for class_id in classes)
    )


def _may_join(person: Person, room_id: str, enrolments: Enrolments, rules: RoomRules) -> bool:
    if not validation.is_id(room_id):
        return False
    reserved = room_id.lower().startswith((LEARNER_ROOM, CLASS_ROOM))
    if reserved and not room_id.startswith((LEARNER_ROOM, CLASS_ROOM)):
        return False  # it would look like another room
    if person.role is Role.ADMIN:
        return True
    if room_id.startswith(LEARNER_ROOM):
        return _may_watch(person, room_id.removeprefix(LEARNER_ROOM), enrolments)
    if room_id.startswith(CLASS_ROOM):
        class_id = room_id.removeprefix(CLASS_ROOM)
        if _counts(person, RelationKind.TEACHES, class_id):
            return True
        return any(
            class_id in (enrolments.class_ids(learner) or ()) for learner in close_learners(person)
        )
    return rules.free


def close_learners(person: Person) -> Set[str]:
    """Return the learners that a person is or is guardian of, if the role lets that count."""
    kinds = RELATIONS_OF_ROLE[person.role]
    wards = person.wards if RelationKind.GUARDIAN_OF in kinds else frozenset[str]()
    return person.own_learners | wards


def _counts(person: Person, kind: RelationKind, target: str) -> bool:
    held = {
        RelationKind.IS_LEARNER: person.own_learners,
        RelationKind.GUARDIAN_OF: person.wards,
        RelationKind.TEACHES: person.classes_taught,
    }[kind]
    return target in held and kind in RELATIONS_OF_ROLE[person.role]


def new_id() -> str:
    """Return a random id that is never handed out twice."""
    return str(uuid.uuid4())


def checked_id(text: str, what: str) -> str:
    """Return `text` if it is a well-formed id of a `what`; raises InvalidInputError otherwise."""
    if not validation.is_id(text):
        raise InvalidInputError(f"a {what} must be {validation.ID_RULE}")
    return text


def normalised_email(text: str) -> str:
    """Return an e-mail address stripped and in lower case. Raises InvalidInputError, without
    repeating it.
    """
    email = text.strip().lower()
    local, _, domain = email.rpartition("@")
    well_formed = (
        len(email) <= 254
        and len(local) <= 64
        and _EMAIL_LOCAL.fullmatch(local)
        and _EMAIL_DOMAIN.fullmatch(domain)
    )
    if not well_formed:
        raise InvalidInputError("the e-mail address is not well-formed")
    return email


def checked_display_name(text: str) -> str:
    """Return a name stripped and in Unicode NFC; may be empty. Raises InvalidInputError for control
    characters or length.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if len(name) > MAX_DISPLAY_NAME:
        raise InvalidInputError(f"a display name has at most {MAX_DISPLAY_NAME} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise InvalidInputError("a display name has no control characters")
    return name


def checked_password(password: str) -> str:
    """Return a password fit to be set. Raises InvalidInputError, without repeating it, for a weak
    or oversized one.

    Length is what counts (NIST SP 800-63B §3.1.1); only runs of a few repeated characters are
    refused besides.
    """
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise InvalidInputError(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    if len(password.encode(errors="surrogatepass")) > MAX_PASSWORD_BYTES:
        raise InvalidInputError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    if len(set(password)) < _MIN_DISTINCT_CHARACTERS:
        raise InvalidInputError("the password is too easy to guess: use more different characters")
    return password
