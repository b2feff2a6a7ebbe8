"""Devices with an earlier sign-in, which strangers' guesses do not slow down.

After https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies. A
device keeps a token that only this service can make, for one account.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

_NONCE: Final = 16
_MAC: Final = 32
_TIME: Final = 6


class Devices:
    """Makes and checks device tokens."""

    def __init__(self, secret: bytes, *, lifetime_s: int) -> None:
        """`secret` is the service's alone; tokens are good for `lifetime_s` seconds."""
        self._secret = secret
        self._lifetime_s = lifetime_s

    def token(self, account: str, now_s: float) -> str:
        """Return a token that this account has signed in from some device."""
        head = secrets.token_bytes(_NONCE) + int(now_s).to_bytes(_TIME)
        return base64.urlsafe_b64encode(head + self._mac(head, account)).rstrip(b"=").decode()

    def knows(self, token: str, account: str, now_s: float) -> str:
        """Return the device's name if this token was made for this account; else an empty
        string.
        """
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return ""
        head, mac = data[: _NONCE + _TIME], data[_NONCE + _TIME :]
        if len(data) != _NONCE + _TIME + _MAC or not hmac.compare_digest(
            mac, self._mac(head, account)
        ):
            return ""
        made_s = int.from_bytes(head[_NONCE:])
        return head[:_NONCE].hex() if now_s - made_s < self._lifetime_s else ""

    def _mac(self, head: bytes, account: str) -> bytes:
        text = head + account.encode(errors="surrogatepass")
        return hmac.new(self._secret, b"aivo device" + text, hashlib.sha256).digest()
