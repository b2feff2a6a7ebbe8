"""Access tokens (EdDSA JWTs) and opaque refresh tokens, and the key file behind both."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auth_service.tokens.encoding import to_bytes, to_text, token_digest

_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"  # RFC 9068 §2.1: an access token is never mistaken for another kind of JWT
_MAX_TOKEN_CHARACTERS = 4096
_MAC_BYTES = 16
_RANDOM_BYTES = 16
_REFRESH_BYTES = 16 + 4 + _RANDOM_BYTES + _MAC_BYTES

Clock = Callable[[], float]
"""Unix time in seconds."""


class BadTokenError(Exception):
    """The token is invalid; the sentence never contains it."""


class KeyFileError(Exception):
    """The key file cannot be read or written; the sentence names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an access token."""

    user_id: str
    session_id: str
    expires_at: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token that this service made: `generation` counts the refreshes of the session."""

    session_id: str
    generation: int
    digest: bytes
    """SHA-256 of the token: all that is ever stored of it."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair; it signs from `sign_from` (Unix seconds) until a newer key takes over."""

    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    sign_from: float

    @staticmethod
    def make(sign_from: float, seed: bytes | None = None) -> SigningKey:
        """Return a new key, or the one derived from a 32-byte `seed`."""
        private = (
            Ed25519PrivateKey.generate()
            if seed is None
            else Ed25519PrivateKey.from_private_bytes(seed)
        )
        public = private.public_key()
        # The kid is the key's thumbprint (RFC 7638 §3, member order of RFC 8037 §2).
        x = to_text(public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
        return SigningKey(to_text(thumbprint), private, public, sign_from)

    def public_jwk(self) -> dict[str, str]:
        """Return the public half as a JSON Web Key (RFC 8037)."""
        x = to_text(self.public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": x,
            "kid": self.kid,
            "use": "sig",
            "alg": _ALGORITHM,
        }


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys in use, oldest first, and the secret that marks refresh tokens as ours."""

    keys: tuple[SigningKey, ...]
    refresh_secret: bytes

    @staticmethod
    def make(now: float) -> KeySet:
        """Return a set with one new key that signs at once."""
        return KeySet((SigningKey.make(now),), secrets.token_bytes(32))

    def signer(self, now: float) -> SigningKey:
        """Return the newest key that may sign (the oldest, should the clock have gone back)."""
        return next((key for key in reversed(self.keys) if key.sign_from <= now), self.keys[0])

    def rotated(self, now: float, *, lead_s: float, keep_s: float) -> KeySet:
        """Return a set with a new key that signs after `lead_s` seconds, when verifiers have
        fetched it.

        Keys are dropped that stopped signing more than `keep_s` seconds ago: all their tokens have
        expired.
        """
        ends = [key.sign_from for key in self.keys[1:]] + [float("inf")]
        kept = tuple(key for key, end in zip(self.keys, ends, strict=True) if end > now - keep_s)
        return KeySet((*kept, SigningKey.make(now + lead_s)), self.refresh_secret)

    def jwks(self) -> str:
        """Return the public keys as a JSON Web Key Set (RFC 7517), coming ones included."""
        return json.dumps({"keys": [key.public_jwk() for key in self.keys]})


class KeyFile:
    """The file that the keys live in; readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load_or_create(self, now: float) -> KeySet:
        """Return the keys in the file, which is made with mode 600 when there is none. Raises
        KeyFileError.

        Safe when several processes start at once: the first file wins, and all use it.
        """
        if not self._path.exists():
            self._create(KeySet.make(now))
        return self.load()

    def load(self) -> KeySet:
        """Return the keys in the file. Raises KeyFileError."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            keys = tuple(
                SigningKey.make(float(key["sign_from"]), to_bytes(key["d"]))
                for key in content["keys"]
            )
            refresh_secret = to_bytes(content["refresh_secret"])
        except OSError as error:
            raise KeyFileError(
                f"cannot read the key file {self._path}: {error.strerror}"
            ) from error
        except (ValueError, KeyError, TypeError):
            # The cause is left out: it may quote the file.
            raise KeyFileError(
                f"the key file {self._path} is damaged; restore it, or remove it to end all"
                " sessions"
            ) from None
        if not keys or len(refresh_secret) != 32:
            raise KeyFileError(
                f"the key file {self._path} has no key; remove it to end all sessions"
            )
        return KeySet(tuple(sorted(keys, key=lambda key: key.sign_from)), refresh_secret)

    def replace(self, keys: KeySet) -> None:
        """Write the keys in place of the old ones, all or nothing. Raises KeyFileError."""
        with self._written(keys) as temporary:
            temporary.replace(self._path)

    def stamp(self) -> tuple[int, int]:
        """Return a value that changes when the file does. Raises KeyFileError."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise KeyFileError(
                f"cannot read the key file {self._path}: {error.strerror}"
            ) from error
        return status.st_mtime_ns, status.st_ino

    def _create(self, keys: KeySet) -> None:
        with self._written(keys) as temporary, contextlib.suppress(FileExistsError):
            # A link, unlike a rename, never replaces the file of a process that was faster.
            os.link(temporary, self._path)

    @contextlib.contextmanager
    def _written(self, keys: KeySet) -> Any:
        content = {
            "keys": [
                {
                    "kid": key.kid,
                    "d": to_text(
                        key.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
                    ),
                    "sign_from": key.sign_from,
                }
                for key in keys.keys
            ],
            "refresh_secret": to_text(keys.refresh_secret),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(
                dir=self._path.parent, prefix=f".{self._path.name}."
            )  # mode 600
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(
                f"cannot write the key file {self._path}: {error.strerror}"
            ) from error


class Tokens:
    """Makes and reads tokens with the current keys; remembers verified access tokens."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        clock: Clock,
        leeway_s: float = 0.0,
        remembered: int = 16_384,
    ) -> None:
        """Sign and verify as `issuer`. Tokens are good for `leeway_s` longer than they say, because
        another service's clock may have been ahead when it signed them; `remembered` bounds the
        memory of verified tokens (about 350 bytes each).
        """
        self._leeway_s = leeway_s
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._limit = remembered
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()
        self._public = {key.kid: key.public for key in keys.keys}

    def use(self, keys: KeySet) -> None:
        """Use other keys: tokens of removed keys are refused from now on."""
        self._keys = keys
        self._public = {key.kid: key.public for key in keys.keys}
        self._verified.clear()

    def jwks(self) -> str:
        """Return the public keys as a JSON Web Key Set."""
        return self._keys.jwks()

    def sign(self, user_id: str, session_id: str, role: str, ttl_s: int) -> str:
        """Return an access token that is good for `ttl_s` seconds."""
        now = self._clock()
        key = self._keys.signer(now)
        claims = {
            "iss": self._issuer,
            "sub": user_id,
            "sid": session_id,
            "role": role,
            "iat": int(now),
            "exp": int(now) + ttl_s,
            "jti": secrets.token_urlsafe(9),
        }
        token = jwt.encode(
            claims, key.private, algorithm=_ALGORITHM, headers={"kid": key.kid, "typ": _TYPE}
        )
        # Tokens signed here need no verification: most are first used at the process that made
        # them.
        self._remember(token_digest(token), Claims(user_id, session_id, int(now) + ttl_s))
        return token

    def secret_for(self, purpose: str) -> bytes:
        """Return a secret of this key set for another purpose than tokens."""
        return hmac.digest(self._keys.refresh_secret, b"for " + purpose.encode(), "sha256")

    def left_ms(self, claims: Claims) -> int:
        """Return for how many milliseconds a token is still good by this clock; at least 1."""
        return max(1, int((claims.expires_at - self._clock()) * 1000))

    def read(self, token: str, *, allow_expired: bool = False) -> Claims:
        """Return the claims of an access token that we signed and that has not expired. Raises
        BadTokenError.
        """
        if not token or len(token) > _MAX_TOKEN_CHARACTERS:
            raise BadTokenError("the access token is not valid")
        digest = token_digest(token)
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._verify(token)
            self._remember(digest, claims)
        if not allow_expired and claims.expires_at + self._leeway_s <= self._clock():
            raise BadTokenError("the access token has expired")
        return claims

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._verified[digest] = claims
        if len(self._verified) > self._limit:
            self._verified.popitem(last=False)

    def _verify(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            public = self._public.get(header.get("kid", ""))
            if public is None or header.get("typ") != _TYPE:
                raise BadTokenError("the access token is not valid")
            payload = jwt.decode(
                token,
                public,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                # Times are judged by `read`, against this service's clock, on every use.
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "require": ["exp", "sub", "sid", "iss"],
                },
            )
            return Claims(str(payload["sub"]), str(payload["sid"]), int(payload["exp"]))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadTokenError("the access token is not valid") from None

    def make_refresh(
        self, session_id: str, generation: int, *, seed: bytes | None = None
    ) -> tuple[str, bytes]:
        """Return a refresh token and its digest; the same one for the same `seed`, which must be
        secret.

        It consists of session, generation, randomness and a MAC. The MAC proves that we made it, so
        that reuse of an old generation is recognised although only the newest digest is stored.
        """
        random = secrets.token_bytes(_RANDOM_BYTES) if seed is None else self._mac(b"random" + seed)
        body = uuid.UUID(session_id).bytes + generation.to_bytes(4, "big") + random
        token = to_text(body + self._mac(body))
        return token, hashlib.sha256(token.encode()).digest()

    def read_refresh(self, token: str) -> RefreshToken:
        """Parse a refresh token of ours. Raises BadTokenError. The store knows whether it may still
        be used.
        """
        try:
            raw = to_bytes(token) if len(token) <= _MAX_TOKEN_CHARACTERS else b""
        except ValueError:
            raw = b""
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # The text must be the one we wrote: base64 has several texts for the same bytes.
        if (
            len(raw) != _REFRESH_BYTES
            or not hmac.compare_digest(mac, self._mac(body))
            or to_text(raw) != token
        ):
            raise BadTokenError("the refresh token is not valid")
        session_id = str(uuid.UUID(bytes=body[:16]))
        return RefreshToken(
            session_id, int.from_bytes(body[16:20], "big"), hashlib.sha256(token.encode()).digest()
        )

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._keys.refresh_secret, body, "sha256")[:_MAC_BYTES]
