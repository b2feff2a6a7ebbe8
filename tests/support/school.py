"""A small school in a running stack: one of each kind of person, made through the auth service,
logged in over HTTP.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc

from harness.registry import Registry
from harness.stack import Stack

PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """Ada and Ben are learners of class 5a; the teacher teaches it; the parent is Ada's; the
    stranger is nobody's.
    """

    stack: Stack
    registry: Registry
    users: dict[str, str]
    """User id by e-mail address."""
    secrets: set[str] = field(default_factory=set, repr=False)
    """Every token given out, and the password; none may turn up in a log."""

    def login(self, name: str) -> dict[str, Any]:
        """Log in as ada, ben, teacher, parent, stranger or admin and return the tokens."""
        credentials = {"email": f"{name}@school.example", "password": PASSWORD}
        status, tokens = request(self.stack, "POST", "/api/auth/login", credentials)
        assert status == 200, tokens
        self.secrets.update((PASSWORD, tokens["access_token"], tokens["refresh_token"]))
        return dict(tokens)

    def token(self, name: str) -> str:
        """Return an access token."""
        return str(self.login(name)["access_token"])

    def user_id(self, name: str) -> str:
        """Return a user's id."""
        return self.users[f"{name}@school.example"]

    def add_learner(self, learner_id: str) -> str:
        """Enrol one more learner, with a login of the same name, and return the id."""
        self.registry.add_learner(learner_id)
        self.registry.relate("enrolled", learner_id, "5a")
        user_id = self.registry.add_user(f"{learner_id}@school.example", PASSWORD, "learner")
        self.registry.relate("is_learner", user_id, learner_id)
        self.users[f"{learner_id}@school.example"] = user_id
        return learner_id

    def new_learner(self, name: str = "l") -> str:
        """Enrol a learner whom no other test has touched, and return the id: `name` and more."""
        return self.add_learner(f"{name}-{uuid.uuid4().hex[:12]}")


def found_school(stack: Stack) -> School:
    """Make the school in a running stack."""
    channel = grpc.insecure_channel(stack.address("auth"))
    registry = Registry(channel, stack.metadata)
    registry.add_class("5a", "Class 5a")
    users = {}
    for name, role in (
        ("teacher", "teacher"),
        ("parent", "guardian"),
        ("stranger", "guardian"),
        ("admin", "admin"),
    ):
        users[f"{name}@school.example"] = registry.add_user(
            f"{name}@school.example", PASSWORD, role
        )
    school = School(stack=stack, registry=registry, users=users)
    for name in ("ada", "ben"):
        school.add_learner(name)
    registry.relate("teaches", school.user_id("teacher"), "5a")
    registry.relate("guardian_of", school.user_id("parent"), "ada")
    return school


def request(
    stack: Stack, method: str, path: str, body: Any = None, token: str | None = None
) -> tuple[int, Any]:
    """Make an HTTP request and return the status and the decoded body."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(stack.http_url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else text
