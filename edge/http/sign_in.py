"""Routes of signing in at a provider: the browser goes there, and comes back with a code."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Path, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from edge.http.auth import COOKIE_PATH, keep_refresh_token
from edge.http.callers import signing_in
from edge.http.services import Using
from edge.ports import UpstreamError

FLOW_COOKIE = "aivo_flow"
FLOW_S = 600

router = APIRouter(tags=["auth"])

ProviderId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,32}$")]


class Provider(BaseModel):
    """An identity provider."""

    id: str
    label: str = Field(description="What the button says.")


class Providers(BaseModel):
    """How one may sign in."""

    passwords: bool = Field(description="Whether e-mail address and password open the page.")
    providers: list[Provider]


@router.get("/api/auth/providers")
async def providers(services: Using) -> Providers:
    """Return how one may sign in here."""
    return Providers.model_validate(await services.auth.providers())


@router.get("/api/auth/providers/{provider_id}/start", status_code=303)
async def start(provider_id: ProviderId, request: Request, services: Using) -> RedirectResponse:
    """Send the browser to the provider."""
    with signing_in(request, services):
        address, flow = await services.auth.begin_sign_in(provider_id, _callback(request))
    response = RedirectResponse(address, 303)
    response.set_cookie(
        FLOW_COOKIE,
        flow,
        max_age=FLOW_S,
        path=COOKIE_PATH,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",  # it comes back from another site
    )
    return response


@router.get("/api/auth/callback", status_code=303)
async def callback(
    request: Request,
    services: Using,
    code: Annotated[str, Query(max_length=4096)] = "",
    state: Annotated[str, Query(max_length=256)] = "",
    aivo_flow: Annotated[str | None, Cookie(max_length=512)] = None,
) -> RedirectResponse:
    """Handle the browser's return from the provider and redirect to the page: signed in, or with
    the reason why not.
    """
    if not (code and state and aivo_flow):
        return _failed("unauthenticated")
    try:
        with signing_in(request, services):
            session = await services.auth.finish_sign_in(aivo_flow, state, code, _callback(request))
    except UpstreamError as error:
        return _failed(error.code)
    response = RedirectResponse(f"/#signed-in={session['provider_id']}", 303)
    services.door.known.add(session["refresh_token"], session["user"]["id"])
    keep_refresh_token(request, response, session)
    response.delete_cookie(FLOW_COOKIE, path=COOKIE_PATH)
    return response


@router.get("/api/auth/providers/{provider_id}/logout", status_code=303)
async def logout(provider_id: ProviderId, request: Request, services: Using) -> RedirectResponse:
    """Send the browser to the provider to sign out there too, or to the page if the provider
    cannot.
    """
    with signing_in(request, services):
        address = await services.auth.logout_address(provider_id, str(request.base_url))
    return RedirectResponse(address or "/", 303)


def _callback(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/api/auth/callback"


def _failed(code: str) -> RedirectResponse:
    response = RedirectResponse(f"/#sign-in-failed={code}", 303)
    response.delete_cookie(FLOW_COOKIE, path=COOKIE_PATH)
    return response
