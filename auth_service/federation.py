"""People with another issuer's token: which user they are, and whether they may enter."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from auth_service.domain import (
    InvalidInputError,
    checked_display_name,
    checked_id,
    normalised_email,
)
from auth_service.store import Database, Identities, SessionTable, StoreUnavailableError, Told
from auth_service.tokens import BadTokenError
from auth_service.tokens.trusted import TrustedClaims, TrustedTokens
from auth_service.trusted_issuers import TrustedIssuer

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 16_384
_PROVIDER_SESSION_S: Final = 86_400
"""How long tokens of an ended session are refused, because the provider may keep renewing them."""


class FederatedPeople:
    """Maps tokens of trusted issuers to our users."""

    def __init__(
        self,
        *,
        tokens: TrustedTokens,
        database: Database,
        identities: Identities,
        sessions: SessionTable,
        after_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._tokens = tokens
        self._database = database
        self._identities = identities
        self._sessions = sessions
        self._after_change = after_change
        self._settled: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()
        """User id by (issuer, subject), with when the newest token was issued."""
        self._lock = asyncio.Lock()

    def issuer_of(self, token: str) -> TrustedIssuer | None:
        """Return the trusted issuer that a token claims to be from, if any."""
        return self._tokens.issuer_of(token)

    async def identify(self, token: str, issuer: TrustedIssuer) -> tuple[str, TrustedClaims]:
        """Return the user id a token belongs to, and its claims.

        Raises BadTokenError.
        """
        claims = await self._tokens.read(token, issuer)
        key = (claims.issuer, claims.subject)
        settled = self._settled.get(key)
        if settled is None or settled[0] < claims.issued_at:
            try:
                async with self._lock:
                    user_id = await self.settle(claims, issuer)
            except StoreUnavailableError:
                if settled is None:
                    raise BadTokenError(
                        "the access token cannot be checked now; try again"
                    ) from None
                return settled[1], claims  # as known so far; the next token may update that
            self._settled[key] = settled = (claims.issued_at, user_id)
            if len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
        return settled[1], claims

    async def forget(self, token: str) -> None:
        """End the session of a token, if it is one of a trusted issuer."""
        issuer = self.issuer_of(token)
        if issuer is None:
            return
        with contextlib.suppress(BadTokenError):
            claims = await self._tokens.read(token, issuer, allow_expired=True)
            user_id, _ = await self.identify(token, issuer)
            await self._database.run(
                self._sessions.refuse,
                claims.session_id,
                user_id,
                until_ms=int((claims.good_until + _PROVIDER_SESSION_S) * 1000),
            )
            await self._after_change()

    async def settle(self, claims: TrustedClaims, issuer: TrustedIssuer) -> str:
        """Return the user id, creating the user if allowed. Raises BadTokenError,
        StoreUnavailableError.
        """
        try:
            told = _told(claims)
        except InvalidInputError as error:
            raise BadTokenError(f"a claim of the access token cannot be used: {error}") from None
        user_id = await self._database.run(
            self._identities.settle,
            told,
            create=issuer.create,
            link_by_email=issuer.link_by_email,
        )
        if user_id is None:
            raise BadTokenError(
                "this access token belongs to nobody known here; ask your school's office"
            )
        await self._after_change()
        return user_id


def _told(claims: TrustedClaims) -> Told:
    email = ""
    with contextlib.suppress(InvalidInputError):
        email = normalised_email(claims.email)
    return Told(
        issuer=claims.issuer,
        subject=claims.subject,
        told_at_s=claims.issued_at,
        role=claims.role,
        email=email,
        display_name=checked_display_name(claims.display_name),
        learners=_checked_ids(claims.learners, "learner id"),
        classes=_checked_ids(claims.classes, "class id"),
    )


def _checked_ids(ids: tuple[str, ...] | None, what: str) -> tuple[str, ...] | None:
    return None if ids is None else tuple(checked_id(one, what) for one in ids)
