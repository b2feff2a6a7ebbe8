"""Asks identity providers for JSON. Answers are limited in time and size, so that a provider that
stalls or never ends holds up nobody for longer than that.
"""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpx

PATIENCE_S: Final = 5.0
"""Seconds for the whole of an answer, connecting included."""
MOST_BYTES: Final = 1 << 20


class UnansweredError(Exception):
    """There is no usable answer; the sentence repeats nothing of one."""

    def __init__(self, sentence: str, *, status: int = 0) -> None:
        """`status` is the HTTP status of a refusal; 0 when nobody refused."""
        super().__init__(sentence)
        self.status = status


async def asked(
    address: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Return the JSON at an address, or what it answers to a form.

    Redirects are not followed, least of all with a secret. Raises UnansweredError.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await _body(address, form, headers))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError) as error:
        raise UnansweredError(f"no answer ({type(error).__name__})") from None


async def _body(
    address: str, form: Mapping[str, str] | None, headers: Mapping[str, str] | None
) -> bytes:
    method = "GET" if form is None else "POST"
    told = {"Accept": "application/json", **(headers or {})}
    async with (
        httpx.AsyncClient(verify=_certificates(), timeout=PATIENCE_S) as client,
        client.stream(method, address, data=form, headers=told) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise UnansweredError(f"refused with {answer.status_code}", status=answer.status_code)
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise UnansweredError("the answer is too long")
        return bytes(body)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return the system's certificates, as read once: that takes a while."""
    return ssl.create_default_context()
