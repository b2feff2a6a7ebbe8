"""Serves the machine-readable description of the socket beside /docs."""

from __future__ import annotations

import functools

from fastapi import APIRouter, Response

from edge.frames import asyncapi

router = APIRouter(tags=["documents"])


@router.get("/docs/asyncapi.json")
async def asyncapi_document() -> Response:
    """Return the AsyncAPI 3 document of the socket at /ws."""
    return Response(_asyncapi(), media_type="application/vnd.aai.asyncapi+json")


@functools.cache
def _asyncapi() -> str:
    return asyncapi.render()
