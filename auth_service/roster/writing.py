"""Writes the database's people as OneRoster 1.1 CSV files, which an import accepts without a
change.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from auth_service.domain import RelationKind, Role, User
from auth_service.roster.changes import Present

SCHOOL: Final = "school"
_ROLES: Final = {Role.LEARNER: "student", Role.TEACHER: "teacher", Role.GUARDIAN: "guardian"}
_MANIFEST: Final = (
    ("manifest.version", "1.0"),
    ("oneroster.version", "1.1"),
    *((f"file.{name}", "bulk") for name in ("orgs", "users", "classes", "enrollments")),
    *((f"file.{name}", "absent") for name in ("academicSessions", "courses", "demographics")),
)


def write_roster(present: Present, folder: Path) -> int:
    """Write the files and return the number of people. Administrators and disabled users are left
    out.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    of_user = {one: name for (kind, name), one in present.rostered.items() if kind == "user"}
    own: defaultdict[str, list[str]] = defaultdict(list)
    wards: defaultdict[str, list[str]] = defaultdict(list)
    for kind, one, other in sorted(present.relations):
        if kind is RelationKind.IS_LEARNER:
            own[one].append(other)
        elif kind is RelationKind.GUARDIAN_OF:
            wards[one].append(other)
    users = [
        user for user in present.users.values() if user.role is not Role.ADMIN and not user.disabled
    ]
    names = {
        user.user_id: own[user.user_id][0]
        if user.role is Role.LEARNER and own[user.user_id]
        else of_user.get(user.user_id, user.user_id)
        for user in users
    }
    _write(folder / "manifest.csv", ("propertyName", "value"), _MANIFEST)
    _write(
        folder / "orgs.csv",
        ("sourcedId", "status", "dateLastModified", "name", "type"),
        [(SCHOOL, "", "", "School", "school")],
    )
    _write(folder / "users.csv", _USER, (_user(one, names, wards) for one in users))
    _write(
        folder / "classes.csv",
        ("sourcedId", "status", "dateLastModified", "title", "schoolSourcedId"),
        ((one, "", "", name, SCHOOL) for one, name in sorted(present.classes.items())),
    )
    by_learner = {learner: names[user.user_id] for user in users for learner in own[user.user_id]}
    enrolled = []
    for kind, one, other in sorted(present.relations):
        name = by_learner.get(one) if kind is RelationKind.ENROLLED else names.get(one)
        if name is not None and kind in (RelationKind.ENROLLED, RelationKind.TEACHES):
            role = "student" if kind is RelationKind.ENROLLED else "teacher"
            enrolled.append((f"{other}:{name}", "", "", other, SCHOOL, name, role))
    _write(
        folder / "enrollments.csv",
        (
            "sourcedId",
            "status",
            "dateLastModified",
            "classSourcedId",
            "schoolSourcedId",
            "userSourcedId",
            "role",
        ),
        enrolled,
    )
    return len(users)


_USER: Final = (
    "sourcedId",
    "status",
    "dateLastModified",
    "enabledUser",
    "orgSourcedIds",
    "role",
    "username",
    "givenName",
    "familyName",
    "email",
    "agentSourcedIds",
)


def _user(user: User, names: dict[str, str], wards: dict[str, list[str]]) -> tuple[str, ...]:
    email = "" if user.email.endswith("@people.invalid") else user.email
    given, _, family = user.display_name.partition(" ")
    name = names[user.user_id]
    agents = ",".join(wards.get(user.user_id, ()))
    return (name, "", "", "true", SCHOOL, _ROLES[user.role], name, given, family, email, agents)


def _write(path: Path, names: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
