"""The file with the people who can log in, `demo-users.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.files import write_secret

LOAD_TEST = "loadtest@school.example"
"""Who load tests log in as; nobody simulates this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone of the demonstration who can log in: an entry of `demo-users.json`."""

    email: str
    password: str
    role: str
    """learner, guardian, teacher or admin."""
    user_id: str
    learners: tuple[str, ...]
    """Learners that the person is, is guardian of, or teaches; all of them for an admin."""


class UsersFileError(Exception):
    """The file is not what it should be; the message says what to do."""


def read_users(path: Path) -> list[Person]:
    """Return the people of a `demo-users.json`; none when there is no such file. Raises
    UsersFileError for nonsense.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [Person(**entry | {"learners": tuple(entry["learners"])}) for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise UsersFileError(
            f"{path} is not a list of users; delete it to have it made again"
        ) from error


def draft_of(path: Path) -> Path:
    """Return where the people of a file are kept who are not all made yet."""
    return path.with_name(f".{path.name}.draft")


def write_users(path: Path, people: Iterable[Person]) -> None:
    """Write a `demo-users.json` that only its owner can read."""
    write_secret(path, json.dumps([asdict(person) for person in people], indent=2) + "\n")
