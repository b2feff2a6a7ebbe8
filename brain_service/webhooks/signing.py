"""Signs messages by the Standard Webhooks specification 1.0.0, symmetric scheme `v1`
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64
"""Bytes of a secret, as the specification asks."""


class BadSecretError(ValueError):
    """A secret that cannot sign; the text does not repeat it."""


def read_secret(text: str) -> bytes:
    """Return the key of a secret `whsec_…`. Raises BadSecretError."""
    if not text.startswith(_PREFIX):
        raise BadSecretError(f"a secret must begin with {_PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecretError(f"what follows {_PREFIX} must be Base64") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise BadSecretError(f"a secret must have {_SHORTEST}–{_LONGEST} bytes")
    return key


def signed(
    message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]
) -> dict[str, str]:
    """Return the headers of an attempt at `timestamp`, Unix seconds, with a signature by each
    secret.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
