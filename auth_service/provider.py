"""Talks to an OpenID provider directly: discovery, and ID tokens for codes."""

from __future__ import annotations

import base64
import urllib.parse
from typing import Any, Final

from auth_service.asking import UnansweredError, asked
from auth_service.trusted_issuers import SignInWith, TrustError, check_address

_BAD_REQUEST: Final = 400
"""What a code that cannot be exchanged is answered with (RFC 6749, section 5.2)."""


class ProviderError(Exception):
    """The provider cannot be reached or refused; the sentence repeats nothing of its answer."""


class CodeRefusedError(ProviderError):
    """The provider answered, and does not take the code: used, too old, or another's."""


class Provider:
    """One OpenID provider (OpenID Connect Core, Discovery and RP-Initiated Logout 1.0)."""

    def __init__(self, issuer: str, client: SignInWith) -> None:
        self._issuer = issuer
        self._client = client
        self._addresses: dict[str, str] = {}

    async def address(self, name: str) -> str:
        """Return one of its addresses by the name that discovery has; empty when it has none.

        Raises ProviderError.
        """
        if not self._addresses:
            found = await _asked(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise ProviderError("the provider calls itself by another name")
            addresses = {
                key: value
                for key, value in found.items()
                if key.endswith("_endpoint") and isinstance(value, str)
            }
            try:
                for value in addresses.values():
                    check_address(value, "an address of the provider")
            except TrustError as error:
                raise ProviderError(str(error)) from None
            self._addresses = addresses
        return self._addresses.get(name, "")

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Return the ID token that a code stands for. Raises ProviderError, CodeRefusedError."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client.client_id,
            "code_verifier": verifier,
        }
        headers = {}
        secret = self._client.secret()
        if secret:
            pair = ":".join(map(urllib.parse.quote_plus, (self._client.client_id, secret)))
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        endpoint = await self.address("token_endpoint")
        try:
            answer = await _asked(endpoint, form, headers)
        except ProviderError as error:
            cause = error.__cause__
            if isinstance(cause, UnansweredError) and cause.status == _BAD_REQUEST:
                raise CodeRefusedError("the provider does not take the code") from None
            raise
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("the provider answered without an ID token")
        return token


async def _asked(
    address: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    try:
        found = await asked(address, form, headers)
    except UnansweredError as error:
        raise ProviderError("the provider cannot be asked, or refused") from error
    if not isinstance(found, dict):
        raise ProviderError("the provider's answer cannot be read")
    return found
