"""Tokens: our own, and those of issuers that the school trusts. The only module that knows JWTs."""

from __future__ import annotations

from auth_service.tokens.own import (
    BadTokenError,
    Claims,
    Clock,
    KeyFile,
    KeyFileError,
    KeySet,
    RefreshToken,
    SigningKey,
    Tokens,
)

__all__ = [
    "BadTokenError",
    "Claims",
    "Clock",
    "KeyFile",
    "KeyFileError",
    "KeySet",
    "RefreshToken",
    "SigningKey",
    "Tokens",
]
