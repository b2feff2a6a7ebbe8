"""Writes bytes into tokens, and makes the digests by which tokens are remembered."""

from __future__ import annotations

import base64
import binascii
import hashlib


def to_text(raw: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """Return what `to_text` wrote. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def token_digest(token: str) -> bytes:
    """Return the digest that a token is remembered by, so that memory holds no token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
