"""What a roster changes in the database. Pure: takes values and returns values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from auth_service.domain import Change, RelationKind, Role, User, new_id
from auth_service.roster.reading import Roster, RosterError, RosterUser

Relations = set[tuple[RelationKind, str, str]]
"""Kind, user id (learner id for ENROLLED), learner or class id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The people in the database."""

    users: Mapping[str, User]
    learners: Mapping[str, str]
    classes: Mapping[str, str]
    relations: Relations
    rostered: Mapping[tuple[str, str], str]
    """Local ids by kind (user, learner, class) and the roster's id."""
    left: frozenset[str]
    """User ids that an earlier roster disabled."""


@dataclass(slots=True)
class RosterChanges:
    """What to write, by local ids."""

    new_users: dict[str, RosterUser] = field(default_factory=dict)
    changed_users: dict[str, RosterUser] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    new_learners: dict[str, str] = field(default_factory=dict)
    renamed_learners: dict[str, str] = field(default_factory=dict)
    new_classes: dict[str, str] = field(default_factory=dict)
    renamed_classes: dict[str, str] = field(default_factory=dict)
    added: Relations = field(default_factory=set)
    removed: Relations = field(default_factory=set)
    adopted: dict[tuple[str, str], str] = field(default_factory=dict)
    """Entries that belong to the roster from now on: local ids by kind and the roster's id."""
    readdressed: set[str] = field(default_factory=set)
    """Changed users whose former e-mail address now belongs to somebody else."""
    subjects: dict[str, str] = field(default_factory=dict)
    """User ids by what an identity provider calls them."""
    sourced: dict[str, str] = field(default_factory=dict)
    """The roster's ids of users by their ids here."""
    here: int = 0
    """Users of the roster who could sign in before."""

    def lines(self) -> Iterator[str]:
        """Yield the changes one by one, people by the roster's ids, which who reads this can look
        up; names are nobody's business here.
        """
        for sign, what, ids in (
            ("+", "user", self.new_users),
            ("~", "user", self.changed_users),
            ("+", "enabled user", self.enabled),
            ("-", "disabled user", self.disabled),
            ("+", "learner", self.new_learners),
            ("~", "learner", self.renamed_learners),
            ("+", "class", self.new_classes),
            ("~", "class", self.renamed_classes),
        ):
            told = (self.sourced.get(one, one) if what.endswith("user") else one for one in ids)
            yield from (f"{sign} {what} {one}" for one in sorted(told))
        for sign, relations in (("+", self.added), ("-", self.removed)):
            named = (
                (kind, one if kind is RelationKind.ENROLLED else self.sourced.get(one, one), other)
                for kind, one, other in relations
            )
            yield from (f"{sign} {kind} {one} {other}" for kind, one, other in sorted(named))


def changes_of(roster: Roster, present: Present) -> RosterChanges:
    """Return the changes that bring the roster's entries up to date.

    People, learners and classes made by hand stay as they are, unless the roster has their e-mail
    address or id. Raises RosterError.
    """
    changes = RosterChanges()
    local = _users(roster, present, changes)
    for kind, told, known, new, renamed in (
        (
            "learner",
            roster.learners,
            present.learners,
            changes.new_learners,
            changes.renamed_learners,
        ),
        ("class", roster.classes, present.classes, changes.new_classes, changes.renamed_classes),
    ):
        for one, name in told.items():
            if one not in known:
                new[one] = name
            elif known[one] != name:
                renamed[one] = name
            if (kind, one) not in present.rostered:
                changes.adopted[kind, one] = one
    _relations(roster, present, local, changes)
    changes.sourced = {
        local_id: sourced_id
        for (kind, sourced_id), local_id in {**present.rostered, **changes.adopted}.items()
        if kind == "user"
    }
    return changes


def affected_by(changes: RosterChanges, present: Present) -> list[Change]:
    """Return the users and learners, before or after, whose rights or names may have changed."""
    ended = {Change(user_id=one, all_sessions=True) for one in changes.disabled}
    people = {*changes.new_users, *changes.changed_users, *changes.enabled}
    known = {*changes.new_learners, *changes.renamed_learners}
    teachers: defaultdict[str, set[str]] = defaultdict(set)
    close: defaultdict[str, set[str]] = defaultdict(set)
    for kind, one, other in present.relations:
        if kind is RelationKind.TEACHES:
            teachers[other].add(one)
        elif kind is not RelationKind.ENROLLED:
            close[other].add(one)
        elif other in changes.renamed_classes:
            known.add(one)
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


def _users(roster: Roster, present: Present, changes: RosterChanges) -> dict[str, str]:
    here = {
        sourced_id: present.users.get(present.rostered.get(("user", sourced_id), ""))
        for sourced_id in roster.users
    }
    owners = _owners(roster, present, here, changes)
    staying = {user.user_id for user in here.values() if user}
    local: dict[str, str] = {}
    for sourced_id, told in roster.users.items():
        user = here[sourced_id]
        owner = owners.get(told.email) if told.email else None
        if owner and (
            owner.role is Role.ADMIN or (owner != user and (user or owner.user_id in staying))
        ):
            whose = "an administrator" if owner.role is Role.ADMIN else "somebody else"
            raise RosterError(
                f"users.csv, sourcedId {sourced_id}, email: belongs to {whose} here (user"
                f" {owner.user_id})"
            )
        user = user or owner
        user_id = local[sourced_id] = new_id() if user is None else user.user_id
        if ("user", sourced_id) not in present.rostered:
            changes.adopted["user", sourced_id] = user_id
        if told.subject:
            changes.subjects[told.subject] = user_id
        if user is None:
            changes.new_users[user_id] = told
        else:
            if (told.role, told.display_name, told.email or user.email) != (
                user.role,
                user.display_name,
                user.email,
            ):
                changes.changed_users[user_id] = told
            if user.disabled and told.enabled and user_id in present.left:
                changes.enabled.add(user_id)
        if user is not None and not user.disabled:
            changes.here += 1
            if not told.enabled:
                changes.disabled.add(user_id)
    for (kind, sourced_id), user_id in present.rostered.items():
        user = present.users.get(user_id) if kind == "user" else None
        if user is not None and sourced_id not in roster.users and not user.disabled:
            changes.here += 1
            changes.disabled.add(user_id)
    return local


def _owners(
    roster: Roster, present: Present, here: Mapping[str, User | None], changes: RosterChanges
) -> dict[str, User]:
    """Return the owners of e-mail addresses, without addresses that this roster frees."""
    owners = {user.email: user for user in present.users.values()}
    wanted = {told.email for told in roster.users.values()}
    for sourced_id, told in roster.users.items():
        user = here[sourced_id]
        if user and told.email not in ("", user.email):
            owners.pop(user.email, None)
            if user.email in wanted:
                changes.readdressed.add(user.user_id)
    return owners


def _relations(
    roster: Roster, present: Present, local: Mapping[str, str], changes: RosterChanges
) -> None:
    wanted = {
        (kind, one if kind is RelationKind.ENROLLED else local[one], other)
        for kind, one, other in roster.relations
    }
    ours = {(kind, one) for (kind, _), one in {**present.rostered, **changes.adopted}.items()}
    changes.added = wanted - present.relations
    changes.removed = {
        (kind, one, other)
        for kind, one, other in present.relations - wanted
        if ("learner" if kind is RelationKind.ENROLLED else "user", one) in ours
        and ("class" if kind in _TO_CLASS else "learner", other) in ours
    }


_TO_CLASS = (RelationKind.ENROLLED, RelationKind.TEACHES)
