"""Reads a folder of OneRoster CSV files into values. Changes nothing."""

from __future__ import annotations

import csv
import datetime
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auth_service.domain import (
    InvalidInputError,
    RelationKind,
    Role,
    checked_display_name,
    checked_id,
    normalised_email,
)

ROLES: Final = {
    "student": Role.LEARNER,
    "teacher": Role.TEACHER,
    "aide": Role.TEACHER,
    "proctor": Role.TEACHER,
    "counselor": Role.TEACHER,
    "principal": Role.TEACHER,
    "administrator": Role.TEACHER,
    "districtAdministrator": Role.TEACHER,
    "siteAdministrator": Role.TEACHER,
    "systemAdministrator": Role.TEACHER,
    "parent": Role.GUARDIAN,
    "guardian": Role.GUARDIAN,
    "relative": Role.GUARDIAN,
}
"""Our role for each role of a roster. None makes an administrator."""

_ACTIVE: Final = ("", "active")
_GONE: Final = ("tobedeleted", "inactive")
_NEEDED: Final = {
    "users.csv": ("sourcedId", "givenName", "familyName"),
    "classes.csv": ("sourcedId", "title"),
    "enrollments.csv": ("sourcedId", "classSourcedId", "userSourcedId", "role"),
    "orgs.csv": ("sourcedId", "name"),
    "courses.csv": ("sourcedId", "title"),
    "academicSessions.csv": ("sourcedId", "title"),
    "roles.csv": ("userSourcedId", "role"),
}
_WHOSE: Final = {"roles.csv": "userSourcedId"}
_MOST_PROBLEMS: Final = 50


class RosterError(Exception):
    """The files cannot be imported; each line of the text names a file, a line and a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterUser:
    """Somebody in a roster, by the roster's id."""

    sourced_id: str
    role: Role
    email: str
    """Empty when the roster has none."""
    display_name: str
    enabled: bool
    subject: str
    """Their subject at an identity provider; empty if not requested."""


@dataclass(slots=True)
class Roster:
    """The content of a folder; ids of learners and classes are the roster's own."""

    users: dict[str, RosterUser] = field(default_factory=dict)
    learners: dict[str, str] = field(default_factory=dict)
    """Names by learner id."""
    classes: dict[str, str] = field(default_factory=dict)
    relations: set[tuple[RelationKind, str, str]] = field(default_factory=set)
    """Kind, the roster's id of a user (a learner id for ENROLLED), a learner or class id."""


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    line: int
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return (self.values.get(name) or "").strip()


class _Reader:
    """Collects all mistakes, so that a school can fix a file at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[str] = []
        self.gone: defaultdict[str, set[str]] = defaultdict(set)
        """Whom or what a file says is to be deleted (of roles: whose); others may name it still."""

    def complain(self, row: _Row, name: str, sentence: str) -> None:
        self.problems.append(f"{row.file}, line {row.line}, {name}: {sentence}")

    def rows(self, file: str, *, required: bool = False) -> Iterator[_Row]:
        """Yield the rows that are not to be deleted."""
        path = self._folder / file
        if not path.is_file():
            if required:
                self.problems.append(f"{file}: the file is missing")
            return
        try:
            content = path.read_bytes()
            # Spreadsheets put a byte order mark in front.
            text = content.decode("utf-8-sig")
        except OSError as error:
            self.problems.append(f"{file}: cannot be read ({error.strerror})")
        except UnicodeDecodeError as error:
            line = 1 + content.count(b"\n", 0, error.start)
            self.problems.append(f"{file}, line {line}: is not in UTF-8; save it in that")
        else:
            yield from self._parsed(file, text)

    def _parsed(self, file: str, text: str) -> Iterator[_Row]:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            missing = [one for one in _NEEDED.get(file, ()) if one not in _names(reader)]
            if missing:
                self.problems.append(f"{file}, line 1: no column {', '.join(missing)}")
                return
            for values in reader:
                row = _Row(file, reader.line_num, values)
                if None in values:
                    self.complain(row, "the row", "has more fields than the first line")
                elif None in values.values():
                    self.complain(row, "the row", "has fewer fields than the first line")
                elif row["status"].lower() in _ACTIVE:
                    yield row
                elif row["status"].lower() in _GONE:
                    self.gone[file].add(row[_WHOSE.get(file, "sourcedId")])
                else:
                    self.complain(row, "status", "must be active or tobedeleted")
        except csv.Error as error:
            self.problems.append(f"{file}, line {reader.reader.line_num}: is not CSV ({error})")


def _names(reader: csv.DictReader[str]) -> list[str]:
    return list(reader.fieldnames or ())


def read_roster(folder: Path, *, today: datetime.date, subject: str = "") -> Roster:
    """Read the files in a folder as of `today`; `subject` is the field of users.csv that an
    identity provider knows people by.

    Raises RosterError with up to 50 mistakes.
    """
    if not folder.is_dir():
        raise RosterError(f"{folder} is not a folder")
    reader, roster = _Reader(folder), Roster()
    _check_manifest(reader)
    roles = _roles(reader)
    agents = _users(reader, roster, roles, subject)
    _classes(reader, roster)
    _agents(reader, roster, agents)
    _enrolments(reader, roster, today)
    if reader.problems:
        shown = reader.problems[:_MOST_PROBLEMS]
        if len(reader.problems) > len(shown):
            shown.append(f"… and {len(reader.problems) - len(shown)} more")
        raise RosterError("\n".join(shown))
    return roster


def _check_manifest(reader: _Reader) -> None:
    for row in reader.rows("manifest.csv"):
        if row["propertyName"].startswith("file.") and row["value"] == "delta":
            reader.complain(
                row, "value", "export the whole roster (bulk); deltas are not supported"
            )


def _roles(reader: _Reader) -> dict[str, str]:
    """Return each user's primary role from the separate file of version 1.2."""
    found: dict[str, str] = {}
    for row in reader.rows("roles.csv"):
        if row["roleType"] in ("", "primary") or row["userSourcedId"] not in found:
            found[row["userSourcedId"]] = row["role"]
    return found


def _users(
    reader: _Reader, roster: Roster, roles: dict[str, str], subject: str
) -> list[tuple[_Row, str]]:
    emails: dict[str, int] = {}
    subjects: dict[str, int] = {}
    agents: list[tuple[_Row, str]] = []
    for row in reader.rows("users.csv", required=True):
        sourced_id = row["sourcedId"]
        named = row["role"] or roles.get(sourced_id, "")
        if not named and sourced_id in reader.gone["roles.csv"]:
            reader.gone["users.csv"].add(sourced_id)
            continue
        role = ROLES.get(named)
        if not 1 <= len(sourced_id) <= 255 or sourced_id in roster.users:
            reader.complain(row, "sourcedId", "is empty, too long, or was there before")
            continue
        if role is None:
            reader.complain(row, "role", f"must be one of {', '.join(ROLES)}")
            continue
        email, name = _email(reader, row), _name(reader, row)
        if email and emails.setdefault(email, row.line) != row.line:
            reader.complain(row, "email", f"is also on line {emails[email]}")
        known_as = row[subject] if subject else ""
        if known_as and subjects.setdefault(known_as, row.line) != row.line:
            reader.complain(row, subject, f"is also on line {subjects[known_as]}")
        if row["enabledUser"].lower() not in ("", "true", "false", "1", "0"):
            reader.complain(row, "enabledUser", "must be true or false")
        roster.users[sourced_id] = RosterUser(
            sourced_id=sourced_id,
            role=role,
            email=email,
            display_name=name,
            enabled=row["enabledUser"].lower() not in ("false", "0"),
            subject=known_as,
        )
        if role is Role.LEARNER and _is_id(reader, row, "sourcedId", "learner id"):
            roster.learners[sourced_id] = name
            roster.relations.add((RelationKind.IS_LEARNER, sourced_id, sourced_id))
        agents += [(row, one.strip()) for one in row["agentSourcedIds"].split(",") if one.strip()]
    return agents


def _agents(reader: _Reader, roster: Roster, agents: list[tuple[_Row, str]]) -> None:
    """Relate guardians: a student names them, or they name the student, and either is enough."""
    for row, other in agents:
        pair = (row["sourcedId"], other)
        if other not in roster.users:
            if other not in reader.gone["users.csv"]:
                reader.complain(row, "agentSourcedIds", "names somebody who is not in users.csv")
            continue
        for guardian, learner in (pair, pair[::-1]):
            if learner in roster.learners and roster.users[guardian].role is not Role.LEARNER:
                roster.relations.add((RelationKind.GUARDIAN_OF, guardian, learner))


def _classes(reader: _Reader, roster: Roster) -> None:
    around = (
        ("schoolSourcedId", "orgs.csv"),
        ("courseSourcedId", "courses.csv"),
        ("termSourcedIds", "academicSessions.csv"),
    )
    known = {file: {row["sourcedId"] for row in reader.rows(file)} for _, file in around}
    for row in reader.rows("classes.csv", required=True):
        if not _is_id(reader, row, "sourcedId", "class id"):
            continue
        if row["sourcedId"] in roster.classes:
            reader.complain(row, "sourcedId", "was there before")
        for name, file in around:
            named = {one.strip() for one in row[name].split(",") if one.strip()}
            if known[file] and not named <= known[file] | reader.gone[file]:
                reader.complain(row, name, f"names one that is not in {file}")
        roster.classes[row["sourcedId"]] = _checked_name(reader, row, "title", row["title"])


def _enrolments(reader: _Reader, roster: Roster, today: datetime.date) -> None:
    for row in reader.rows("enrollments.csv", required=True):
        class_id, user_id = row["classSourcedId"], row["userSourcedId"]
        if class_id not in roster.classes:
            if class_id not in reader.gone["classes.csv"]:
                reader.complain(row, "classSourcedId", "is not in classes.csv")
            continue
        if user_id not in roster.users:
            if user_id not in reader.gone["users.csv"]:
                reader.complain(row, "userSourcedId", "is not in users.csv")
            continue
        role = ROLES.get(row["role"])
        if role is None:
            reader.complain(row, "role", f"must be one of {', '.join(ROLES)}")
            continue
        begins, ends = _date(reader, row, "beginDate"), _date(reader, row, "endDate")
        # The end date is the first day on which somebody is no longer enrolled.
        if (begins is not None and begins > today) or (ends is not None and ends <= today):
            continue
        if role is Role.LEARNER and user_id in roster.learners:
            roster.relations.add((RelationKind.ENROLLED, user_id, class_id))
        elif role is Role.TEACHER and roster.users[user_id].role is Role.TEACHER:
            roster.relations.add((RelationKind.TEACHES, user_id, class_id))
        else:
            reader.complain(row, "role", "does not fit the person's role in users.csv")


def _is_id(reader: _Reader, row: _Row, name: str, what: str) -> bool:
    try:
        checked_id(row[name], what)
    except InvalidInputError as error:
        reader.complain(row, name, str(error))
        return False
    return True


def _email(reader: _Reader, row: _Row) -> str:
    try:
        return normalised_email(row["email"]) if row["email"] else ""
    except InvalidInputError as error:
        reader.complain(row, "email", str(error))
        return ""


def _name(reader: _Reader, row: _Row) -> str:
    given = row["preferredGivenName"] or row["preferredFirstName"] or row["givenName"]
    return _checked_name(reader, row, "givenName", f"{given} {row['familyName']}")


def _checked_name(reader: _Reader, row: _Row, name: str, text: str) -> str:
    try:
        return checked_display_name(text)
    except InvalidInputError as error:
        reader.complain(row, name, str(error))
        return ""


def _date(reader: _Reader, row: _Row, name: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(row[name]) if row[name] else None
    except ValueError:
        reader.complain(row, name, "must be a date like 2026-09-01")
        return None
