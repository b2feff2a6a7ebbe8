"""The HTTP API and the page: who asks, what they may see, and errors as problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Cookie, Depends, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import AwareDatetime, BaseModel, Field
from starlette.exceptions import HTTPException

from edge.access import Access
from edge.analytics import Analytics
from edge.frames import outgoing
from edge.ports import Auth, Brain, Done, Identity, UpstreamError
from edge.settings import EdgeSettings
from edge.tracing import HttpSpans
from service_runtime.telemetry import Tracer

REFRESH_COOKIE = "aivo_refresh"

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

LearnerId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_.:@-]{1,128}$", description="Learner's id.")]

Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]


class BrainApi(Brain, Protocol):
    """What the HTTP API asks of the brains besides what sockets ask."""

    @property
    def ready(self) -> bool:
        """Whether every brain is reached."""

    async def history(self, learner_id: str, *, after: int, limit: int, newest: bool) -> dict[str, Any]:
        """Return a page of a learner's log."""

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        """Delete everything stored about a learner."""

    def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner."""


class AuthApi(Auth, Protocol):
    """What the HTTP API asks of the auth service besides what sockets ask."""

    is_open: asyncio.Event

    async def login(self, email: str, password: str, client_address: str) -> dict[str, Any]:
        """Exchange credentials for tokens."""

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Exchange a refresh token for new tokens."""

    async def logout(self, *, refresh_token: str, access_token: str) -> None:
        """End a session."""

    async def user(self, user_id: str) -> dict[str, Any]:
        """Return a user."""

    async def learners(self, user_id: str) -> list[dict[str, Any]]:
        """Return the learners that a user may watch."""

    async def delete_learner(self, learner_id: str) -> None:
        """Remove a learner."""

    async def jwks(self) -> str:
        """Return the public keys."""


class MetricsApi(Protocol):
    """What the HTTP API asks of the metrics service."""

    async def snapshot(self) -> dict[str, Any]:
        """Return the fleet's figures."""

    async def status(self) -> dict[str, Any]:
        """Return the few figures that anyone may see."""

    async def analytics(
        self, *, from_ms: int, to_ms: int, interval_s: int, types: Sequence[str], roles: Sequence[str]
    ) -> dict[str, Any]:
        """Return sums of the recorded messages."""

    async def erase_records(self, learner_id: str) -> int:
        """Delete the recorded messages whose content is about a learner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the HTTP API works with."""

    settings: EdgeSettings
    brain: BrainApi
    auth: AuthApi
    metrics: MetricsApi
    access: Access
    is_draining: Callable[[], bool]
    tracer: Tracer | None = None


class Credentials(BaseModel):
    """Who logs in."""

    email: str = Field(max_length=320, examples=["teacher@school.example"])
    password: str = Field(max_length=1024)
    cookie: bool = Field(
        default=False, description="Keep the refresh token in an HttpOnly cookie instead of the answer (for pages)."
    )


class RefreshToken(BaseModel):
    """A refresh token to use up; a page sends none, its cookie has it."""

    refresh_token: str | None = Field(default=None, max_length=1024)


class Problem(Exception):
    """An HTTP error: a status, and one sentence for a person."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after_ms = retry_after_ms


def make_app(services: Services) -> FastAPI:
    """Return the application that serves /api, health checks and the page."""
    app = FastAPI(
        title="AIVO realtime",
        version="0.1.0",
        summary="Follows each learner's state while they learn and shows it live to those who may watch.",
        redoc_url=None,
        # Its own spans and logs would hold paths with ids, query strings with tokens, and refused values.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = services
    _add_problems(app)
    _add_auth_routes(app, services)
    _add_learner_routes(app, services)
    _add_metrics_routes(app, services)
    _add_health_routes(app, services)
    _add_headers(app)
    _add_page(app, services.settings.static_dir)
    if services.tracer is not None:
        app.add_middleware(HttpSpans, tracer=services.tracer)
    return app


# Who asks


async def answer(start: Callable[[Done], None]) -> Any:
    """Wait for what a callback-style question answers. Raises UpstreamError."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    start(done)
    value = await future
    if isinstance(value, UpstreamError):
        raise value
    return value


async def caller(request: Request, authorization: Annotated[str, Header()] = "") -> Identity:
    """Return who sent the request's bearer token."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(401, "unauthenticated", "Send `Authorization: Bearer <access token>`; log in to get one.")
    services: Services = request.app.state.services
    identity: Identity = await answer(lambda done: services.auth.authenticate(token.strip(), done))
    return identity


Caller = Annotated[Identity, Depends(caller)]


async def administrator(request: Request, who: Caller) -> Identity:
    """Return who sent the request when they may administer."""
    await _require(request.app.state.services, who, "administer", "")
    return who


Administrator = Annotated[Identity, Depends(administrator)]


async def _require(services: Services, who: Identity, action: str, resource: str) -> None:
    allowed = await answer(lambda done: services.access.ask(who.user_id, action, resource, done))
    if not allowed:
        raise Problem(403, "forbidden", "You may not do this.")


# Routes


def _add_auth_routes(app: FastAPI, services: Services) -> None:
    auth = services.auth

    @app.post("/api/auth/login", tags=["auth"])
    async def login(credentials: Credentials, request: Request, response: Response) -> dict[str, Any]:
        """Exchange an e-mail address and password for tokens."""
        address = request.client.host if request.client else ""
        session = await auth.login(credentials.email, credentials.password, address)
        return _hand_out(session, response, request, in_cookie=credentials.cookie)

    @app.post("/api/auth/refresh", tags=["auth"])
    async def refresh(
        request: Request,
        response: Response,
        body: RefreshToken | None = None,
        aivo_refresh: Annotated[str | None, Cookie()] = None,
    ) -> dict[str, Any]:
        """Exchange a refresh token (of the body, else of the cookie) for new tokens; each works once."""
        given = body.refresh_token if body else None
        token = given or aivo_refresh
        if not token:
            raise Problem(401, "unauthenticated", "No refresh token was sent; log in.")
        try:
            session = await auth.refresh(token)
        except UpstreamError as error:
            if error.code == "unauthenticated" and not given:
                return _problem_response(401, "unauthenticated", str(error), clear_cookie=True)  # type: ignore[return-value]
            raise
        return _hand_out(session, response, request, in_cookie=not given)

    @app.post("/api/auth/logout", status_code=204, tags=["auth"])
    async def logout(
        response: Response,
        body: RefreshToken | None = None,
        authorization: Annotated[str, Header()] = "",
        aivo_refresh: Annotated[str | None, Cookie()] = None,
    ) -> None:
        """End the session of the refresh token, the cookie or the access token; its sockets close within a second."""
        refresh_token = (body.refresh_token if body else None) or aivo_refresh or ""
        access_token = authorization.partition(" ")[2].strip()
        await auth.logout(refresh_token=refresh_token, access_token=access_token)
        response.delete_cookie(REFRESH_COOKIE, path="/api/auth")

    @app.get("/api/me", tags=["auth"])
    async def me(who: Caller) -> dict[str, Any]:
        """Return the user behind the token."""
        return await auth.user(who.user_id)

    @app.get("/.well-known/jwks.json", tags=["auth"])
    async def jwks() -> Response:
        """Return the public keys that verify access tokens (RFC 7517)."""
        headers = {"Cache-Control": "public, max-age=300"}
        return Response(await auth.jwks(), media_type="application/jwk-set+json", headers=headers)


def _hand_out(session: dict[str, Any], response: Response, request: Request, *, in_cookie: bool) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    if in_cookie:
        response.set_cookie(
            REFRESH_COOKIE,
            session.pop("refresh_token"),
            max_age=session["refresh_expires_in"],
            path="/api/auth",
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="strict",
        )
    return session


def _add_learner_routes(app: FastAPI, services: Services) -> None:
    @app.get("/api/learners", tags=["learners"])
    async def learners(who: Caller) -> dict[str, Any]:
        """Return the learners that I may watch."""
        return {"learners": await services.auth.learners(who.user_id)}

    @app.get("/api/learners/{learner_id}/state", tags=["learners"])
    async def state(learner_id: LearnerId, who: Caller) -> Response:
        """Return a learner's present state, as the `state_response` frame has it."""
        await _require(services, who, "watch", learner_id)
        found = await answer(lambda done: services.brain.get_state(learner_id, min_revision=0, done=done))
        return _json(found)

    @app.get("/api/learners/{learner_id}/history", tags=["learners"])
    async def history(
        learner_id: LearnerId,
        who: Caller,
        after: Annotated[int, Query(ge=0, le=2**53, description="Entries after this revision.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        newest: Annotated[bool, Query(description="The last `limit` entries instead.")] = False,
    ) -> Response:
        """Return a page of a learner's interactions with the state after each, oldest first."""
        await _require(services, who, "watch", learner_id)
        page = await services.brain.history(learner_id, after=after, limit=limit, newest=newest)
        page["entries"] = [_entry(one) for one in page["entries"]]
        return _json({"learner_id": learner_id, **page})

    @app.get("/api/learners/{learner_id}/export", tags=["administration"])
    async def export(learner_id: LearnerId, who: Administrator) -> StreamingResponse:
        """Stream everything stored about a learner as JSON lines; recorded in the audit log."""
        lines = services.brain.export(learner_id, requested_by=who.user_id)
        first = await anext(lines, b"")  # a failure is a problem only while the answer has not begun

        async def all_lines() -> AsyncIterator[bytes]:
            yield first
            async for more in lines:
                yield more

        headers = {"Content-Disposition": f'attachment; filename="{learner_id}.jsonl"'}
        return StreamingResponse(all_lines(), media_type="application/x-ndjson", headers=headers)

    @app.delete("/api/learners/{learner_id}/data", tags=["administration"])
    async def erase(learner_id: LearnerId, who: Administrator) -> dict[str, Any]:
        """Erase everything stored about a learner, relations and recorded contents included; this cannot be undone.

        It is recorded in the audit log. After an error, ask again until it succeeds: what is gone already does no harm.
        """
        erased = await services.brain.erase(learner_id, requested_by=who.user_id)
        try:
            await services.auth.delete_learner(learner_id)
        except UpstreamError as error:
            if error.code != "not_found":
                raise
        records = await services.metrics.erase_records(learner_id)
        return {"learner_id": learner_id, "interactions_erased": erased, "records_erased": records}


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    update = entry.pop("update")
    return {
        **entry,
        "occurred_at": update.occurred_at,
        "state": update.advice.state,
        "performance": update.advice.performance,
        "crossings": update.crossings,
        "trace_id": update.trace_id,
    }


def _add_metrics_routes(app: FastAPI, services: Services) -> None:
    @app.get("/api/websocket/metrics", tags=["metrics"])
    async def metrics(who: Administrator) -> dict[str, Any]:
        """Return the fleet's figures (administrators)."""
        return await services.metrics.snapshot()

    @app.get("/api/websocket/status", tags=["metrics"])
    async def status(who: Caller) -> dict[str, Any]:
        """Return the few figures that any user may see."""
        return await services.metrics.status()

    @app.get("/api/websocket/analytics", tags=["metrics"], response_model=Analytics)
    async def analytics(
        who: Administrator,
        since: Annotated[
            AwareDatetime | None, Query(alias="from", description="First moment, RFC 3339; else an hour before `to`.")
        ] = None,
        until: Annotated[
            AwareDatetime | None, Query(alias="to", description="End, exclusive, RFC 3339; else now.")
        ] = None,
        interval: Annotated[
            int, Query(ge=60, le=31_622_400, multiple_of=60, description="Seconds of each row; whole minutes.")
        ] = 60,
        types: Annotated[list[Code], Query(alias="type", max_length=64, description="Types of frames; else all.")] = [],  # noqa: B006
        roles: Annotated[list[Code], Query(alias="role", max_length=64, description="Roles of users; else all.")] = [],  # noqa: B006
    ) -> dict[str, Any]:
        """Return sums of the recorded messages per interval, type, role and direction (administrators).

        At most 1,500 intervals. Messages count after a second or two, for as long as the service keeps sums.
        """
        to_ms = _unix_ms(until, "to") if until else 0
        from_ms = _unix_ms(since, "from") if since else 0
        if to_ms and from_ms >= to_ms:
            raise Problem(422, "bad_request", "query.from: must be before `to`")
        return await services.metrics.analytics(
            from_ms=from_ms, to_ms=to_ms, interval_s=interval, types=types, roles=roles
        )


def _unix_ms(moment: datetime, name: str) -> int:
    ms = round(moment.astimezone(UTC).timestamp() * 1000)
    if ms <= 0:
        raise Problem(422, "bad_request", f"query.{name}: must be after 1970")
    return ms


def _add_health_routes(app: FastAPI, services: Services) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def readyz(response: Response) -> dict[str, Any]:
        """Say whether this edge can serve, and which service is missing when it cannot."""
        missing = [
            name
            for name, reached in (("brain", services.brain.ready), ("auth", services.auth.is_open.is_set()))
            if not reached
        ]
        draining = services.is_draining()
        if missing or draining:
            response.status_code = 503
        return {"status": "draining" if draining else "unready" if missing else "ready", "missing": missing}

    @app.get("/ws", include_in_schema=False)
    async def socket_without_upgrade() -> None:
        """Say what is at this address."""
        raise Problem(426, "bad_request", "This is a WebSocket; connect with ws:// or wss://.")

    @app.get("/ws/", include_in_schema=False)
    async def socket_with_slash() -> None:
        """Say where the socket is."""
        raise Problem(404, "not_found", "The socket is at /ws, without a slash at the end.")


def _add_page(app: FastAPI, folder: Path | None) -> None:
    if folder is not None and folder.is_dir():
        app.mount("/", StaticFiles(directory=folder, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def no_page() -> PlainTextResponse:
        """Say how to get the page."""
        return PlainTextResponse("The page is not built: run `make web`. The HTTP API is described at /docs.\n")


# Headers and errors

_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def _add_headers(app: FastAPI) -> None:
    @app.middleware("http")
    async def harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        if request.url.path not in ("/docs", "/openapi.json"):  # the API's own page brings scripts from elsewhere
            response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.url.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> Response:
        return _problem_response(error.status, error.code, str(error), retry_after_ms=error.retry_after_ms)

    @app.exception_handler(UpstreamError)
    async def on_upstream_error(request: Request, error: UpstreamError) -> Response:
        status = STATUSES.get(error.code, 500)
        return _problem_response(status, error.code, str(error), retry_after_ms=error.retry_after_ms)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        places = [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors()]
        return _problem_response(422, "bad_request", "; ".join(places))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "bad_request"}.get(error.status_code, "bad_request")
        return _problem_response(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> Response:
        return _problem_response(500, "internal", "Something went wrong here; the log of the edge has the details.")


_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    422: "Invalid request",
    426: "Upgrade required",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}


def _problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    retry_after_ms: int | None = None,
    headers: Any = None,
    clear_cookie: bool = False,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
    }
    response = JSONResponse(body, status, media_type="application/problem+json", headers=headers)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after_ms is not None:
        response.headers["Retry-After"] = str(max(1, -(-retry_after_ms // 1000)))
    if clear_cookie:
        response.delete_cookie(REFRESH_COOKIE, path="/api/auth")
    return response


def _json(value: Any) -> Response:
    return Response(outgoing.encode(value), media_type="application/json")
