"""Routes about the whole fleet of edges: its metrics, its status, and sums of recorded messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from edge.http.analytics import Analytics
from edge.http.callers import Administrator, Caller
from edge.http.live import EventStream, events, snapshots
from edge.http.problems import ProblemError
from edge.http.services import Using
from service_runtime import validation

Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]

router = APIRouter(tags=["metrics"])

_STREAM: dict[int | str, dict[str, Any]] = {
    429: {"description": "The user follows too many streams at this edge."},
    503: {"description": "The edge is about to stop, or the metrics service cannot be reached."},
}


@router.get("/api/websocket/metrics")
async def metrics(who: Administrator, services: Using) -> dict[str, Any]:
    """Return the fleet's metrics (administrators)."""
    return await services.metrics.snapshot()


@router.get("/api/websocket/metrics/stream", response_class=EventStream, responses=_STREAM)
async def metrics_stream(
    metrics: Annotated[AsyncIterator[dict[str, Any]], Depends(snapshots)],
) -> EventStream:
    """Stream the fleet's metrics (administrators): `data` of each event is what
    `/api/websocket/metrics` answers.

    The first comes at once. The stream ends with the access token or the login behind it, and when
    the edge or the metrics service stops: ask again, with a fresh token, after a short random wait
    that grows.
    """
    first = await anext(metrics, None)  # a problem is possible only before the answer begins
    return EventStream(events(first, metrics))


@router.get("/api/websocket/status")
async def status(who: Caller, services: Using) -> dict[str, Any]:
    """Return the metrics that any user may see."""
    return await services.metrics.status()


@router.get("/api/websocket/analytics", response_model=Analytics)
async def analytics(
    who: Administrator,
    services: Using,
    since: Annotated[
        AwareDatetime | None,
        Query(alias="from", description="First moment, RFC 3339; else an hour before `to`."),
    ] = None,
    until: Annotated[
        AwareDatetime | None, Query(alias="to", description="End, exclusive, RFC 3339; else now.")
    ] = None,
    interval: Annotated[
        int,
        Query(
            ge=60, le=31_622_400, multiple_of=60, description="Seconds of each row; whole minutes."
        ),
    ] = 60,
    types: Annotated[
        list[Code], Query(alias="type", max_length=64, description="Types of frames; else all.")
    ] = [],  # noqa: B006
    roles: Annotated[
        list[Code], Query(alias="role", max_length=64, description="Roles of users; else all.")
    ] = [],  # noqa: B006
) -> dict[str, Any]:
    """Return sums of the recorded messages per interval, type, role and direction (administrators).

    At most 1,500 intervals. Messages count after a second or two, for as long as the service keeps
    sums.
    """
    to_ms = _unix_ms(until, "to") if until else 0
    from_ms = _unix_ms(since, "from") if since else 0
    if to_ms and from_ms >= to_ms:
        raise ProblemError(422, "bad_request", "query.from: must be before `to`")
    return await services.metrics.analytics(
        from_ms=from_ms, to_ms=to_ms, interval_s=interval, types=types, roles=roles
    )


def _unix_ms(moment: datetime, name: str) -> int:
    try:
        return validation.unix_ms(moment)
    except validation.OutsideError as error:
        raise ProblemError(422, "bad_request", f"query.{name}: {error}") from None
