"""What every request goes through before its route: HEAD is a GET without a body, and bodies are small."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
"""Far more than the credentials and tokens that are all anybody sends; without it anyone could fill our memory."""


class HeadLikeGet:
    """ASGI middleware: answers HEAD as GET, without the body (RFC 9110 §9.3.2); uptime checks ask so."""

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


class SmallBodies:
    """ASGI middleware: refuses a request's body as soon as more than `MAX_BODY_BYTES` of it were read."""

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise HTTPException(413, f"A request's body has at most {MAX_BODY_BYTES} bytes.")
            return message

        await self._app(scope, counted, send)
