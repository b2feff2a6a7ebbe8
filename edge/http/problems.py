"""All errors of the HTTP API as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from edge.ports import UpstreamError

STATUSES = {
    "bad_request": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_many_subscriptions": 409,
    "rate_limited": 429,
    "overloaded": 503,
    "unavailable": 503,
    "internal": 500,
}
"""Which HTTP status an error code of the protocol becomes."""

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Invalid request",
    426: "Upgrade required",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}

_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not support this method; see the Allow header.",
}
"""Sentences for the router's own errors, which only have the status' name."""


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: Literal["about:blank"] = "about:blank"
    title: str = Field(description="What the status means.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in a sentence for a person.")
    code: str = Field(
        description="The same for programs; the protocol's frames use the same codes."
    )


ANY_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "An error, as problem details (RFC 9457).",
        "content": {"application/problem+json": {"schema": ProblemDetails.model_json_schema()}},
    }
}
"""How the OpenAPI document describes errors."""


class ProblemError(Exception):
    """An HTTP error: a status, a code of the protocol, and one sentence for a person."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    retry_after_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error's answer."""
    body = ProblemDetails(
        title=_TITLES.get(status, "Error"), status=status, detail=detail, code=code
    )
    response = JSONResponse(
        body.model_dump(), status, media_type="application/problem+json", headers=headers
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after_ms is not None:
        response.headers["Retry-After"] = str(max(1, -(-retry_after_ms // 1000)))
    return response


def upstream_problem(error: UpstreamError) -> Response:
    """Return the response for a call that a service refused or never received."""
    return problem_response(
        STATUSES.get(error.code, 500), error.code, str(error), retry_after_ms=error.retry_after_ms
    )


def add_problems(app: FastAPI) -> None:
    """Answer every exception of a route with a problem."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return problem_response(error.status, error.code, str(error))

    @app.exception_handler(UpstreamError)
    async def on_upstream_error(request: Request, error: UpstreamError) -> Response:
        return upstream_problem(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        if any(
            one["loc"] == ("body",) and isinstance(one["input"], bytes) for one in error.errors()
        ):
            # It was not even parsed.
            return problem_response(
                415, "bad_request", "Send JSON, with the header `Content-Type: application/json`."
            )
        places = [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors()]
        return problem_response(422, "bad_request", "; ".join(places))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = "not_found" if error.status_code == 404 else "bad_request"
        detail = _SENTENCES.get(error.status_code, str(error.detail))
        return problem_response(error.status_code, code, detail, headers=error.headers)

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> Response:
        return problem_response(
            500, "internal", "Something went wrong here; the log of the edge has the details."
        )
