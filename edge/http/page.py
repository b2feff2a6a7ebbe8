"""The built page, and the headers that keep browsers from running or embedding anything else."""

from __future__ import annotations

import functools
import gzip
import os
import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers as RequestHeaders
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
_DOCS_POLICY = _POLICY + "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
"""Swagger UI is started by a script in its page."""

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
"""What a header may repeat: a host name or address, and a port."""

_HSTS = "max-age=31536000"

_TEXTS = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".webmanifest"})
"""Files that are worth compressing."""


def add_page(app: FastAPI, folder: Path | None) -> None:
    """Serve the page at every path without a route; without a built page, say how to build it."""
    if folder is not None and folder.is_dir():
        app.router.routes.append(_Page("/", Compressed(directory=folder, html=True), name="page"))
        return

    @app.get("/", include_in_schema=False)
    async def no_page() -> PlainTextResponse:
        """Say how to build the page."""
        return PlainTextResponse(
            "The page is not built: run `make web`. The HTTP API is described at /docs.\n"
        )


class Compressed(StaticFiles):
    """Files that are compressed once, for clients that take gzip."""

    def file_response(
        self,
        full_path: PathLike,
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return a file, or 304 if the client's copy is current."""
        plain = super().file_response(full_path, stat_result, scope, status_code)
        if os.path.splitext(full_path)[1] not in _TEXTS:
            return plain
        asked = RequestHeaders(scope=scope)
        response: Response = plain
        if _takes_gzip(asked.get("accept-encoding", "")):
            whole = _gzipped(str(full_path), stat_result.st_mtime_ns, stat_result.st_size)
            response = Response(whole, status_code, media_type=plain.media_type)
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Last-Modified"] = plain.headers["last-modified"]
            # Another body is another entity (RFC 9110 §8.8.3.3).
            response.headers["ETag"] = plain.headers["etag"].rstrip('"') + '-gzip"'
            if self.is_not_modified(response.headers, asked):
                response = NotModifiedResponse(response.headers)
        response.headers["Vary"] = "Accept-Encoding"
        return response


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@functools.lru_cache(maxsize=128)
def _gzipped(path: str, changed_ns: int, size: int) -> bytes:
    """Return a file's compressed content, cached until the file changes."""
    return gzip.compress(Path(path).read_bytes(), compresslevel=9, mtime=0)


class _Page(Mount):
    """Matches the page's paths and leaves /api to its router, which gives better errors."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the page answers a request."""
        return (Match.NONE, {}) if scope["path"].startswith("/api/") else super().matches(scope)


class Headers:
    """ASGI middleware: adds security headers to every answer."""

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
    """Allow only this host; older browsers do not count a socket to it as `'self'`."""
    socket = f" {'wss' if secure else 'ws'}://{host}" if _HOST.fullmatch(host) else ""
    return f"; connect-src 'self'{socket}"
