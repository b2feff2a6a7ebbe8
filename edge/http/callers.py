"""Who asks, and whether they may: what routes depend on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from edge.admission.addresses import shared_by
from edge.admission.budgets import Budget
from edge.admission.prices import REQUEST
from edge.http.problems import ProblemError
from edge.http.services import Services, Using
from edge.ports import Done, Identity, UpstreamError

T = TypeVar("T")


async def answer(start: Callable[[Done[T]], None]) -> T:
    """Await a callback-style call. Raises UpstreamError."""
    future: asyncio.Future[T | UpstreamError] = asyncio.get_running_loop().create_future()

    def done(value: T | UpstreamError) -> None:
        if not future.done():
            future.set_result(value)

    start(done)
    value = await future
    if isinstance(value, UpstreamError):
        raise value
    return value


_bearer = HTTPBearer(
    scheme_name="access_token",
    description="The `access_token` that `/api/auth/login` answers with.",
    auto_error=False,  # a problem is ours to tell
)


async def bearer_token(
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """Return the request's bearer token; empty when it has none."""
    return given.credentials.strip() if given else ""


BearerToken = Annotated[str, Depends(bearer_token)]


async def caller(request: Request, services: Using, token: BearerToken) -> Identity:
    """Return who sent the request's bearer token."""
    if not token:
        raise ProblemError(
            401,
            "unauthenticated",
            "Send `Authorization: Bearer <access token>`; log in to get one.",
        )
    with perhaps_bad(token, request, services):
        identity: Identity = await answer(lambda done: services.auth.authenticate(token, done))
    services.door.known.add(token, identity.user_id)
    now = time.monotonic()
    _spend(services.door.budgets.of(identity.user_id, now), REQUEST, now)
    return identity


@contextlib.contextmanager
def perhaps_bad(token: str, request: Request, services: Services) -> Iterator[None]:
    """Charge the address when the code inside finds the token invalid (UpstreamError).

    Raises UpstreamError (`rate_limited`) up front when the address has shown too many invalid ones,
    unless this token was valid here lately.
    """
    now, door = time.monotonic(), services.door
    failures = door.failures.of(address_of(request), now)
    if token not in door.known:
        _spend(failures, 0.0, now)
    try:
        yield
    except UpstreamError as error:
        if error.code == "unauthenticated":
            door.known.discard(token)
            failures.charge(1.0)
        raise


@contextlib.contextmanager
def signing_in(request: Request, services: Services, device: str = "") -> Iterator[None]:
    """Hold a place for a sign-in: the device's, if it signed in here before, else the address's.

    Raises UpstreamError (`rate_limited`) when none is free.
    """
    door, places, name = services.door, services.door.logins, address_of(request)
    if device and device in door.known:
        places, name = door.logins_of_devices, device
    if not places.take(name):
        raise UpstreamError(
            "rate_limited", "Too many sign-ins at once; try again.", retry_after_ms=1000
        )
    try:
        yield
    finally:
        places.leave(name)


def address_of(request: Request) -> str:
    """Return the key that limits by address use for the request's client."""
    return shared_by(request.client.host if request.client else "")


def _spend(budget: Budget, price: float, now: float) -> None:
    wait_s = budget.take(price, now)
    if wait_s:
        raise UpstreamError(
            "rate_limited", "Too many requests; slow down.", retry_after_ms=int(wait_s * 1000) + 1
        )


Caller = Annotated[Identity, Depends(caller)]


async def administrator(services: Using, who: Caller) -> Identity:
    """Return who sent the request when they may administer."""
    await require(services, who, "administer", "")
    return who


Administrator = Annotated[Identity, Depends(administrator)]


async def require(services: Services, who: Identity, action: str, resource: str) -> None:
    """Raise ProblemError unless the caller may do this."""
    allowed: bool = await answer(
        lambda done: services.access.ask(who.user_id, action, resource, done)
    )
    if not allowed:
        raise ProblemError(403, "forbidden", "You may not do this.")
