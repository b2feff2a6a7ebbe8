"""Which other issuers' tokens are trusted, and which of their claims mean what. Read from the file
that AUTH_TRUSTED_ISSUERS names; docs/identity.md shows one.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from auth_service.domain import Role
from service_runtime.toml_tables import fields_of

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures that a public key verifies; a shared secret would let every verifier sign."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class TrustError(Exception):
    """The file of trusted issuers cannot be used; the sentence names the place and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNames:
    """Names of the claims; a dot descends into an object. Empty: no such claim."""

    user: str = "sub"
    role: str = ""
    email: str = "email"
    name: str = "name"
    learners: str = ""
    classes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInWith:
    """How the page signs in at an issuer that is an OpenID provider."""

    id: str
    """In addresses: lower-case letters, digits and hyphens."""
    label: str
    """What the button says."""
    client_id: str
    client_secret_file: str = ""
    """File with the secret; empty for a public client, which PKCE alone protects."""
    scope: str = "openid email profile"

    def secret(self) -> str:
        """Return the client's secret as the file has it now. Raises OSError."""
        if not self.client_secret_file:
            return ""
        return Path(self.client_secret_file).read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer whose access tokens are accepted as ours are."""

    issuer: str
    audiences: tuple[str, ...]
    jwks: str
    """An https address (http only to this machine), or the path of a file."""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    types: tuple[str, ...] = ("at+jwt",)
    """What the header `typ` may be, without `application/`. Providers older than RFC 9068 say
    `JWT`.
    """
    claims: ClaimNames = ClaimNames()
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Our roles by the values of the role claim; other values are ignored."""
    default_role: Role | None = None
    """Role of people without such a value; None refuses them."""
    create: bool = False
    """Whether unknown people are created; else only those of a roster may enter."""
    link_by_email: bool = False
    """Whether an unknown person is linked to the user with the same e-mail address. Never to an
    administrator.
    """
    sign_in: SignInWith | None = None
    """None where the page does not offer it."""
    leeway_s: float = 30.0
    """Seconds by which the issuer's clock may differ."""


def read_trusted(path: Path, *, own_issuer: str) -> tuple[TrustedIssuer, ...]:
    """Return the issuers in a file. Raises TrustError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrustError(f"cannot read AUTH_TRUSTED_ISSUERS {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"AUTH_TRUSTED_ISSUERS {path} is not TOML: {error}") from error
    tables = content.pop("issuers", None)
    if content or not isinstance(tables, list):
        raise TrustError(f"{path}: write each issuer as a table [[issuers]], and nothing else")
    found = tuple(_issuer(table, f"{path}: issuer {n}") for n, table in enumerate(tables, 1))
    names = [one.issuer for one in found]
    if own_issuer in names or len(set(names)) < len(names):
        raise TrustError(f"{path}: each issuer needs a name of its own, other than AUTH_ISSUER")
    pages = [one.sign_in for one in found if one.sign_in is not None]
    if len({one.id for one in pages}) < len(pages):
        raise TrustError(f"{path}: each `sign_in` needs an `id` of its own")
    return tuple(_resolved(path, one) for one in found)


def _resolved(path: Path, one: TrustedIssuer) -> TrustedIssuer:
    """Return an issuer with absolute file paths. Raises TrustError."""
    sign_in = one.sign_in
    if sign_in is not None and sign_in.client_secret_file:
        file = path.parent / sign_in.client_secret_file
        sign_in = dataclasses.replace(sign_in, client_secret_file=str(file))
        if not file.is_file():
            raise TrustError(f"{path}: there is no `client_secret_file` {file}")
    return dataclasses.replace(one, jwks=_beside(path, one.jwks), sign_in=sign_in)


def _beside(path: Path, jwks: str) -> str:
    return jwks if "://" in jwks else str(path.parent / jwks)


def _issuer(table: Any, where: str) -> TrustedIssuer:
    values = fields_of(TrustedIssuer, table, where, error=TrustError)
    for name in ("issuer", "audiences", "jwks"):
        if not values.get(name):
            raise TrustError(f"{where}: `{name}` is missing")
    if "claims" in values:
        values["claims"] = ClaimNames(
            **fields_of(ClaimNames, values["claims"], f"{where} claims", error=TrustError)
        )
    if "sign_in" in values:
        values["sign_in"] = _sign_in(values["sign_in"], f"{where} sign_in")
    try:
        values["roles"] = {
            str(theirs): Role(ours) for theirs, ours in dict(values.get("roles", {})).items()
        }
        if "default_role" in values:
            values["default_role"] = Role(values["default_role"])
    except (ValueError, TypeError):
        raise TrustError(f"{where}: a role must be one of {', '.join(Role)}") from None
    found = TrustedIssuer(**values)
    _check(found, where)
    return found


def _sign_in(table: Any, where: str) -> SignInWith:
    values = fields_of(SignInWith, table, where, error=TrustError)
    for name in ("id", "label", "client_id"):
        if not values.get(name):
            raise TrustError(f"{where}: `{name}` is missing")
    if not re.fullmatch("[a-z0-9-]{1,32}", values["id"]):
        raise TrustError(f"{where}: `id` must be 1–32 of a–z, 0–9 and -")
    return SignInWith(**values)


def _check(one: TrustedIssuer, where: str) -> None:
    if not one.algorithms or not ALGORITHMS.issuperset(one.algorithms):
        raise TrustError(f"{where}: `algorithms` must be of {', '.join(sorted(ALGORITHMS))}")
    if Role.ADMIN in (*one.roles.values(), one.default_role):
        raise TrustError(
            f"{where}: another issuer cannot make administrators; give them the role with"
            " `python -m auth_service create-user --role admin`"
        )
    if not one.roles and one.default_role is None:
        raise TrustError(f"{where}: needs `roles`, `default_role`, or both")
    if one.roles and not one.claims.role:
        raise TrustError(f"{where}: `roles` needs the claim's name in `claims.role`")
    if not 0 <= one.leeway_s <= 300:
        raise TrustError(f"{where}: `leeway_s` must be 0–300")
    if not one.types:
        raise TrustError(f"{where}: `types` must name at least one")
    if "://" in one.jwks:
        check_address(one.jwks, f"{where}: `jwks`")


def check_address(address: str, where: str) -> None:
    """Refuse an address whose answers anybody on the way could forge. Raises TrustError."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise TrustError(f"{where} must be an https address (http only to this machine)")
