"""Access tokens of other issuers: accepted only if genuine, meant for us and not expired."""

from __future__ import annotations

import hmac
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from auth_service.domain import Role
from auth_service.tokens.encoding import token_digest
from auth_service.tokens.own import BadTokenError, Clock
from auth_service.tokens.remote_keys import RemoteKeys
from auth_service.trusted_issuers import TrustedIssuer

_MAX_TOKEN_CHARACTERS: Final = 8192
_MAX_LISTED: Final = 64
_REMEMBERED: Final = 16_384
_LATEST: Final = 253_402_300_799
"""The last second of the year 9999."""
_NOT_VALID: Final = "the access token is not valid"
_IDENTITY_MARKS: Final = ("nonce", "at_hash", "c_hash")
"""Claims that only an ID token has (OpenID Connect Core §2, §3.3.2.11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedClaims:
    """Another issuer's claims about a person."""

    issuer: str
    subject: str
    session_id: str
    issued_at: int
    """Unix seconds; the later of two tokens counts."""
    expires_at: int
    """Unix seconds, by the issuer's clock."""
    good_until: float
    """Unix seconds by ours: with what the clocks may differ."""
    role: Role
    email: str
    display_name: str
    learners: tuple[str, ...] | None
    """Ids; None where the issuer does not say."""
    classes: tuple[str, ...] | None


class TrustedTokens:
    """Reads tokens of the trusted issuers, and remembers verified ones."""

    def __init__(self, issuers: Sequence[TrustedIssuer], clock: Clock) -> None:
        """`clock` gives Unix seconds."""
        self._issuers = {one.issuer: one for one in issuers}
        self._keys = {one.issuer: RemoteKeys(one.jwks, time.monotonic) for one in issuers}
        self._clock = clock
        self._verified: OrderedDict[bytes, TrustedClaims] = OrderedDict()

    async def load(self) -> None:
        """Fetch all keys, so that first tokens do not wait for them."""
        for keys in self._keys.values():
            await keys.load()

    def issuer_of(self, token: str) -> TrustedIssuer | None:
        """Return the issuer a token claims to be from; None if we do not trust it."""
        if not self._issuers or len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        try:
            content = jwt.decode(token, options={"verify_signature": False})
            return self._issuers.get(str(content.get("iss", "")))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None

    async def read(
        self, token: str, issuer: TrustedIssuer, *, allow_expired: bool = False
    ) -> TrustedClaims:
        """Return who a token of this issuer belongs to. Raises BadTokenError."""
        digest = token_digest(token)
        found = self._verified.get(digest)
        if found is None:
            found = await self._verify(token, issuer, digest)
            self._verified[digest] = found
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        if not allow_expired and found.good_until <= self._clock():
            raise BadTokenError("the access token has expired")
        return found

    async def read_identity(
        self, token: str, issuer: TrustedIssuer, *, nonce: str
    ) -> TrustedClaims:
        """Return whom an ID token names that was requested with `nonce`. Raises BadTokenError."""
        client_id = issuer.sign_in.client_id if issuer.sign_in is not None else ""
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid") or await self._keys[issuer.issuer].only()
            content = await self._genuine(token, header | {"kid": kid}, issuer, (client_id,))
            given, party = content.get("nonce"), content.get("azp", client_id)
            if not isinstance(given, str) or not hmac.compare_digest(
                given.encode(), nonce.encode()
            ):
                raise BadTokenError(_NOT_VALID)
            if party != client_id:
                raise BadTokenError(_NOT_VALID)
            claims = self._claims(content, issuer, token_digest(token))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadTokenError(_NOT_VALID) from None
        if claims.good_until <= self._clock():
            raise BadTokenError("the ID token has expired")
        return claims

    async def _genuine(
        self,
        token: str,
        header: Mapping[str, Any],
        issuer: TrustedIssuer,
        audiences: Sequence[str],
    ) -> dict[str, Any]:
        """Return the claims of a token whose signature, issuer and audience are right."""
        algorithm, kid = str(header.get("alg")), str(header.get("kid", ""))
        if algorithm not in issuer.algorithms:
            raise BadTokenError(_NOT_VALID)
        key = await self._keys[issuer.issuer].key(kid, algorithm)
        content: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=audiences,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iat", "iss", "aud"],
                # Times are judged by our clock, here and on every use.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        return content

    async def _verify(self, token: str, issuer: TrustedIssuer, digest: bytes) -> TrustedClaims:
        try:
            header = jwt.get_unverified_header(token)
            kind = str(header.get("typ", "")).lower().removeprefix("application/")
            if kind not in {one.lower() for one in issuer.types}:
                raise BadTokenError(_NOT_VALID)
            content = await self._genuine(token, header, issuer, issuer.audiences)
            if any(mark in content for mark in _IDENTITY_MARKS):
                raise BadTokenError(_NOT_VALID)
            return self._claims(content, issuer, digest)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadTokenError(_NOT_VALID) from None

    def _claims(
        self, content: Mapping[str, Any], issuer: TrustedIssuer, digest: bytes
    ) -> TrustedClaims:
        names = issuer.claims
        subject = _claim(content, names.user)
        issued_at, expires_at = _moment(content["iat"]), _moment(content["exp"])
        begins = max(issued_at, _moment(content.get("nbf", 0)))
        if begins > self._clock() + issuer.leeway_s:
            raise BadTokenError("the access token is not valid yet")
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or "\0" in subject:
            raise BadTokenError(_NOT_VALID)
        subject.encode()  # half a character, which JSON can hold, is a ValueError
        email = _claim(content, names.email)
        # Some providers say it in text.
        if content.get("email_verified", True) not in (True, "true"):
            email = ""
        # A provider's session spans renewals; without one each token is its own session.
        session = str(content.get("sid") or digest.hex())
        return TrustedClaims(
            issuer=issuer.issuer,
            subject=subject,
            session_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{issuer.issuer}\n{session}")),
            issued_at=int(issued_at),
            expires_at=int(expires_at),
            good_until=expires_at + issuer.leeway_s,
            role=_role(_claim(content, names.role), issuer),
            email=email if isinstance(email, str) else "",
            display_name=_text(_claim(content, names.name)),
            learners=_ids(content, names.learners),
            classes=_ids(content, names.classes),
        )


def _moment(value: Any) -> float:
    """Return a token's time, Unix seconds. Raises BadTokenError for invalid ones, such as
    milliseconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise BadTokenError(_NOT_VALID)
    return float(value)


def _claim(content: Mapping[str, Any], path: str) -> Any:
    """Return the claim at `path`: of that name, or nested inside objects."""
    if not path or path in content:
        return content.get(path)
    value: Any = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _role(value: Any, issuer: TrustedIssuer) -> Role:
    given = value if isinstance(value, list) else [value]
    held = {issuer.roles[one] for one in given if isinstance(one, str) and one in issuer.roles}
    # Of several roles, the one with the most rights counts.
    for role in (Role.TEACHER, Role.GUARDIAN, Role.LEARNER):
        if role in held:
            return role
    if issuer.default_role is None:
        raise BadTokenError("the access token has no role that is known here")
    return issuer.default_role


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _ids(content: Mapping[str, Any], path: str) -> tuple[str, ...] | None:
    value = _claim(content, path) if path else None
    if value is None:
        return None
    listed = value if isinstance(value, list) else [value]
    if len(listed) > _MAX_LISTED or not all(isinstance(one, str) for one in listed):
        raise BadTokenError(
            f"the access token lists more than {_MAX_LISTED} ids, or something else"
        )
    return tuple(listed)
