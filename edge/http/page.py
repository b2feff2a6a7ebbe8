"""The built page, and the headers that keep browsers from running or embedding anything else."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers as RequestHeaders
from starlette.datastructures import MutableHeaders
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
_DOCS_POLICY = _POLICY + "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
"""Swagger UI is started by a script in its page."""

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
"""What may be repeated in a header: a name or address, and a port."""

_HSTS = "max-age=31536000"


def add_page(app: FastAPI, folder: Path | None) -> None:
    """Serve the page at every path that no route has; without a built page, say how to get one."""
    if folder is not None and folder.is_dir():
        app.router.routes.append(_Page("/", StaticFiles(directory=folder, html=True), name="page"))
        return

    @app.get("/", include_in_schema=False)
    async def no_page() -> PlainTextResponse:
        """Say how to get the page."""
        return PlainTextResponse(
            "The page is not built: run `make web`. The HTTP API is described at /docs.\n"
        )


class _Page(Mount):
    """The page, which leaves the API alone: its router knows better why a path of its own is
    refused.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the page answers a request."""
        return (Match.NONE, {}) if scope["path"].startswith("/api/") else super().matches(scope)


class Headers:
    """ASGI middleware: adds to every answer what browsers should be strict about."""

    def __init__(self, app: ASGIApp) -> None:
        """Ask `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(scope, MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, hardened)


def _harden(scope: Scope, headers: MutableHeaders) -> None:
    path, secure = scope["path"], scope["scheme"] == "https"
    policy = _DOCS_POLICY if path == "/docs" else _POLICY
    host = RequestHeaders(scope=scope).get("host", "")
    headers["Content-Security-Policy"] = policy + _connect(host, secure)
    if secure:
        headers["Strict-Transport-Security"] = _HSTS
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if path.startswith("/api/"):
        headers.setdefault("Cache-Control", "no-store")


def _connect(host: str, secure: bool) -> str:
    """Allow this host alone; older browsers do not take a socket to it for `'self'`."""
    socket = f" {'wss' if secure else 'ws'}://{host}" if _HOST.fullmatch(host) else ""
    return f"; connect-src 'self'{socket}"
