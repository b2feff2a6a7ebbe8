"""The auth service, as an edge calls it: questions in batches, revocations as they happen, logins
for the HTTP API.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from edge.admission.access import Access
from edge.admission.registry import Listed, Listing
from edge.ports import Done, Identity, UpstreamError
from edge.settings import EdgeSettings
from edge.telemetry.skew import Skew
from edge.telemetry.tracing import NoCallTraces, traces_of
from edge.upstream.batcher import Batcher
from edge.upstream.errors import sentence, translate
from service_runtime import telemetry
from service_runtime.credentials import is_credential_refused
from service_runtime.grpc_client import Channel

Response = TypeVar("Response")

_SERVICE = auth_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name

_ROLES = {
    auth_pb2.ROLE_LEARNER: "learner",
    auth_pb2.ROLE_GUARDIAN: "guardian",
    auth_pb2.ROLE_TEACHER: "teacher",
    auth_pb2.ROLE_ADMIN: "admin",
}
_ACTIONS = {
    "watch": auth_pb2.ACTION_WATCH,
    "interact": auth_pb2.ACTION_INTERACT,
    "join": auth_pb2.ACTION_JOIN,
    "speak": auth_pb2.ACTION_SPEAK,
    "administer": auth_pb2.ACTION_ADMINISTER,
}

_SESSIONS_PER_CALL = 1_000

KEYS_S = 10.0
"""How long public keys are cached: anybody may request them as often as they like."""


class AuthLink:
    """Calls the auth service."""

    def __init__(self, channel: Channel, settings: EdgeSettings) -> None:
        """Prepare; `run` and `follow_revocations` make it work."""
        self._stub = auth_pb2_grpc.AuthServiceStub(channel.channel)
        self._channel = channel
        self._metadata = channel.metadata
        self._patience_s = settings.upstream_s
        self._tokens = Batcher(
            self._authenticate,
            service="auth",
            max_batch=256,
            max_pending=settings.max_pending,
            traces=_traces(channel, "Authenticate"),
        )
        self._queries = Batcher(
            self._authorize,
            service="auth",
            max_batch=1024,
            max_pending=settings.max_pending,
            traces=_traces(channel, "Authorize"),
        )
        self._keys, self._keys_until = "", 0.0
        self.skew = Skew("auth")
        self.is_open = asyncio.Event()
        self.status = ""
        """The gRPC status that the stream of revocations ended with last; empty before that, and
        while it is open.
        """

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tokens.run())
            group.create_task(self._queries.run())

    @property
    def batchers(self) -> dict[str, Batcher[Any]]:
        """Batchers by the name of the call."""
        return {"Authenticate": self._tokens, "Authorize": self._queries}

    # For sockets

    def authenticate(self, token: str, done: Done[Identity]) -> None:
        """Check a token; `done` gets an Identity."""
        self._tokens.submit(token, done)

    async def _authenticate(self, tokens: list[str]) -> Sequence[Identity | UpstreamError]:
        response = await self._stub.Authenticate(
            auth_pb2.AuthenticateRequest(tokens=tokens),
            metadata=telemetry.outgoing(self._metadata),
            timeout=self._patience_s,
        )
        now_ms = int(time.time() * 1000)
        return [_identity(one, now_ms, self.skew) for one in response.authentications]

    def authorize(
        self, user_id: str, action: str, resource: str, done: Done[tuple[bool, float]]
    ) -> None:
        """Ask whether a user may do something; `done` gets (allowed, seconds to live)."""
        self._queries.submit(
            auth_pb2.AuthorizeQuery(user_id=user_id, action=_ACTIONS[action], resource=resource),
            done,
        )

    async def _authorize(
        self, queries: list[auth_pb2.AuthorizeQuery]
    ) -> Sequence[tuple[bool, float]]:
        response = await self._stub.Authorize(
            auth_pb2.AuthorizeRequest(queries=queries),
            metadata=telemetry.outgoing(self._metadata),
            timeout=self._patience_s,
        )
        return [(decision.allowed, decision.ttl_ms / 1000) for decision in response.decisions]

    # Revocations

    async def follow_revocations(self, access: Access, *listings: Listing) -> None:
        """Follow the auth service's revocations until cancelled: drop cached decisions and end
        sessions.

        While the stream is broken, cached decisions live on until they expire; when it is back, all
        decisions and sessions are checked again, because revocations may have been missed.
        """
        backoff_s = 0.05
        while True:
            stream = self._stub.WatchRevocations(
                auth_pb2.WatchRevocationsRequest(), metadata=self._metadata
            )
            try:
                while (response := await stream.read()) is not grpc.aio.EOF:
                    assert isinstance(response, auth_pb2.WatchRevocationsResponse)  # noqa: S101 - not EOF
                    if not self.is_open.is_set():
                        self.is_open.set()
                        self.status = ""
                        backoff_s = 0.05
                        access.forget_all()
                        _recheck(listings)
                        await self._end_fallen_sessions(listings)
                    for revocation in response.revocations:
                        _revoke(revocation, access, listings)
            except grpc.aio.AioRpcError as error:
                self.status = error.code().name
            except grpc.aio.UsageError:
                pass
            finally:
                self.is_open.clear()
                stream.cancel()
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311
            backoff_s = min(1.0, backoff_s * 2)

    async def _end_fallen_sessions(self, listings: Sequence[Listing]) -> None:
        """End the sessions that were revoked while the stream was broken."""
        sessions = list(_all(listings))
        for start in range(0, len(sessions), _SESSIONS_PER_CALL):
            part = sessions[start : start + _SESSIONS_PER_CALL]
            queries = [
                auth_pb2.SessionQuery(user_id=one.user_id, session_id=one.session_id)
                for one in part
            ]
            response = await self._stub.CheckSessions(
                auth_pb2.CheckSessionsRequest(queries=queries),
                metadata=self._metadata,
                timeout=self._patience_s,
            )
            for session, standing in zip(part, response.standing, strict=True):
                if not standing:
                    session.revoke()

    # For the HTTP API; all raise UpstreamError

    async def login(
        self, email: str, password: str, client_address: str, device_token: str
    ) -> dict[str, Any]:
        """Exchange credentials for tokens."""
        request = auth_pb2.LoginRequest(
            email=email,
            password=password,
            client_address=client_address,
            device_token=device_token,
        )
        response = await self._call(
            self._stub.Login, "Login", request, "The address or password is wrong."
        )
        session = _session(response.tokens, response.user)
        return session | {"device_token": response.device_token}

    async def providers(self) -> dict[str, Any]:
        """Return how people may sign in."""
        request = auth_pb2.ListProvidersRequest()
        response = await self._call(self._stub.ListProviders, "ListProviders", request)
        listed = [{"id": one.provider_id, "label": one.label} for one in response.providers]
        return {"passwords": response.passwords, "providers": listed}

    async def begin_sign_in(self, provider_id: str, redirect_uri: str) -> tuple[str, str]:
        """Return where to send the browser, and what it must bring back."""
        request = auth_pb2.BeginSignInRequest(provider_id=provider_id, redirect_uri=redirect_uri)
        response = await self._call(self._stub.BeginSignIn, "BeginSignIn", request)
        return response.address, response.flow

    async def finish_sign_in(
        self, flow: str, state: str, code: str, redirect_uri: str
    ) -> dict[str, Any]:
        """Exchange what the browser brought back for tokens."""
        request = auth_pb2.FinishSignInRequest(
            flow=flow, state=state, code=code, redirect_uri=redirect_uri
        )
        response = await self._call(
            self._stub.FinishSignIn, "FinishSignIn", request, "Sign in again."
        )
        return _session(response.tokens, response.user) | {"provider_id": response.provider_id}

    async def logout_address(self, provider_id: str, return_to: str) -> str:
        """Return where the browser signs out at a provider; empty where it cannot."""
        request = auth_pb2.GetLogoutAddressRequest(provider_id=provider_id, return_to=return_to)
        response = await self._call(self._stub.GetLogoutAddress, "GetLogoutAddress", request)
        return response.address

    async def refresh(self, refresh_token: str, request_id: str) -> dict[str, Any]:
        """Exchange a refresh token for new tokens."""
        request = auth_pb2.RefreshRequest(refresh_token=refresh_token, request_id=request_id)
        response = await self._call(self._stub.Refresh, "Refresh", request, "Log in again.")
        return _session(response.tokens, response.user)

    async def logout(self, *, refresh_token: str, access_token: str) -> None:
        """End a session."""
        request = auth_pb2.LogoutRequest(refresh_token=refresh_token, access_token=access_token)
        await self._call(self._stub.Logout, "Logout", request)

    async def user(self, user_id: str) -> dict[str, Any]:
        """Return a user."""
        response = await self._call(
            self._stub.GetUser, "GetUser", auth_pb2.GetUserRequest(user_id=user_id)
        )
        return _user(response.user)

    async def learners(self, user_id: str) -> list[dict[str, Any]]:
        """Return the learners that a user may watch."""
        request = auth_pb2.ListLearnersRequest(user_id=user_id)
        response = await self._call(self._stub.ListLearners, "ListLearners", request)
        return [
            {
                "learner_id": one.learner_id,
                "display_name": one.display_name,
                "class_ids": list(one.class_ids),
                "class_names": dict(one.class_names),
            }
            for one in response.learners
        ]

    async def find_learners(self, emails: Sequence[str]) -> dict[str, str]:
        """Return which learners the users with these addresses are."""
        request = auth_pb2.FindLearnersRequest(emails=emails)
        response = await self._call(self._stub.FindLearners, "FindLearners", request)
        return dict(response.learner_ids)

    async def note_records(
        self,
        user_id: str,
        learner_ids: Sequence[str],
        *,
        stored: int,
        duplicates: int,
        refused: int,
    ) -> None:
        """Record in the audit log who sent learning records about whom."""
        request = auth_pb2.NoteRecordsRequest(
            user_id=user_id,
            learner_ids=learner_ids,
            stored=stored,
            duplicates=duplicates,
            refused=refused,
        )
        await self._call(self._stub.NoteRecords, "NoteRecords", request)

    async def delete_learner(self, learner_id: str) -> None:
        """Remove a learner with all relations."""
        request = auth_pb2.DeleteLearnerRequest(learner_id=learner_id)
        await self._call(self._stub.DeleteLearner, "DeleteLearner", request)

    async def jwks(self) -> str:
        """Return the public keys as a JSON Web Key Set, at most `KEYS_S` old."""
        now = time.monotonic()
        if now >= self._keys_until:
            response = await self._call(self._stub.GetJwks, "GetJwks", auth_pb2.GetJwksRequest())
            self._keys, self._keys_until = response.jwks_json, now + KEYS_S
        return self._keys

    async def _call(
        self,
        method: Callable[..., Awaitable[Response]],
        name: str,
        request: Any,
        unauthenticated: str | None = None,
    ) -> Response:
        try:
            return await self._channel.call(method, f"{_SERVICE}/{name}", request, self._patience_s)
        except grpc.aio.AioRpcError as error:
            refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
            if refused and unauthenticated and not is_credential_refused(error):
                raise UpstreamError("unauthenticated", unauthenticated) from error
            raise translate(error, "auth") from error


def _traces(channel: Channel, method: str) -> NoCallTraces:
    return traces_of(channel.tracer, f"{_SERVICE}/{method}", channel.address)


def _identity(
    message: auth_pb2.Authentication, now_ms: int, skew: Skew
) -> Identity | UpstreamError:
    """Return a token's identity, with its expiry by our own clock: the service's may differ."""
    if not message.HasField("identity"):
        return UpstreamError(
            "unauthenticated", sentence(message.error or "The token is not valid.")
        )
    one = message.identity
    expires_at_ms = one.expires_at_ms
    if one.expires_in_ms:
        skew.note((expires_at_ms - one.expires_in_ms - now_ms) / 1000)
        expires_at_ms = now_ms + one.expires_in_ms
    return Identity(
        one.user_id,
        _ROLES.get(one.role, "unknown"),
        one.session_id,
        expires_at_ms,
        tuple(one.own_learners),
        one.decision_ttl_ms / 1000,
    )


def _session(tokens: auth_pb2.Tokens, user: auth_pb2.User) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": "bearer",
        "expires_in": tokens.expires_in_s,
        "refresh_expires_in": tokens.refresh_expires_in_s,
        "user": _user(user),
    }


def _user(user: auth_pb2.User) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "email": user.email,
        "role": _ROLES.get(user.role, "unknown"),
        "display_name": user.display_name,
    }


def _all(listings: Sequence[Listing]) -> Iterator[Listed]:
    return itertools.chain.from_iterable(listing.sessions() for listing in listings)


def _recheck(listings: Sequence[Listing]) -> None:
    for session in _all(listings):
        session.recheck()


def _revoke(revocation: auth_pb2.Revocation, access: Access, listings: Sequence[Listing]) -> None:
    if revocation.learner_id:
        access.forget_learner(revocation.learner_id)
        _recheck(listings)
        return
    access.forget_user(revocation.user_id)
    for session in [one for listing in listings for one in listing.of_user(revocation.user_id)]:
        if revocation.all_sessions or (
            revocation.session_id and session.session_id == revocation.session_id
        ):
            session.revoke()
        else:
            session.recheck()
