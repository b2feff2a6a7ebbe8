"""Signing in, staying signed in and signing out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from auth_service.counters import AuthCounters
from auth_service.devices import Devices
from auth_service.directory import Directory
from auth_service.domain import (
    MAX_PASSWORD_BYTES,
    InvalidInputError,
    Role,
    User,
    new_id,
    normalised_email,
)
from auth_service.fair_queue import FairQueue, TooManyWaitingError
from auth_service.federation import FederatedPeople
from auth_service.login_limits import LoginLimits, TooManyAttemptsError, UnauthenticatedError
from auth_service.passwords import Passwords, TooManyHashesError
from auth_service.store import (
    Credentials,
    Database,
    People,
    RefreshReusedError,
    Rotation,
    SessionEndedError,
    SessionTable,
)
from auth_service.throttle import address_key
from auth_service.tokens import BadTokenError, Claims, Tokens
from auth_service.trusted_issuers import TrustedIssuer

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Unix time in seconds."""

_VERIFICATIONS_PER_TURN = 8
"""Signatures checked before the event loop gets a turn: about 2 ms of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long tokens and sessions last, in seconds."""

    access_s: int
    refresh_s: int
    session_s: int
    retry_s: float
    """How long a refresh may be repeated, in case its answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A session's tokens, with their remaining lifetimes in seconds."""

    access_token: str
    expires_in_s: int
    refresh_token: str
    refresh_expires_in_s: int
    user: User
    device_token: str = ""
    """The device's token for this person's next sign-in; empty for a renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who an access token belongs to."""

    user_id: str
    role: Role
    session_id: str
    expires_at_ms: int
    expires_in_ms: int
    """Remaining lifetime by this service's clock; at least 1."""
    display_name: str


class Issuer:
    """Opens and renews sessions. The only source of tokens."""

    def __init__(
        self,
        database: Database,
        table: SessionTable,
        tokens: Tokens,
        lifetimes: Lifetimes,
        clock: Clock,
    ) -> None:
        self._database = database
        self._table = table
        self._tokens = tokens
        self._lifetimes = lifetimes
        self._clock = clock

    async def open(self, user: User, password_hash: str | None, *, by: str) -> Grant:
        """Open a session for a user who signed in `by` some means. Raises SessionEndedError if the
        user is disabled or the password hash has changed.
        """
        now_s = int(self._clock())
        refresh_token, rotation = self._next(new_id(), 0, now_s, self._lifetimes.access_s)
        session_until_s = now_s + self._lifetimes.session_s
        await self._database.run(
            self._table.open,
            user.user_id,
            password_hash,
            rotation,
            expires_at_ms=session_until_s * 1000,
            signed_in_by=by,
        )
        refresh_s = min(self._lifetimes.refresh_s, self._lifetimes.session_s)
        return self._grant(user, rotation.session_id, refresh_token, refresh_s)

    async def renew(self, refresh_token: str, request_id: str) -> Grant:
        """Exchange a refresh token. Raises BadTokenError, SessionEndedError, or RefreshReusedError
        after revoking the session.

        A used token may have been stolen, unless it comes with the same `request_id`: then the same
        successor is returned, which is derived from both, so that a session never has two newest
        tokens.
        """
        old = self._tokens.read_refresh(refresh_token)
        seed = old.digest + request_id.encode() if request_id else None
        now_s = int(self._clock())
        new_token, rotation = self._next(
            old.session_id, old.generation + 1, now_s, self._lifetimes.access_s, seed=seed
        )
        retry_ms = int(self._lifetimes.retry_s * 1000)
        user, expires_at_ms = await self._database.run(
            self._table.rotate, old.digest, rotation, retry_ms=retry_ms
        )
        return self._grant(user, old.session_id, new_token, max(0, expires_at_ms // 1000 - now_s))

    async def mint(self, user: User, ttl_s: int, *, actor: str) -> str:
        """Return an access token of a session of its own, good for `ttl_s` seconds. Raises
        SessionEndedError.
        """
        now_s = int(self._clock())
        _, rotation = self._next(new_id(), 0, now_s, ttl_s)
        # Nobody gets its refresh token: the session lasts exactly as long as this token.
        await self._database.run(
            self._table.open,
            user.user_id,
            None,
            rotation,
            expires_at_ms=(now_s + ttl_s) * 1000,
            minted_by=actor,
        )
        return self._tokens.sign(user.user_id, rotation.session_id, user.role.value, ttl_s)

    def _next(
        self,
        session_id: str,
        generation: int,
        now_s: int,
        access_s: int,
        *,
        seed: bytes | None = None,
    ) -> tuple[str, Rotation]:
        token, digest = self._tokens.make_refresh(session_id, generation, seed=seed)
        rotation = Rotation(
            session_id=session_id,
            generation=generation,
            digest=digest,
            refresh_expires_at_ms=(now_s + self._lifetimes.refresh_s) * 1000,
            # One second more than the token's own: it is signed a moment later.
            access_until_ms=(now_s + access_s + 1) * 1000,
        )
        return token, rotation

    def _grant(self, user: User, session_id: str, refresh_token: str, refresh_s: int) -> Grant:
        access_s = self._lifetimes.access_s
        return Grant(
            access_token=self._tokens.sign(user.user_id, session_id, user.role.value, access_s),
            expires_in_s=access_s,
            refresh_token=refresh_token,
            refresh_expires_in_s=refresh_s,
            user=user,
        )


class Sessions:
    """Signing in, refreshing and logging out. `after_change` applies a change to memory and
    streams.
    """

    def __init__(
        self,
        *,
        database: Database,
        people: People,
        table: SessionTable,
        issuer: Issuer,
        tokens: Tokens,
        passwords: Passwords,
        directory: Directory,
        limits: LoginLimits,
        queue: FairQueue,
        devices: Devices,
        federation: FederatedPeople,
        after_change: Callable[[], Awaitable[None]],
        clock: Clock,
        counters: AuthCounters,
    ) -> None:
        self._database = database
        self._people = people
        self._table = table
        self._issuer = issuer
        self._tokens = tokens
        self._passwords = passwords
        self._directory = directory
        self._limits = limits
        self._queue = queue
        self._devices = devices
        self._federation = federation
        self._after_change = after_change
        self._clock = clock
        self._counters = counters

    async def login(
        self, email: str, password: str, client_address: str, device_token: str = ""
    ) -> Grant:
        """Open a session for a user with the right password.

        Raises UnauthenticatedError with the same words, after the same work, for an unknown
        address, a wrong password and a disabled user; TooManyAttemptsError; InvalidInputError for
        an oversized password; TooManyWaitingError, TooManyHashesError.
        """
        began, outcome = time.perf_counter(), "failed"
        try:
            grant = await self._login(email, password, client_address, device_token)
            outcome = "granted"
            return grant
        except UnauthenticatedError:
            outcome = "refused"
            raise
        except TooManyAttemptsError:
            outcome = "slowed"
            raise
        except (TooManyWaitingError, TooManyHashesError):
            outcome = "busy"
            raise
        finally:
            self._counters.logins[outcome] += 1
            if outcome in ("granted", "refused"):
                self._counters.logins_s.observe(time.perf_counter() - began)

    async def _login(
        self, email: str, password: str, client_address: str, device_token: str
    ) -> Grant:
        if len(password.encode(errors="surrogatepass")) > MAX_PASSWORD_BYTES:
            raise InvalidInputError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
        try:
            account = normalised_email(email)
        except InvalidInputError:
            account = ""  # belongs to nobody, and goes the same way as any other wrong address
        address, now_s = address_key(client_address), self._clock()
        device = self._devices.knows(device_token, account, now_s)
        # A known user does not count as a stranger at an address.
        known = self._limits.knows(account, address, now_s)
        place = device or (f"{account} {address}" if known else address)
        # Nor do they share the account's few places in the queue with guesses from elsewhere.
        whose = f"{account} {place}" if device or known else account
        with self._limits.counted(account, address, device, now_s):
            credentials = await self._queue.take(
                whose, place, partial(self._check, account, password)
            )
            try:
                grant = await self._issuer.open(
                    credentials.user, credentials.password_hash, by="password"
                )
            except SessionEndedError:
                raise _wrong_pair() from None
        return replace(grant, device_token=self._devices.token(account, now_s))

    async def refresh(self, refresh_token: str, request_id: str = "") -> Grant:
        """Exchange a refresh token for new tokens; the same again for the same `request_id`, soon
        after.

        Raises UnauthenticatedError, a used token also ends its session; InvalidInputError for a
        `request_id` easily guessed.
        """
        if request_id and not 16 <= len(request_id) <= 128:
            raise InvalidInputError("request_id must have 16 to 128 characters")
        try:
            grant = await self._issuer.renew(refresh_token, request_id)
        except RefreshReusedError:
            self._counters.refreshes["reused"] += 1
            logger.warning("a refresh token was used again; its session is revoked")
            await self._after_change()
            raise _no_session() from None
        except (BadTokenError, SessionEndedError):
            self._counters.refreshes["refused"] += 1
            raise _no_session() from None
        self._counters.refreshes["granted"] += 1
        return grant

    async def logout(self, refresh_token: str, access_token: str) -> None:
        """End the session of either token; tokens that are not ours are ignored."""
        session_ids = set()
        with contextlib.suppress(BadTokenError):
            session_ids.add(self._tokens.read_refresh(refresh_token).session_id)
        with contextlib.suppress(BadTokenError):
            session_ids.add(self._tokens.read(access_token, allow_expired=True).session_id)
        for session_id in session_ids:
            await self._database.run(self._table.revoke, session_id)
        if session_ids:
            await self._after_change()
        else:
            await self._federation.forget(access_token)

    async def authenticate(self, tokens: Sequence[str]) -> list[Identity | str]:
        """Return for each access token whom it belongs to, or in one sentence why it is refused."""
        answers: list[Identity | str] = []
        federated: list[tuple[int, Coroutine[Any, Any, Identity | str]]] = []
        looked_again = False
        for index, token in enumerate(tokens):
            if index % _VERIFICATIONS_PER_TURN == _VERIFICATIONS_PER_TURN - 1:
                await asyncio.sleep(0)
            try:
                claims = self._tokens.read(token)
            except BadTokenError as error:
                answers.append(str(error))
                issuer = self._federation.issuer_of(token)
                if issuer is not None:
                    federated.append((index, self._identify_federated(token, issuer)))
                continue
            if not looked_again and self._directory.person(claims.user_id) is None:
                # We signed it, so the user exists: another process made them a moment ago.
                looked_again = True
                await self._after_change()
            answers.append(self._identify(claims))
        known = await asyncio.gather(*(coming for _, coming in federated))
        for (index, _), answer in zip(federated, known, strict=True):
            answers[index] = answer
        refused = sum(isinstance(answer, str) for answer in answers)
        self._counters.tokens_refused += refused
        self._counters.tokens_accepted += len(answers) - refused
        return answers

    def stands(self, user_id: str, session_id: str) -> bool:
        """Return whether a session has not been ended and its user is not disabled."""
        person = self._directory.person(user_id)
        return (
            person is not None
            and not person.disabled
            and not self._directory.is_revoked(session_id)
        )

    def _identify(self, claims: Claims) -> Identity | str:
        person = self._directory.person(claims.user_id)
        if person is None or not self.stands(claims.user_id, claims.session_id):
            return "the session of the access token is over"
        return Identity(
            user_id=person.user_id,
            role=person.role,
            session_id=claims.session_id,
            expires_at_ms=claims.expires_at * 1000,
            expires_in_ms=self._tokens.left_ms(claims),
            display_name=person.display_name,
        )

    async def _identify_federated(self, token: str, issuer: TrustedIssuer) -> Identity | str:
        try:
            user_id, claims = await self._federation.identify(token, issuer)
        except BadTokenError as error:
            return str(error)
        # Within the clocks' tolerance an expired token is still valid.
        now_s = self._clock()
        until_s = claims.expires_at if claims.expires_at > now_s else claims.good_until
        return self._identify(Claims(user_id, claims.session_id, int(until_s)))

    async def _check(self, account: str, password: str, is_new: bool) -> Credentials:
        credentials = await self._database.run(self._people.credentials, account)
        encoded = credentials.password_hash if credentials else None
        correct = await self._passwords.verify(password, encoded, can_wait=not is_new)
        if credentials is None or not correct or credentials.user.disabled:
            raise _wrong_pair()
        if not self._passwords.outdated(credentials.password_hash):
            return credentials
        renewed = await self._passwords.hash(password)
        await self._database.run(
            self._people.rehash, credentials.user.user_id, credentials.password_hash, renewed
        )
        return Credentials(user=credentials.user, password_hash=renewed)


def _wrong_pair() -> UnauthenticatedError:
    return UnauthenticatedError("the e-mail address or the password is wrong")


def _no_session() -> UnauthenticatedError:
    return UnauthenticatedError("the session is over; sign in again")
