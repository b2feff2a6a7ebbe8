"""Translates between `aivo.auth.v1` and this service's own values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio

from aivo.auth.v1 import auth_pb2 as pb
from aivo.auth.v1 import auth_pb2_grpc
from auth_service.administration import Administration
from auth_service.counters import AuthCounters
from auth_service.directory import Directory
from auth_service.domain import (
    Action,
    AlreadyExistsError,
    Change,
    InvalidInputError,
    Learner,
    NotFoundError,
    Relation,
    RelationKind,
    Role,
    User,
)
from auth_service.fair_queue import TooManyWaitingError
from auth_service.login_limits import TooManyAttemptsError, UnauthenticatedError
from auth_service.passwords import TooManyHashesError
from auth_service.provider import ProviderError
from auth_service.revocations import Broadcaster, WatchCutError
from auth_service.sessions import Grant, Identity, Sessions
from auth_service.sign_in import SignIn
from auth_service.store import StoreUnavailableError
from auth_service.tokens import Tokens
from service_runtime.errors import ErrorTable
from service_runtime.streams import StoppingError, Streams

ERRORS = ErrorTable(
    {
        InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
        UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
        TooManyAttemptsError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        ProviderError: grpc.StatusCode.UNAVAILABLE,
        TooManyHashesError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        TooManyWaitingError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        NotFoundError: grpc.StatusCode.NOT_FOUND,
        AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
        StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
        WatchCutError: grpc.StatusCode.DATA_LOSS,
        StoppingError: grpc.StatusCode.UNAVAILABLE,
    }
)

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["AuthService"].full_name

_MAX_BATCH = 1024
_MAX_OWN_LEARNERS = 16

_ROLES = {
    pb.ROLE_LEARNER: Role.LEARNER,
    pb.ROLE_GUARDIAN: Role.GUARDIAN,
    pb.ROLE_TEACHER: Role.TEACHER,
    pb.ROLE_ADMIN: Role.ADMIN,
}
_ROLE_NUMBERS = {role: number for number, role in _ROLES.items()}
_ACTIONS = {
    pb.ACTION_WATCH: Action.WATCH,
    pb.ACTION_INTERACT: Action.INTERACT,
    pb.ACTION_JOIN: Action.JOIN,
    pb.ACTION_SPEAK: Action.SPEAK,
    pb.ACTION_ADMINISTER: Action.ADMINISTER,
}
_RELATION_KINDS = {
    pb.RELATION_KIND_IS_LEARNER: RelationKind.IS_LEARNER,
    pb.RELATION_KIND_GUARDIAN_OF: RelationKind.GUARDIAN_OF,
    pb.RELATION_KIND_TEACHES: RelationKind.TEACHES,
    pb.RELATION_KIND_ENROLLED: RelationKind.ENROLLED,
}


@ERRORS.guard
class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """Serves `aivo.auth.v1.AuthService`; the contract says what each method promises."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        sign_in: SignIn,
        passwords: bool,
        administration: Administration,
        directory: Directory,
        broadcaster: Broadcaster,
        tokens: Tokens,
        decision_ttl_s: float,
        heartbeat_s: float,
        counters: AuthCounters,
    ) -> None:
        self._sessions = sessions
        self._sign_in = sign_in
        self._passwords = passwords
        self._administration = administration
        self._directory = directory
        self._broadcaster = broadcaster
        self._tokens = tokens
        self._decision_ttl_ms = round(decision_ttl_s * 1000)
        self._heartbeat_s = heartbeat_s
        self._counters = counters
        self._streams = Streams()

    def drain(self) -> None:
        """End all endless streams with UNAVAILABLE, after sending what is queued."""
        self._streams.stop()

    async def Login(self, request: pb.LoginRequest, context: Any) -> pb.LoginResponse:
        """Exchange an e-mail address and password for tokens."""
        if not self._passwords:
            raise UnauthenticatedError("passwords are switched off here; sign in at your provider")
        grant = await self._sessions.login(
            request.email, request.password, request.client_address, request.device_token
        )
        return pb.LoginResponse(
            tokens=_tokens(grant), user=_user(grant.user), device_token=grant.device_token
        )

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Any
    ) -> pb.ListProvidersResponse:
        """Return how people may sign in."""
        listed = [
            pb.Provider(provider_id=name, label=label)
            for name, label in self._sign_in.listed().items()
        ]
        return pb.ListProvidersResponse(providers=listed, passwords=self._passwords)

    async def BeginSignIn(
        self, request: pb.BeginSignInRequest, context: Any
    ) -> pb.BeginSignInResponse:
        """Start signing in at a provider."""
        address, flow = await self._sign_in.begin(request.provider_id, request.redirect_uri)
        return pb.BeginSignInResponse(address=address, flow=flow)

    async def FinishSignIn(
        self, request: pb.FinishSignInRequest, context: Any
    ) -> pb.FinishSignInResponse:
        """Exchange what the browser brought back for tokens."""
        grant, provider_id = await self._sign_in.finish(
            request.flow, request.state, request.code, request.redirect_uri
        )
        return pb.FinishSignInResponse(
            tokens=_tokens(grant), user=_user(grant.user), provider_id=provider_id
        )

    async def GetLogoutAddress(
        self, request: pb.GetLogoutAddressRequest, context: Any
    ) -> pb.GetLogoutAddressResponse:
        """Return where the browser signs out at a provider."""
        address = await self._sign_in.logout_address(request.provider_id, request.return_to)
        return pb.GetLogoutAddressResponse(address=address)

    async def Refresh(self, request: pb.RefreshRequest, context: Any) -> pb.RefreshResponse:
        """Exchange a refresh token for new tokens."""
        grant = await self._sessions.refresh(request.refresh_token, request.request_id)
        return pb.RefreshResponse(tokens=_tokens(grant), user=_user(grant.user))

    async def Logout(self, request: pb.LogoutRequest, context: Any) -> pb.LogoutResponse:
        """End a session; its revocation is published before the answer."""
        await self._sessions.logout(request.refresh_token, request.access_token)
        return pb.LogoutResponse()

    async def Authenticate(
        self, request: pb.AuthenticateRequest, context: Any
    ) -> pb.AuthenticateResponse:
        """Return whom access tokens belong to."""
        _check_batch(len(request.tokens), "tokens")
        answers = await self._sessions.authenticate(request.tokens)
        return pb.AuthenticateResponse(
            authentications=[self._authentication(answer) for answer in answers]
        )

    async def CheckSessions(
        self, request: pb.CheckSessionsRequest, context: Any
    ) -> pb.CheckSessionsResponse:
        """Return which sessions are still valid."""
        _check_batch(len(request.queries), "queries")
        return pb.CheckSessionsResponse(
            standing=[
                self._sessions.stands(query.user_id, query.session_id) for query in request.queries
            ]
        )

    async def Authorize(self, request: pb.AuthorizeRequest, context: Any) -> pb.AuthorizeResponse:
        """Decide what people may do; an unspecified action is refused."""
        _check_batch(len(request.queries), "queries")
        return pb.AuthorizeResponse(
            decisions=[
                pb.Decision(allowed=self._allowed(query), ttl_ms=self._decision_ttl_ms)
                for query in request.queries
            ]
        )

    async def ListLearners(
        self, request: pb.ListLearnersRequest, context: Any
    ) -> pb.ListLearnersResponse:
        """Return the learners that a user may watch; none for an unknown user."""
        return pb.ListLearnersResponse(
            learners=[_learner(learner) for learner in self._directory.watchable(request.user_id)]
        )

    async def FindLearners(
        self, request: pb.FindLearnersRequest, context: Any
    ) -> pb.FindLearnersResponse:
        """Return which learners people are."""
        _check_batch(len(request.emails), "emails")
        found = await self._administration.find_learners(request.emails)
        return pb.FindLearnersResponse(learner_ids=found)

    async def NoteRecords(
        self, request: pb.NoteRecordsRequest, context: Any
    ) -> pb.NoteRecordsResponse:
        """Record in the audit log who sent learning records."""
        _check_batch(len(request.learner_ids), "learner_ids")
        await self._administration.note_records(
            request.user_id,
            request.learner_ids,
            stored=request.stored,
            duplicates=request.duplicates,
            refused=request.refused,
        )
        return pb.NoteRecordsResponse()

    async def GetJwks(self, request: pb.GetJwksRequest, context: Any) -> pb.GetJwksResponse:
        """Return the public keys, coming ones included."""
        return pb.GetJwksResponse(jwks_json=self._tokens.jwks())

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: Any
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """Stream the changes that invalidate cached decisions; DATA_LOSS for a stream that lags too
        far behind.
        """
        with self._broadcaster.watch() as watch:
            # Sent once the stream is registered: it gets every change to what the caller asks from
            # now on.
            yield pb.WatchRevocationsResponse()
            batches = watch.batches(self._heartbeat_s)
            try:
                while True:
                    yield _revocations(await self._streams.wait(batches.__anext__))
            except StoppingError:
                yield _revocations(watch.take())  # what was revoked a moment ago still goes out
                raise

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: Any
    ) -> pb.CreateUserResponse:
        """Add a user."""
        role = _ROLES.get(request.role)
        if role is None:
            raise InvalidInputError("role must be learner, guardian, teacher or admin")
        user = await self._administration.create_user(
            request.email, request.password, role, request.display_name
        )
        return pb.CreateUserResponse(user=_user(user))

    async def GetUser(self, request: pb.GetUserRequest, context: Any) -> pb.GetUserResponse:
        """Return one user."""
        return pb.GetUserResponse(user=_user(await self._administration.get_user(request.user_id)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Any) -> pb.ListUsersResponse:
        """Return a page of users."""
        page = await self._administration.list_users(request.page_size, request.page_token)
        return pb.ListUsersResponse(
            users=[_user(user) for user in page.users], next_page_token=page.next_page_token
        )

    async def SetUserDisabled(
        self, request: pb.SetUserDisabledRequest, context: Any
    ) -> pb.SetUserDisabledResponse:
        """Disable or enable a user."""
        user = await self._administration.set_disabled(request.user_id, request.disabled)
        return pb.SetUserDisabledResponse(user=_user(user))

    async def SetPassword(
        self, request: pb.SetPasswordRequest, context: Any
    ) -> pb.SetPasswordResponse:
        """Replace a password."""
        await self._administration.set_password(request.user_id, request.password)
        return pb.SetPasswordResponse()

    async def CreateLearner(
        self, request: pb.CreateLearnerRequest, context: Any
    ) -> pb.CreateLearnerResponse:
        """Add a learner."""
        learner = await self._administration.create_learner(
            request.learner_id, request.display_name
        )
        return pb.CreateLearnerResponse(learner=_learner(learner))

    async def DeleteLearner(
        self, request: pb.DeleteLearnerRequest, context: Any
    ) -> pb.DeleteLearnerResponse:
        """Remove a learner with all relations."""
        await self._administration.delete_learner(request.learner_id)
        return pb.DeleteLearnerResponse()

    async def CreateClass(
        self, request: pb.CreateClassRequest, context: Any
    ) -> pb.CreateClassResponse:
        """Add a class."""
        class_id = await self._administration.create_class(request.class_id, request.display_name)
        return pb.CreateClassResponse(class_id=class_id)

    async def AddRelation(
        self, request: pb.AddRelationRequest, context: Any
    ) -> pb.AddRelationResponse:
        """Relate two parties."""
        await self._administration.add_relation(_relation(request.relation))
        return pb.AddRelationResponse()

    async def RemoveRelation(
        self, request: pb.RemoveRelationRequest, context: Any
    ) -> pb.RemoveRelationResponse:
        """Remove a relation."""
        await self._administration.remove_relation(_relation(request.relation))
        return pb.RemoveRelationResponse()

    def _allowed(self, query: pb.AuthorizeQuery) -> bool:
        action = _ACTIONS.get(query.action)
        allowed = action is not None and self._directory.may(query.user_id, action, query.resource)
        self._counters.decisions[allowed] += 1
        return allowed

    def _authentication(self, answer: Identity | str) -> pb.Authentication:
        if isinstance(answer, str):
            return pb.Authentication(error=answer)
        return pb.Authentication(
            identity=pb.Identity(
                user_id=answer.user_id,
                role=_ROLE_NUMBERS[answer.role],
                session_id=answer.session_id,
                expires_at_ms=answer.expires_at_ms,
                expires_in_ms=answer.expires_in_ms,
                display_name=answer.display_name,
                own_learners=self._directory.own_learners(answer.user_id, _MAX_OWN_LEARNERS),
                decision_ttl_ms=self._decision_ttl_ms,
            )
        )


def register(servicer: AuthServicer, server: grpc.aio.Server) -> None:
    """Make a server answer calls of the contract with this servicer."""
    auth_pb2_grpc.add_AuthServiceServicer_to_server(servicer, server)


def _check_batch(length: int, what: str) -> None:
    if length > _MAX_BATCH:
        raise InvalidInputError(f"at most {_MAX_BATCH} {what} fit in one call")


def _tokens(grant: Grant) -> pb.Tokens:
    return pb.Tokens(
        access_token=grant.access_token,
        expires_in_s=grant.expires_in_s,
        refresh_token=grant.refresh_token,
        refresh_expires_in_s=grant.refresh_expires_in_s,
    )


def _user(user: User) -> pb.User:
    return pb.User(
        user_id=user.user_id,
        email=user.email,
        role=_ROLE_NUMBERS[user.role],
        display_name=user.display_name,
        disabled=user.disabled,
        created_at_ms=user.created_at_ms,
    )


def _learner(learner: Learner) -> pb.Learner:
    return pb.Learner(
        learner_id=learner.learner_id,
        display_name=learner.display_name,
        class_ids=sorted(learner.class_ids),
        class_names=learner.class_names,
    )


def _revocations(changes: Iterable[Change]) -> pb.WatchRevocationsResponse:
    return pb.WatchRevocationsResponse(
        revocations=[
            pb.Revocation(
                user_id=change.user_id,
                session_id=change.session_id,
                all_sessions=change.all_sessions,
                learner_id=change.learner_id,
            )
            for change in changes
        ]
    )


def _relation(relation: pb.Relation) -> Relation:
    kind = _RELATION_KINDS.get(relation.kind)
    if kind is None:
        raise InvalidInputError("relation.kind must be given")
    return Relation(kind=kind, subject=relation.subject, object=relation.object)
