"""What every request goes through before its route: the client's address and its limit, HEAD as a
GET without a body, limits on the body's size and time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.admission import prices
from edge.admission.addresses import Proxies, shared_by
from edge.admission.door import Door
from edge.http.problems import problem_response

T = TypeVar("T")

_NO_HOST: Final = re.compile(r"[\s@\\,]")

_HEALTH = frozenset({"/healthz", "/readyz"})
"""What somebody who asks too much hears, because clients act on it."""

_OF_MANY: Final = "aivo.connection_of_many"
"""In a request's scope where our proxy's connection carries it, with those of others."""

_FORWARDED, _SCHEME = b"x-forwarded-for", b"x-forwarded-proto"

MAX_BODY_BYTES = 64 * 1024
"""Far more than the credentials and tokens that are all anybody sends; without it anyone could fill
our memory.
"""

LARGE_BODIES = {"/api/xapi/statements": 4 * 1024 * 1024}
"""Routes that take more, and read nothing before they know who asks."""

BODY_S = 10.0
"""Seconds from a request's head to the end of its body, however it is cut into pieces."""


class KnownClient:
    """ASGI middleware: puts the client's own address and scheme in place of our proxy's."""

    def __init__(self, app: ASGIApp, *, proxies: Proxies) -> None:
        """Ask `app`, believing `proxies`."""
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer = (scope.get("client") or ("",))[0]
        if scope["type"] == "http" and self._proxies.trust(peer):
            headers = scope["headers"]
            forwarded = [value.decode("latin-1") for name, value in headers if name == _FORWARDED]
            schemes = [value for name, value in headers if name == _SCHEME]
            scope["client"] = (self._proxies.client(peer, forwarded), 0)
            scope[_OF_MANY] = True
            if schemes and schemes[-1].lower() in (b"http", b"https"):
                scope["scheme"] = schemes[-1].decode().lower()
        await self._app(scope, receive, send)


class ReadableHost:
    """ASGI middleware: refuses a request whose `Host` is none, before a route makes an address of
    it.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and not _is_host(Headers(scope=scope).get("host", "")):
            app = problem_response(400, "bad_request", "The header Host names no host.")
        await app(scope, receive, send)


def _is_host(text: str) -> bool:
    try:
        return urlsplit(f"//{text}").netloc == text and not _NO_HOST.search(text)
    except ValueError:
        return False


class HeadLikeGet:
    """ASGI middleware: answers HEAD as GET, without the body (RFC 9110 §9.3.2); uptime checks ask
    so.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # Ended here, so that answers which go on see that nobody listens.
                await send({"type": "http.response.body"})

        await self._app({**scope, "method": "GET"}, receive, without_body)


class Metered:
    """ASGI middleware: whoever shows a token that was good lately pays for the request, whatever it
    asks for; else its address may make so many.

    The connection of an address that asks too much ends with the answer: the next request of
    somebody who does not wait costs them a connection, of which they may make few.
    """

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        """Ask `app`."""
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app, is_free = self._app, scope["type"] != "http" or scope["path"] in _HEALTH
        if not is_free:
            owner = self._owner(scope)
            if wait_s := self._pay(scope, owner):
                app = problem_response(
                    429,
                    "rate_limited",
                    "Too many requests; slow down.",
                    retry_after_ms=int(wait_s * 1000) + 1,
                )
            if not owner and not scope.get(_OF_MANY):
                send = _ending(send)
        await app(scope, receive, send)

    def _owner(self, scope: Scope) -> str:
        """Return whose token that was good lately the request shows; empty where it shows none."""
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        return self._door.known.owner(token.strip()) if scheme.lower() == "bearer" else ""

    def _pay(self, scope: Scope, owner: str) -> float:
        """Take the request's price, or return after how many seconds to try again."""
        now, price = time.monotonic(), prices.of_request(scope["path"])
        if owner:
            return self._door.budgets.of(owner, now).take(price * prices.OF_KNOWN, now)
        address = shared_by((scope.get("client") or ("",))[0])
        return self._door.requests.of(address, now).take(price, now)


def _ending(send: Send) -> Send:
    """Return what sends an answer, and has the connection end after one that says 429."""

    async def ending(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 429:
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return ending


class SmallBodies:
    """ASGI middleware: refuses a request's body that is larger than `MAX_BODY_BYTES` or not there
    after `BODY_S`.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        taken, whole = 0, False
        most = LARGE_BODIES.get(scope.get("path", ""), MAX_BODY_BYTES)
        deadline = asyncio.get_running_loop().time() + BODY_S

        async def piece() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()  # comes when the client goes
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request's body did not come.") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > most:
                raise HTTPException(413, f"A request's body has at most {most} bytes.")
            return message

        await self._app(scope, piece, send)


TURNS: Final = 2
"""Of the event loop, in which it hears of a client that has gone."""


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work does, which is cancelled when the client goes meanwhile; for work that
    is dear and of no use to anybody else. The request's body must have been read.

    Raises `ClientDisconnect`.
    """
    gone = asyncio.ensure_future(request.receive())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    if gone.done():  # before it has cost anything
        work.close()
        raise ClientDisconnect
    asked = asyncio.ensure_future(work)
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ClientDisconnect
        return asked.result()
    finally:
        asked.cancel()
        gone.cancel()
