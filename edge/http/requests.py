"""Middleware before every route: the client's address and its limits, HEAD as a GET without a body,
limits on the body's size and time.
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
from edge.admission.addresses import FORWARDED_FOR, Proxies, shared_by
from edge.admission.door import Door
from edge.http.problems import problem_response

T = TypeVar("T")

_NO_HOST: Final = re.compile(r"[\s@\\,]")

_HEALTH = frozenset({"/healthz", "/readyz"})
"""Paths that are answered even over a limit, because balancers act on them."""

_OF_MANY: Final = "aivo.connection_of_many"
"""Scope key: our proxy's connection carries requests of many clients."""

_SCHEME: Final = b"x-forwarded-proto"

MAX_BODY_BYTES = 64 * 1024
"""Most bytes of a body: far more than credentials and tokens need; without it anyone could fill our
memory.
"""

LARGE_BODIES = {"/api/xapi/statements": 4 * 1024 * 1024}
"""Routes with a larger limit; they authenticate before they read."""

BODY_S = 10.0
"""Seconds from a request's head to the end of its body, in however many pieces."""


class KnownClient:
    """ASGI middleware: replaces our proxy's address and scheme by the client's."""

    def __init__(self, app: ASGIApp, *, proxies: Proxies) -> None:
        """Ask `app`, believing `proxies`."""
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer = (scope.get("client") or ("",))[0]
        if scope["type"] == "http" and self._proxies.trust(peer):
            headers = scope["headers"]
            forwarded = [
                value.decode("latin-1") for name, value in headers if name == FORWARDED_FOR
            ]
            schemes = [value for name, value in headers if name == _SCHEME]
            scope["client"] = (self._proxies.client(peer, forwarded), 0)
            scope[_OF_MANY] = True
            if schemes and schemes[-1].lower() in (b"http", b"https"):
                scope["scheme"] = schemes[-1].decode().lower()
        await self._app(scope, receive, send)


class ReadableHost:
    """ASGI middleware: refuses a request with an invalid `Host`, before a route builds a URL from
    it.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and not _is_host(Headers(scope=scope).get("host", "")):
            app = problem_response(400, "bad_request", "The Host header is not a host.")
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
                # End it here, so that streaming answers notice that nobody listens.
                await send({"type": "http.response.body"})

        await self._app({**scope, "method": "GET"}, receive, without_body)


class Metered:
    """ASGI middleware: charges a request to its user if its token was valid lately, else to its
    address.

    The connection of an address over its limit is closed with the answer: a client that does not
    wait then needs a new connection for each request, and those are limited too.
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
        """Return the user whose recently valid token the request carries; empty if none."""
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        return self._door.known.owner(token.strip()) if scheme.lower() == "bearer" else ""

    def _pay(self, scope: Scope, owner: str) -> float:
        """Take the request's price, or return the seconds to wait before trying again."""
        now, price = time.monotonic(), prices.of_request(scope["path"])
        if owner:
            return self._door.budgets.of(owner, now).take(price * prices.OF_KNOWN, now)
        address = shared_by((scope.get("client") or ("",))[0])
        return self._door.requests.of(address, now).take(price, now)


def _ending(send: Send) -> Send:
    """Return a `send` that closes the connection after a 429."""

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
                raise HTTPException(408, "The request's body did not arrive in time.") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > most:
                raise HTTPException(413, f"A request's body may have at most {most} bytes.")
            return message

        await self._app(scope, piece, send)


TURNS: Final = 2
"""Turns of the event loop in which a disconnect becomes visible."""


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects; for expensive
    work that nobody else needs. The request's body must have been read.

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
