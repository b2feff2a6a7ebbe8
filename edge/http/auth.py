"""Routes of logging in and out. The refresh token of a page lives in a cookie that no script can
read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Cookie, Header, Request, Response
from pydantic import BaseModel, Field

from edge.admission.origins import HINT
from edge.http.callers import BearerToken, Caller, perhaps_bad, signing_in
from edge.http.problems import ProblemError, upstream_problem
from edge.http.requests import while_there
from edge.http.services import Services, Using
from edge.ports import UpstreamError

REFRESH_COOKIE = "aivo_refresh"
DEVICE_COOKIE = "aivo_device"
DEVICE_COOKIE_S = 90 * 86_400
COOKIE_PATH = "/api/auth"

router = APIRouter(tags=["auth"])


class Credentials(BaseModel):
    """Who logs in."""

    email: str = Field(max_length=320, examples=["teacher@school.example"])
    password: str = Field(max_length=1024)
    cookie: bool = Field(
        default=False,
        description=(
            "Keep the refresh token in an HttpOnly cookie instead of the answer (for pages)."
        ),
    )
    device_token: str = Field(
        default="",
        max_length=256,
        description="The device token of an earlier login on this device; a page sends none.",
    )


class RefreshToken(BaseModel):
    """A refresh token to exchange; pages send none, their cookie has it."""

    refresh_token: str | None = Field(default=None, max_length=1024)


class User(BaseModel):
    """A user who may log in."""

    id: str = Field(description="User id.")
    email: str
    role: Literal["learner", "guardian", "teacher", "admin"]
    display_name: str = Field(description="May be empty.")


class Tokens(BaseModel):
    """What a login returns."""

    access_token: str = Field(description="For `Authorization: Bearer …` and for the socket.")
    refresh_token: str = Field(
        default="", description="For new tokens, once; absent when a cookie has it."
    )
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds that the access token is good for.")
    refresh_expires_in: int = Field(description="Seconds that the refresh token is good for.")
    device_token: str = Field(
        default="",
        description=(
            "To be kept and sent with the next login: wrong passwords that strangers try do not"
            " slow this device down. Absent when a cookie has it."
        ),
    )
    user: User


@router.post("/api/auth/login", response_model=None, responses={200: {"model": Tokens}})
async def login(
    credentials: Credentials,
    request: Request,
    response: Response,
    services: Using,
    aivo_device: Annotated[str | None, Cookie(max_length=256)] = None,
) -> dict[str, Any]:
    """Exchange an e-mail address and password for tokens."""
    _check_origin(request, services)
    address = request.client.host if request.client else ""
    device = credentials.device_token or aivo_device or ""
    with signing_in(request, services, device):
        asked = services.auth.login(credentials.email, credentials.password, address, device)
        session = await while_there(request, asked)
    user_id = session["user"]["id"]
    services.door.known.add(session["refresh_token"], user_id)
    services.door.known.add(session["device_token"], user_id)
    if credentials.cookie:
        _set_cookie(request, response, DEVICE_COOKIE, session.pop("device_token"), DEVICE_COOKIE_S)
    return _hand_out(session, response, request, in_cookie=credentials.cookie)


@router.post("/api/auth/refresh", response_model=None, responses={200: {"model": Tokens}})
async def refresh(
    request: Request,
    response: Response,
    services: Using,
    body: RefreshToken | None = None,
    aivo_refresh: Annotated[str | None, Cookie()] = None,
    idempotency_key: Annotated[
        str,
        Header(
            pattern=r"^$|^[!-~]{16,128}$",
            description="Unguessable; lets you repeat the request after a lost answer.",
        ),
    ] = "",
) -> dict[str, Any] | Response:
    """Exchange a refresh token (of the body, else of the cookie) for new tokens; each works once.

    Reusing one ends the session, because it may have been stolen. Repeating the request with the
    same `Idempotency-Key` within a minute, because the answer was lost, returns the same refresh
    token.
    """
    _check_origin(request, services)
    given = body.refresh_token if body else None
    token = given or aivo_refresh
    if not token:
        raise ProblemError(401, "unauthenticated", "No refresh token was sent; log in.")
    try:
        with perhaps_bad(token, request, services):
            session = await services.auth.refresh(token, idempotency_key)
    except UpstreamError as error:
        if error.code != "unauthenticated" or given:
            raise
        refused = upstream_problem(error)
        refused.delete_cookie(REFRESH_COOKIE, path=COOKIE_PATH)
        return refused
    services.door.known.add(session["refresh_token"], session["user"]["id"])
    return _hand_out(session, response, request, in_cookie=not given)


@router.post("/api/auth/logout", status_code=204)
async def logout(
    request: Request,
    response: Response,
    services: Using,
    access_token: BearerToken,
    body: RefreshToken | None = None,
    aivo_refresh: Annotated[str | None, Cookie()] = None,
) -> None:
    """End the session of the refresh token, the cookie or the access token; its sockets close
    within a second.
    """
    _check_origin(request, services)
    refresh_token = (body.refresh_token if body else None) or aivo_refresh or ""
    with perhaps_bad(refresh_token or access_token, request, services):
        await services.auth.logout(refresh_token=refresh_token, access_token=access_token)
    response.delete_cookie(REFRESH_COOKIE, path=COOKIE_PATH)


@router.get("/api/me", response_model=None, responses={200: {"model": User}})
async def me(who: Caller, services: Using) -> dict[str, Any]:
    """Return the user behind the token."""
    return await services.auth.user(who.user_id)


@router.get("/.well-known/jwks.json")
async def jwks(services: Using) -> Response:
    """Return the public keys that verify access tokens (RFC 7517)."""
    headers = {"Cache-Control": "public, max-age=300"}
    return Response(
        await services.auth.jwks(), media_type="application/jwk-set+json", headers=headers
    )


def _check_origin(request: Request, services: Services) -> None:
    """Refuse requests that another site's page makes as a user who is logged in here."""
    headers = request.headers
    if not services.door.origins.allows(headers.get("origin"), headers.get("host")):
        raise ProblemError(403, "forbidden", "This page's origin is not allowed. " + HINT)


def _hand_out(
    session: dict[str, Any], response: Response, request: Request, *, in_cookie: bool
) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    if in_cookie:
        keep_refresh_token(request, response, session)
    return session


def keep_refresh_token(request: Request, response: Response, session: dict[str, Any]) -> None:
    """Take the refresh token out of a session, and into its cookie."""
    token, lifetime_s = session.pop("refresh_token"), session["refresh_expires_in"]
    _set_cookie(request, response, REFRESH_COOKIE, token, lifetime_s)


def _set_cookie(
    request: Request, response: Response, name: str, value: str, lifetime_s: int
) -> None:
    """Set a cookie that no script and no other site's page can read or use."""
    response.set_cookie(
        name,
        value,
        max_age=lifetime_s,
        path=COOKIE_PATH,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="strict",
    )
