"""Logs every request, for DEBUG: its path without the query, which may carry a token."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

logger = logging.getLogger(__name__)


def log_requests(app: FastAPI) -> None:
    """Log each request after its answer."""

    @app.middleware("http")
    async def tell(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        extra = {"method": request.method, "path": request.url.path, "status": response.status_code}
        logger.info("request", extra=extra)
        return response
