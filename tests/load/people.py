"""Who the load test connects as and for which learners they may act: as the server says, or in a
stack of its own.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import grpc

from demo.users import UsersFileError, read_users
from harness.client import DisconnectedError, post
from harness.client import RefusedError as LoginRefused
from harness.registry import Registry
from harness.stack import Stack, private_stack
from tests.load.client import Client, RefusedError, Run

PRIVATE_LEARNERS: Final = 100
_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 4


class CannotStartError(Exception):
    """The load test has nobody to drive, or must not run like this; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone whose token is used by any number of connections."""

    token: str
    drives: tuple[str, ...]
    """Learners that this person may act for."""
    watches: tuple[str, ...]
    """Learners that this person may watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What the server tells a first connection about itself and the token."""

    role: str
    limits: dict[str, float]
    expires_at: datetime


async def ask_greeting(run: Run, token: str) -> Greeting:
    """Connect once and return what the server tells. Raises CannotStartError."""
    probe = Client(run, -1, token=token, drives=None, watches={})
    try:
        await probe.open()
    except RefusedError as refused:
        raise CannotStartError(f"the server refuses the connection: {refused}") from None
    assert probe.greeting is not None
    found = probe.greeting
    probe.end()
    return Greeting(
        role=str(found["user"].get("role", "")),
        limits=found["limits"],
        expires_at=datetime.fromisoformat(found["expires_at"]),
    )


def person_of(token: str, role: str, http_url: str, chosen: Sequence[str]) -> Person:
    """Return what the owner of a token may do; blocks. Raises CannotStartError."""
    learners = tuple(chosen) or _learners(http_url, token)
    return Person(
        token=token, drives=learners if role in ("learner", "admin") else (), watches=learners
    )


def people_of(users_file: Path, http_url: str, chosen: Sequence[str]) -> list[Person]:
    """Log everybody of a demo-users.json in; blocks. Raises CannotStartError."""
    try:
        users = read_users(users_file)
    except UsersFileError as error:
        raise CannotStartError(str(error)) from None
    if not users:
        raise CannotStartError(
            f"{users_file} does not exist or names nobody; `make run` writes .aivo/demo-users.json"
        )

    def log_in(email: str, password: str) -> str:
        try:
            return str(
                post(f"{http_url}/api/auth/login", {"email": email, "password": password})[
                    "access_token"
                ]
            )
        except (LoginRefused, DisconnectedError) as error:
            raise CannotStartError(f"{email} cannot log in: {error}") from None

    with ThreadPoolExecutor(_AT_ONCE) as workers:
        tokens = list(workers.map(lambda user: log_in(user.email, user.password), users))
    people = []
    for user, token in zip(users, tokens, strict=True):
        learners = tuple(one for one in user.learners if not chosen or one in chosen)
        drives = learners if user.role in ("learner", "admin") else ()
        people.append(Person(token=token, drives=drives, watches=learners))
    return people


def _learners(http_url: str, token: str) -> tuple[str, ...]:
    request = urllib.request.Request(
        f"{http_url}/api/learners", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            found: list[dict[str, Any]] = json.load(answer)["learners"]
    except (OSError, ValueError, KeyError) as error:
        raise CannotStartError(
            f"{http_url}/api/learners: {error}; name learners with --learner"
        ) from None
    return tuple(one["learner_id"] for one in found)


@contextlib.contextmanager
def private_admin(**env: str) -> Iterator[tuple[Stack, str]]:
    """Run a stack of our own with learners in it; yield it and an admin's token."""
    with private_stack(env=env) as stack:
        password = secrets.token_urlsafe(16)
        email = "load@test.example"
        with grpc.insecure_channel(stack.address("auth")) as channel:
            registry = Registry(channel, stack.metadata)
            registry.add_user(email, password, "admin")
            for number in range(PRIVATE_LEARNERS):
                registry.add_learner(f"load-{number}")
        tokens = post(f"{stack.http_url}/api/auth/login", {"email": email, "password": password})
        yield stack, str(tokens["access_token"])
