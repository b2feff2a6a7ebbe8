"""Signing in at a provider: OpenID Connect's code flow with PKCE, state and nonce."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Final

from auth_service.domain import NotFoundError
from auth_service.federation import FederatedPeople
from auth_service.login_limits import UnauthenticatedError
from auth_service.provider import CodeRefusedError, Provider
from auth_service.sessions import Grant, Issuer
from auth_service.store import Database, People, SessionEndedError
from auth_service.tokens import BadTokenError
from auth_service.tokens.encoding import to_text
from auth_service.tokens.trusted import TrustedTokens
from auth_service.trusted_issuers import TrustedIssuer

FLOW_S: Final = 600
"""Seconds to sign in at the provider."""


class SignIn:
    """Runs the code flow with providers. Stateless: everything follows from a secret and from what
    the browser holds.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        tokens: TrustedTokens,
        federation: FederatedPeople,
        issuer: Issuer,
        database: Database,
        people: People,
        secret: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._issuers = {one.sign_in.id: one for one in issuers if one.sign_in is not None}
        self._providers = {
            one.sign_in.id: Provider(one.issuer, one.sign_in)
            for one in issuers
            if one.sign_in is not None
        }
        self._tokens = tokens
        self._federation = federation
        self._issuer = issuer
        self._database = database
        self._people = people
        self._secret = secret
        self._clock = clock

    def listed(self) -> dict[str, str]:
        """Return the buttons' labels by provider id."""
        return {
            name: one.sign_in.label
            for name, one in self._issuers.items()
            if one.sign_in is not None
        }

    async def begin(self, provider_id: str, redirect_uri: str) -> tuple[str, str]:
        """Return where to send the browser, and what it must bring back beside the code.

        Raises NotFoundError, ProviderError.
        """
        issuer, provider = self._known(provider_id)
        assert issuer.sign_in is not None  # noqa: S101 - `_known` has only those
        endpoint = await provider.address("authorization_endpoint")
        state = secrets.token_urlsafe(24)
        verifier = self._derived("verifier", state)
        challenge = to_text(hashlib.sha256(verifier.encode()).digest())
        query = urllib.parse.urlencode(
            {
                "response_type": "code",
                "client_id": issuer.sign_in.client_id,
                "redirect_uri": redirect_uri,
                "scope": issuer.sign_in.scope,
                "state": state,
                "nonce": self._derived("nonce", state),
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        until = int(self._clock()) + FLOW_S
        content = f"{provider_id}.{state}.{until}"
        flow = f"{content}.{self._derived('flow', content)}"
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}", flow

    async def finish(
        self, flow: str, state: str, code: str, redirect_uri: str
    ) -> tuple[Grant, str]:
        """Return tokens for a user who came back from a provider, and the provider's id.

        Raises UnauthenticatedError, ProviderError.
        """
        content, _, seal = flow.rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._derived("flow", content).encode()):
            raise _refused()
        provider_id, begun, until = content.split(".")
        if not hmac.compare_digest(begun.encode(), state.encode()) or int(until) < self._clock():
            raise _refused()
        issuer, provider = self._known(provider_id)
        try:
            token = await provider.exchange(code, self._derived("verifier", state), redirect_uri)
            claims = await self._tokens.read_identity(
                token, issuer, nonce=self._derived("nonce", state)
            )
            user_id = await self._federation.settle(claims, issuer)
            user = await self._database.run(self._people.user, user_id)
            return await self._issuer.open(user, None, by=f"provider {provider_id}"), provider_id
        except (CodeRefusedError, BadTokenError, SessionEndedError, NotFoundError):
            raise _refused() from None

    async def logout_address(self, provider_id: str, return_to: str) -> str:
        """Return where the browser signs out at the provider; empty where it cannot.

        Raises NotFoundError, ProviderError.
        """
        issuer, provider = self._known(provider_id)
        assert issuer.sign_in is not None  # noqa: S101 - `_known` has only those
        endpoint = await provider.address("end_session_endpoint")
        query = urllib.parse.urlencode(
            {"client_id": issuer.sign_in.client_id, "post_logout_redirect_uri": return_to}
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}" if endpoint else ""

    def _known(self, provider_id: str) -> tuple[TrustedIssuer, Provider]:
        if provider_id not in self._issuers:
            raise NotFoundError("there is no such provider")
        return self._issuers[provider_id], self._providers[provider_id]

    def _derived(self, purpose: str, content: str) -> str:
        return to_text(hmac.digest(self._secret, f"{purpose} {content}".encode(), "sha256"))


def _refused() -> UnauthenticatedError:
    return UnauthenticatedError("signing in at the provider did not succeed; begin again")
