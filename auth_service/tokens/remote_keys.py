"""Another issuer's public keys: fetched, cached, and fetched again for unknown key ids."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jwt

from auth_service.asking import UnansweredError, asked
from auth_service.tokens.own import BadTokenError

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Monotonic seconds."""

REFRESH_S: Final = 300.0
"""Seconds after which keys are fetched again though none was missing: revoked ones disappear."""
RETRY_S: Final = 5.0
"""Least seconds between two fetches, whatever tokens name."""
_WAIT_S: Final = 1.0
"""How long a token waits for a fetch: others may wait behind it."""


class RemoteKeys:
    """The keys of one issuer. While they cannot be fetched, the known ones stay valid."""

    def __init__(self, source: str, clock: Clock) -> None:
        """`source` is an address, or the path of a file."""
        self._source = source
        self._clock = clock
        self._jwks: dict[str, dict[str, Any]] = {}
        self._keys: dict[tuple[str, str], jwt.PyJWK] = {}
        self._asked_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._healthy = True

    async def key(self, kid: str, algorithm: str) -> jwt.PyJWK:
        """Return the key that a token names, for exactly this algorithm. Raises BadTokenError."""
        if kid not in self._jwks:
            if self._clock() - self._asked_at >= RETRY_S:
                self._start()
            if self._fetching is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WAIT_S):
                        await asyncio.shield(self._fetching)
        elif self._clock() - self._asked_at >= REFRESH_S:
            self._start()
        return self._known(kid, algorithm)

    async def only(self) -> str:
        """Return the id of the key of an issuer that has one, else an empty text: such an ID token
        need not name it (OpenID Connect Core §10.1).
        """
        if not self._jwks and self._clock() - self._asked_at >= RETRY_S:
            await self.load()
        return next(iter(self._jwks)) if len(self._jwks) == 1 else ""

    async def load(self) -> None:
        """Fetch the keys now; trouble is logged, and the next token tries again."""
        self._start()
        if self._fetching is not None:
            await self._fetching

    def _known(self, kid: str, algorithm: str) -> jwt.PyJWK:
        found = self._keys.get((kid, algorithm))
        if found is None:
            content = self._jwks.get(kid)
            if content is None:
                raise BadTokenError("the key of the access token is unknown")
            # A key that names its algorithm serves no other; PyJWK refuses one of another type.
            if content.get("alg", algorithm) != algorithm:
                raise BadTokenError("the access token is not valid")
            try:
                found = jwt.PyJWK(content, algorithm=algorithm)
            except (jwt.PyJWTError, ValueError):
                raise BadTokenError("the access token is not valid") from None
            self._keys[kid, algorithm] = found
        return found

    def _start(self) -> None:
        if self._fetching is None:
            self._asked_at = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            self._jwks = _usable(await _content(self._source))
            self._keys = {}
            if not self._healthy:
                logger.info("the keys of a trusted issuer can be fetched again")
            self._healthy = True
        except (UnansweredError, OSError, ValueError, TypeError, AttributeError) as error:
            if self._healthy:
                logger.warning(
                    "the keys of a trusted issuer cannot be fetched; known ones stay valid",
                    extra={"source": self._source, "reason": type(error).__name__},
                )
            self._healthy = False
        finally:
            self._fetching = None


async def _content(source: str) -> Any:
    if "://" in source:
        return await asked(source)
    return json.loads(await asyncio.to_thread(Path(source).read_text, encoding="utf-8"))


def _usable(content: Any) -> dict[str, dict[str, Any]]:
    """Return the public signature keys by their ids; raises ValueError when there are none."""
    found = {
        str(key["kid"]): dict(key)
        for key in content["keys"]
        if key.get("kid") and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"
    }
    if not found:
        raise ValueError("no usable key")
    return found
