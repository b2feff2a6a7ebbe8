"""People and classes of a running stack, made through the auth service's admin calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc

from aivo.auth.v1 import auth_pb2 as pb
from aivo.auth.v1 import auth_pb2_grpc

CALL_TIMEOUT_S = 10.0

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]


class SeedingError(Exception):
    """The auth service did not do what was asked; the message says what and why."""


class Registry:
    """The auth service's admin calls, as the demonstration, tests and replays need them."""

    def __init__(self, channel: grpc.Channel, metadata: Metadata) -> None:
        """Use an open channel; `metadata` carries the service credential."""
        self._stub = auth_pb2_grpc.AuthServiceStub(channel)
        self._metadata = metadata

    def add_class(self, class_id: str, name: str) -> None:
        """Make a class, unless it exists."""
        self._unless_exists(
            self._stub.CreateClass, pb.CreateClassRequest(class_id=class_id, display_name=name)
        )

    def add_learner(self, learner_id: str, name: str = "") -> None:
        """Make a learner, unless it exists."""
        self._unless_exists(
            self._stub.CreateLearner,
            pb.CreateLearnerRequest(learner_id=learner_id, display_name=name),
        )

    def relate(self, kind: str, subject: str, target: str) -> None:
        """Relate two parties; `kind` is is_learner, guardian_of, teaches or enrolled. Repeating it
        changes nothing.
        """
        relation = pb.Relation(
            kind=pb.RelationKind.Value(f"RELATION_KIND_{kind.upper()}"),
            subject=subject,
            object=target,
        )
        self._call(self._stub.AddRelation, pb.AddRelationRequest(relation=relation))

    def users_by_email(self) -> dict[str, str]:
        """Return the id of every user."""
        found: dict[str, str] = {}
        token = ""
        while True:
            page = self._call(
                self._stub.ListUsers, pb.ListUsersRequest(page_size=1000, page_token=token)
            )
            found.update((user.email, user.user_id) for user in page.users)
            token = page.next_page_token
            if not token:
                return found

    def add_user(self, email: str, password: str, role: str, name: str = "") -> str:
        """Make a user and return the id."""
        request = pb.CreateUserRequest(
            email=email,
            password=password,
            role=pb.Role.Value(f"ROLE_{role.upper()}"),
            display_name=name,
        )
        return self._call(self._stub.CreateUser, request).user.user_id

    def set_password(self, user_id: str, password: str) -> None:
        """Replace a password; all sessions of the user end."""
        self._call(
            self._stub.SetPassword, pb.SetPasswordRequest(user_id=user_id, password=password)
        )

    def _unless_exists(self, method: Callable[..., object], request: object) -> None:
        try:
            self._call(method, request)
        except SeedingError as failure:
            cause = failure.__cause__
            if (
                not isinstance(cause, grpc.RpcError)
                or cause.code() is not grpc.StatusCode.ALREADY_EXISTS
            ):
                raise

    def _call(self, method: Callable[..., T], request: object) -> T:
        try:
            return method(request, metadata=self._metadata, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            name = type(request).__name__.removesuffix("Request")
            raise SeedingError(f"{name}: {error.code().name}: {error.details()}") from error
