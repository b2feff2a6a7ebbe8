"""Serves, beside /docs, what machines read about the socket."""

from __future__ import annotations

from fastapi import APIRouter, Response

from edge.frames import asyncapi

router = APIRouter(tags=["documents"])


@router.get("/docs/asyncapi.json")
async def asyncapi_document() -> Response:
    """Return the AsyncAPI 3 document of the socket at /ws."""
    return Response(asyncapi.render(), media_type="application/vnd.aai.asyncapi+json")
