"""Routes that say whether this edge lives and can serve, and where its socket is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from edge.http.problems import ProblemError
from edge.http.services import Using

router = APIRouter()


@router.get("/healthz", tags=["health"])
async def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


DIFFERENT = {"clocks": "differ"}


@router.get("/readyz", tags=["health"])
async def readyz(response: Response, services: Using) -> dict[str, Any]:
    """Say whether this edge can serve, and which service is missing when it cannot."""
    missing = [
        name
        for name, reached in (
            ("brain", services.brain.ready),
            ("auth", services.auth.is_open.is_set()),
        )
        if not reached
    ]
    draining = services.is_draining()
    if missing or draining:
        response.status_code = 503
    return {
        "status": "draining" if draining else "unready" if missing else "ready",
        "missing": missing,
        **({} if services.brain.clocks_agree and not services.auth.skew.is_large else DIFFERENT),
    }


@router.get("/ws", include_in_schema=False)
async def socket_without_upgrade() -> None:
    """Say what is at this address."""
    raise ProblemError(426, "bad_request", "This is a WebSocket; connect with ws:// or wss://.")


@router.get("/ws/", include_in_schema=False)
async def socket_with_slash() -> None:
    """Say where the socket is."""
    raise ProblemError(404, "not_found", "The socket is at /ws, without a slash at the end.")
