"""CORS: pages of listed origins may use the API; for others the log says how to list them."""

from __future__ import annotations

from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.admission.origins import HINT, Origins
from edge.http.problems import problem_response


class CrossOrigin(CORSMiddleware):
    """ASGI middleware: answers preflight requests and adds the headers that let a page read a
    response.

    A request from an origin that is not allowed is still answered, because the browser hides the
    answer from the page; only the preflight is refused, and the log says why.
    """

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        """Ask `app`."""
        super().__init__(
            app,
            allow_origins=sorted(origins.allowed),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Retry-After"],
            max_age=600,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            allowed = self._origins.allows(headers.get("origin"), headers.get("host"))
            asks_before = "access-control-request-method" in headers
            if scope["method"] == "OPTIONS" and asks_before and not allowed:
                refused = problem_response(
                    403, "forbidden", "This page's origin is not allowed. " + HINT
                )
                await refused(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
