"""A well-behaved client of the protocol, in Python: logs in, connects, reconnects with jitter.

Tests and chaos judge the server by every single answer, which `aivo_client` rightly hides behind
its retries, so this one is separate and retries nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HTTP_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 10.0
MAX_FRAME_BYTES = 4 * 1024 * 1024

STAY_CLOSED = frozenset({1000, 4400, 4403})
"""Close codes after which reconnecting would not help."""
BAD_TOKEN = 4401

Frame = dict[str, Any]


class RefusedError(Exception):
    """The server refuses this client or these credentials; retrying would not help."""


class DisconnectedError(Exception):
    """The connection is gone or was never made; come back after `retry_after_s` (None: the usual
    backoff).
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class TokenSource(Protocol):
    """Where access tokens come from."""

    async def token(self) -> str:
        """Return a token good for another minute at least; raises RefusedError or
        DisconnectedError.
        """

    def rejected(self) -> None:
        """Drop the token, which the server refused; raises RefusedError when there can be no
        other.
        """


class FixedToken:
    """A token that someone else made."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """Return it."""
        return self._token

    def rejected(self) -> None:
        """Raise RefusedError: there is no other."""
        raise RefusedError("the access token is not valid, or not any more")


class Account:
    """Logs in once, then refreshes."""

    def __init__(self, http_url: str, email: str, password: str) -> None:
        """Remember credentials; nothing is sent yet."""
        self._http_url = http_url.rstrip("/")
        self._credentials = {"email": email, "password": password}
        self._access = ""
        self._refresh = ""
        self._expires = 0.0
        self._turn = asyncio.Lock()

    async def token(self) -> str:
        """Return a token good for another minute at least; raises RefusedError or
        DisconnectedError.
        """
        async with self._turn:
            if time.monotonic() > self._expires - 60:
                await asyncio.to_thread(self._renew)
            return self._access

    def rejected(self) -> None:
        """Refresh or log in before the next use."""
        self._expires = 0.0

    def _renew(self) -> None:
        answer: Frame | None = None
        if self._refresh:
            with contextlib.suppress(RefusedError):
                answer = post(
                    f"{self._http_url}/api/auth/refresh", {"refresh_token": self._refresh}
                )
        if answer is None:
            answer = post(f"{self._http_url}/api/auth/login", self._credentials)
        self._access, self._refresh = answer["access_token"], answer["refresh_token"]
        self._expires = time.monotonic() + float(answer["expires_in"])


def post(url: str, body: Mapping[str, object]) -> Frame:
    """Post JSON and return the JSON answer; raises RefusedError for 4xx, DisconnectedError for
    anything that may pass.
    """
    request = urllib.request.Request(  # noqa: S310 - the caller's own server
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:  # noqa: S310
            parsed: Frame = json.load(answer)
            return parsed
    except urllib.error.HTTPError as error:
        with error:
            detail = error.read(500).decode("utf-8", "replace")
            retry_after = error.headers.get("Retry-After", "")
        if error.code in (408, 425, 429) or error.code >= 500:
            raise DisconnectedError(
                f"{url} answered {error.code}",
                float(retry_after) if retry_after.isdecimal() else None,
            ) from None
        raise RefusedError(f"{url} answered {error.code}: {detail}") from None
    except (OSError, ValueError) as error:
        raise DisconnectedError(f"{url} does not answer: {error}") from error


class Socket:
    """An open, authenticated socket. Use it as an async context manager, or close it."""

    def __init__(
        self, connection: ClientConnection, established: Frame, tokens: TokenSource
    ) -> None:
        """Take over a connection whose `connection_established` has arrived."""
        self._connection = connection
        self._tokens = tokens
        self._draining_s: float | None = None
        self.established = established

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that the server told."""
        limits: Mapping[str, float] = self.established.get("limits") or {}
        return limits

    async def send(self, frame: Mapping[str, object]) -> None:
        """Send one frame; raises DisconnectedError or RefusedError when the socket has closed."""
        try:
            await self._connection.send(
                json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
            )
        except ConnectionClosed as closed:
            raise self._farewell(closed) from None

    async def receive(self) -> Frame:
        """Return the next frame; raises DisconnectedError or RefusedError when the socket has
        closed. Cancelling is safe.
        """
        try:
            frame: Frame = json.loads(await self._connection.recv())
        except ConnectionClosed as closed:
            raise self._farewell(closed) from None
        if frame.get("type") == "server_draining":
            self._draining_s = float(frame.get("reconnect_after_ms", 0)) / 1000
        return frame

    async def close(self) -> None:
        """Say goodbye and wait for the answer, at most a few seconds."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        """Return the socket."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    def _farewell(self, closed: ConnectionClosed) -> Exception:
        return _farewell(closed, self._tokens, self._draining_s)


async def open_socket(url: str, tokens: TokenSource) -> Socket:
    """Connect and authenticate by the first frame; raises RefusedError or DisconnectedError."""
    token = await tokens.token()
    try:
        connection = await connect(
            url,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=3,
            max_size=MAX_FRAME_BYTES,
        )
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise DisconnectedError(f"{url} does not answer: {error}") from error
    try:
        await connection.send(json.dumps({"type": "authenticate", "token": token}))
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            while True:
                frame: Frame = json.loads(await connection.recv())
                if frame.get("type") == "connection_established":
                    return Socket(connection, frame, tokens)
    except ConnectionClosed as closed:
        raise _farewell(closed, tokens) from None
    except TimeoutError:
        await connection.close()
        raise DisconnectedError(f"{url} did not say connection_established in time") from None
    except BaseException:
        await connection.close()
        raise


def _farewell(
    closed: ConnectionClosed, tokens: TokenSource, draining_s: float | None = None
) -> Exception:
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    reason = closed.rcvd.reason if closed.rcvd is not None else "the connection broke"
    if code == BAD_TOKEN:
        tokens.rejected()
    if code in STAY_CLOSED:
        return RefusedError(f"the server closed the socket for good: {code} {reason}")
    return DisconnectedError(f"the socket closed: {code} {reason}", draining_s)


def backoff_s(attempt: int, *, base_s: float = 0.2, most_s: float = 10.0) -> float:
    """Return the wait before attempt `attempt` (from 0): full jitter, so that a crowd does not come
    back at once.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random.uniform(0, min(most_s, base_s * 2 ** min(attempt, 20)))  # noqa: S311 - not a secret


def uuid7() -> str:
    """Return a time-ordered UUID (RFC 9562, version 7), as `interaction_id` should be."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
