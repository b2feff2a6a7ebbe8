"""The built page, and the headers that keep browsers from running or embedding anything else."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

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


def add_headers(app: FastAPI) -> None:
    """Add to every answer what browsers should be strict about."""

    @app.middleware("http")
    async def harden(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        secure = request.scope["scheme"] == "https"
        policy = _DOCS_POLICY if request.scope["path"] == "/docs" else _POLICY
        response.headers["Content-Security-Policy"] = policy + _connect(request, secure)
        if secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.scope["path"].startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _connect(request: Request, secure: bool) -> str:
    """Allow this host alone; older browsers do not take a socket to it for `'self'`."""
    host = request.headers.get("host", "")
    socket = f" {'wss' if secure else 'ws'}://{host}" if _HOST.fullmatch(host) else ""
    return f"; connect-src 'self'{socket}"
