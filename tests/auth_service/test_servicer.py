"""The translation to and from the contract, without a network."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service import servicer as room
from auth_service.administration import UserPage
from auth_service.counters import AuthCounters
from auth_service.directory import Directory
from auth_service.domain import (
    Action,
    AlreadyExistsError,
    Change,
    InvalidInputError,
    Learner,
    NotFoundError,
    Person,
    Relation,
    RelationKind,
    Role,
    User,
)
from auth_service.passwords import TooManyHashesError
from auth_service.revocations import Broadcaster
from auth_service.servicer import AuthServicer
from auth_service.sessions import Grant, Identity, TooManyAttemptsError, UnauthenticatedError
from auth_service.store import StoreUnavailableError
from auth_service.tokens import KeySet, Tokens
from service_runtime.errors import INTERNAL_DETAILS
from tests.support.grpc_unit import UnitServer

SERVICE = pb.DESCRIPTOR.services_by_name["AuthService"]
ANN = User(
    user_id="u1",
    email="ann@x.y",
    role=Role.GUARDIAN,
    display_name="Ann",
    disabled=True,
    created_at_ms=7,
)
ANN_MESSAGE = pb.User(
    user_id="u1",
    email="ann@x.y",
    role=pb.ROLE_GUARDIAN,
    display_name="Ann",
    disabled=True,
    created_at_ms=7,
)
GRANT = Grant(
    access_token="access",
    expires_in_s=900,
    refresh_token="refresh",
    refresh_expires_in_s=9999,
    user=ANN,
)
TOKENS_MESSAGE = pb.Tokens(
    access_token="access", expires_in_s=900, refresh_token="refresh", refresh_expires_in_s=9999
)


class Recorder:
    """Answers every method with the same value or exception, and remembers what it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked: tuple[str, tuple[Any, ...]] | None = None

    def __getattr__(self, name: str) -> Any:
        async def method(*arguments: Any) -> Any:
            self.asked = (
                name,
                tuple(list(each) if name == "authenticate" else each for each in arguments),
            )
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return method


def unit(**fakes: Any) -> UnitServer:
    return UnitServer({SERVICE: servicer(**fakes)})


def servicer(
    *,
    sessions: Recorder | None = None,
    administration: Recorder | None = None,
    broadcaster: Broadcaster | None = None,
) -> Any:
    directory = Directory()
    directory.load(
        [
            Person(user_id="parent", role=Role.GUARDIAN, wards=frozenset({"l"})),
            Person(user_id="lea", role=Role.LEARNER, own_learners=frozenset({"l", "erased"})),
        ],
        [Learner(learner_id="l", display_name="Lea", class_ids=frozenset({"c2", "c1"}))],
        {},
    )
    return AuthServicer(
        sessions=sessions or Recorder(),
        sign_in=Recorder(),
        passwords=True,
        administration=administration or Recorder(),
        directory=directory,
        broadcaster=Broadcaster(10) if broadcaster is None else broadcaster,
        tokens=Tokens(KeySet.make(0), issuer="aivo", clock=lambda: 0.0),
        decision_ttl_s=1.5,
        heartbeat_s=60.0,
        counters=AuthCounters(),
    )


@pytest.mark.parametrize(
    ("error", "code", "trailing"),
    [
        (InvalidInputError("why"), grpc.StatusCode.INVALID_ARGUMENT, ()),
        (UnauthenticatedError("why"), grpc.StatusCode.UNAUTHENTICATED, ()),
        (
            TooManyAttemptsError(1.5),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            (("retry-after-ms", "1500"),),
        ),
        (
            TooManyHashesError("why"),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            (("retry-after-ms", "1000"),),
        ),
        (NotFoundError("why"), grpc.StatusCode.NOT_FOUND, ()),
        (AlreadyExistsError("why"), grpc.StatusCode.ALREADY_EXISTS, ()),
        (StoreUnavailableError("why"), grpc.StatusCode.UNAVAILABLE, ()),
    ],
)
def test_each_exception_has_its_status(
    error: Exception, code: grpc.StatusCode, trailing: tuple[tuple[str, str], ...]
) -> None:
    reply = unit(sessions=Recorder(error)).unary("Login", pb.LoginRequest())

    assert (reply.code, reply.details, reply.trailing) == (code, str(error), trailing)


def test_an_unexpected_exception_tells_nothing() -> None:
    reply = unit(sessions=Recorder(RuntimeError("secret"))).unary("Login", pb.LoginRequest())

    assert (reply.code, reply.details) == (grpc.StatusCode.INTERNAL, INTERNAL_DETAILS)


CALLS = [
    (
        "Login",
        pb.LoginRequest(email="e", password="p", client_address="a"),
        GRANT,
        ("login", ("e", "p", "a", "")),
        pb.LoginResponse(tokens=TOKENS_MESSAGE, user=ANN_MESSAGE),
    ),
    (
        "Refresh",
        pb.RefreshRequest(refresh_token="r", request_id="once"),
        GRANT,
        ("refresh", ("r", "once")),
        pb.RefreshResponse(tokens=TOKENS_MESSAGE, user=ANN_MESSAGE),
    ),
    (
        "Logout",
        pb.LogoutRequest(refresh_token="r", access_token="a"),
        None,
        ("logout", ("r", "a")),
        pb.LogoutResponse(),
    ),
    (
        "Authenticate",
        pb.AuthenticateRequest(tokens=["t", "u"]),
        [
            Identity(
                user_id="u1",
                role=Role.TEACHER,
                session_id="s",
                expires_at_ms=5,
                expires_in_ms=7,
                display_name="Ann",
            ),
            "why not",
        ],
        ("authenticate", (["t", "u"],)),
        pb.AuthenticateResponse(
            authentications=[
                pb.Authentication(
                    identity=pb.Identity(
                        user_id="u1",
                        role=pb.ROLE_TEACHER,
                        session_id="s",
                        expires_at_ms=5,
                        expires_in_ms=7,
                        display_name="Ann",
                        decision_ttl_ms=1500,
                    )
                ),
                pb.Authentication(error="why not"),
            ]
        ),
    ),
    (
        "CreateUser",
        pb.CreateUserRequest(email="e", password="p", role=pb.ROLE_ADMIN, display_name="n"),
        ANN,
        ("create_user", ("e", "p", Role.ADMIN, "n")),
        pb.CreateUserResponse(user=ANN_MESSAGE),
    ),
    (
        "GetUser",
        pb.GetUserRequest(user_id="u1"),
        ANN,
        ("get_user", ("u1",)),
        pb.GetUserResponse(user=ANN_MESSAGE),
    ),
    (
        "ListUsers",
        pb.ListUsersRequest(page_size=3, page_token="t"),
        UserPage(users=(ANN,), next_page_token="n"),
        ("list_users", (3, "t")),
        pb.ListUsersResponse(users=[ANN_MESSAGE], next_page_token="n"),
    ),
    (
        "SetUserDisabled",
        pb.SetUserDisabledRequest(user_id="u1", disabled=True),
        ANN,
        ("set_disabled", ("u1", True)),
        pb.SetUserDisabledResponse(user=ANN_MESSAGE),
    ),
    (
        "SetPassword",
        pb.SetPasswordRequest(user_id="u1", password="p"),
        None,
        ("set_password", ("u1", "p")),
        pb.SetPasswordResponse(),
    ),
    (
        "CreateLearner",
        pb.CreateLearnerRequest(learner_id="l", display_name="n"),
        Learner(learner_id="l", display_name="n", class_ids=frozenset({"b", "a"})),
        ("create_learner", ("l", "n")),
        pb.CreateLearnerResponse(
            learner=pb.Learner(learner_id="l", display_name="n", class_ids=["a", "b"])
        ),
    ),
    (
        "DeleteLearner",
        pb.DeleteLearnerRequest(learner_id="l"),
        None,
        ("delete_learner", ("l",)),
        pb.DeleteLearnerResponse(),
    ),
    (
        "CreateClass",
        pb.CreateClassRequest(class_id="c", display_name="n"),
        "c",
        ("create_class", ("c", "n")),
        pb.CreateClassResponse(class_id="c"),
    ),
    (
        "AddRelation",
        pb.AddRelationRequest(
            relation=pb.Relation(kind=pb.RELATION_KIND_TEACHES, subject="u", object="c")
        ),
        None,
        ("add_relation", (Relation(kind=RelationKind.TEACHES, subject="u", object="c"),)),
        pb.AddRelationResponse(),
    ),
    (
        "RemoveRelation",
        pb.RemoveRelationRequest(
            relation=pb.Relation(kind=pb.RELATION_KIND_ENROLLED, subject="l", object="c")
        ),
        None,
        ("remove_relation", (Relation(kind=RelationKind.ENROLLED, subject="l", object="c"),)),
        pb.RemoveRelationResponse(),
    ),
]


@pytest.mark.parametrize(
    ("method", "request_", "answer", "asked", "response"), CALLS, ids=lambda each: str(each)[:20]
)
def test_each_call_is_passed_on_and_answered(
    method: str, request_: Any, answer: Any, asked: tuple[str, Any], response: Any
) -> None:
    sessions, administration = Recorder(answer), Recorder(answer)

    reply = unit(sessions=sessions, administration=administration).unary(method, request_)

    assert (reply.code, reply.response) == (grpc.StatusCode.OK, response)
    assert asked == (sessions.asked or administration.asked)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("CreateUser", pb.CreateUserRequest(email="e", password="p")),
        ("CreateUser", pb.CreateUserRequest(email="e", password="p", role=99)),
        ("AddRelation", pb.AddRelationRequest()),
        ("RemoveRelation", pb.RemoveRelationRequest(relation=pb.Relation(kind=99))),
        ("Authenticate", pb.AuthenticateRequest(tokens=["t"] * 1025)),
        ("Authorize", pb.AuthorizeRequest(queries=[pb.AuthorizeQuery()] * 1025)),
        ("FindLearners", pb.FindLearnersRequest(emails=["ann@x.y"] * 1025)),
        ("NoteRecords", pb.NoteRecordsRequest(user_id="u1", learner_ids=["l"] * 1025)),
    ],
)
def test_what_the_contract_refuses_is_refused_before_anything_is_asked(
    method: str, request_: Any
) -> None:
    sessions, administration = Recorder(), Recorder()

    reply = unit(sessions=sessions, administration=administration).unary(method, request_)

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert sessions.asked is None
    assert administration.asked is None


def test_a_learner_is_told_ahead_for_whom_they_may_act() -> None:
    lea = Identity(
        user_id="lea",
        role=Role.LEARNER,
        session_id="s",
        expires_at_ms=5,
        expires_in_ms=7,
        display_name="Lea",
    )

    reply = unit(sessions=Recorder([lea])).unary(
        "Authenticate", pb.AuthenticateRequest(tokens=["t"])
    )

    identity = reply.response.authentications[0].identity
    assert (list(identity.own_learners), identity.decision_ttl_ms) == (["l"], 1500)


def test_decisions_come_in_order_with_their_time_to_live() -> None:
    queries = [
        pb.AuthorizeQuery(user_id="parent", action=pb.ACTION_WATCH, resource="l"),
        pb.AuthorizeQuery(user_id="parent", action=pb.ACTION_INTERACT, resource="l"),
        pb.AuthorizeQuery(user_id="parent", action=pb.ACTION_JOIN, resource="class:c1"),
        pb.AuthorizeQuery(user_id="parent", action=pb.ACTION_ADMINISTER),
        pb.AuthorizeQuery(user_id="parent", resource="l"),
        pb.AuthorizeQuery(user_id="nobody", action=pb.ACTION_WATCH, resource="l"),
    ]

    reply = unit().unary("Authorize", pb.AuthorizeRequest(queries=queries))

    assert [each.allowed for each in reply.response.decisions] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]
    assert {each.ttl_ms for each in reply.response.decisions} == {1500}


def test_every_name_of_the_contract_is_translated() -> None:
    assert set(room._ROLES) == set(pb.Role.values()) - {0}
    assert set(room._ROLES.values()) == set(Role)
    assert set(room._ACTIONS) == set(pb.Action.values()) - {0}
    assert set(room._ACTIONS.values()) == set(Action)
    assert set(room._RELATION_KINDS) == set(pb.RelationKind.values()) - {0}
    assert set(room._RELATION_KINDS.values()) == set(RelationKind)


def test_learners_and_keys_are_listed() -> None:
    learners = unit().unary("ListLearners", pb.ListLearnersRequest(user_id="parent")).response
    keys = unit().unary("GetJwks", pb.GetJwksRequest()).response

    assert learners.learners == [
        pb.Learner(learner_id="l", display_name="Lea", class_ids=["c1", "c2"])
    ]
    assert '"kty": "OKP"' in keys.jwks_json


class CutError(Exception):
    """The call was ended with a status."""


class Call:
    """What a method is told about its call."""

    code: grpc.StatusCode

    async def abort(self, code: grpc.StatusCode, *_: object) -> None:
        self.code = code
        raise CutError


CHANGES = (
    Change(user_id="u", session_id="s"),
    Change(user_id="v", all_sessions=True),
    Change(learner_id="l"),
)
TOLD = pb.WatchRevocationsResponse(
    revocations=[
        pb.Revocation(user_id="u", session_id="s"),
        pb.Revocation(user_id="v", all_sessions=True),
        pb.Revocation(learner_id="l"),
    ]
)


async def test_a_revocation_stream_starts_at_once_and_tells_changes() -> None:
    broadcaster = Broadcaster(10)
    stream = servicer(broadcaster=broadcaster).WatchRevocations(None, Call())

    assert await anext(stream) == pb.WatchRevocationsResponse()
    broadcaster.publish(CHANGES)
    assert await anext(stream) == TOLD
    await stream.aclose()


async def test_a_revocation_stream_tells_what_is_in_line_when_the_service_stops() -> None:
    broadcaster, call = Broadcaster(10), Call()
    auth = servicer(broadcaster=broadcaster)
    stream = auth.WatchRevocations(None, call)
    await anext(stream)
    broadcaster.publish(CHANGES)
    auth.drain()

    assert await anext(stream) == TOLD
    with pytest.raises(CutError):
        await anext(stream)
    assert call.code is grpc.StatusCode.UNAVAILABLE
    assert len(broadcaster) == 0


async def test_a_revocation_stream_that_missed_changes_fails() -> None:
    broadcaster, call = Broadcaster(1), Call()
    stream = servicer(broadcaster=broadcaster).WatchRevocations(None, call)
    await anext(stream)
    broadcaster.publish(CHANGES)

    with pytest.raises(CutError):
        await anext(stream)
    assert call.code is grpc.StatusCode.DATA_LOSS
