"""Routes about learners: whom I may watch, their state and history, and export and erasure for
administrators.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, Field

from edge.admission.prices import PER_ENTRY
from edge.frames import outgoing
from edge.frames.clock import timestamp
from edge.http import exports
from edge.http.callers import Administrator, Caller, answer, require
from edge.http.services import Using
from edge.ports import UpstreamError
from service_runtime import validation


def _checked(learner_id: str) -> str:
    if not validation.is_id(learner_id):
        raise ValueError(f"must be {validation.ID_RULE}")
    return learner_id


LearnerId = Annotated[str, Path(description="Learner's id."), AfterValidator(_checked)]

router = APIRouter()


class Learner(BaseModel):
    """A learner whom one may watch."""

    learner_id: str
    display_name: str = Field(description="May be empty.")
    class_ids: list[str] = Field(description="Classes in which the learner is enrolled.")
    class_names: dict[str, str] = Field(description="Their names by id.")


class Learners(BaseModel):
    """The learners that one may watch."""

    learners: list[Learner]


@router.get(
    "/api/learners", tags=["learners"], response_model=None, responses={200: {"model": Learners}}
)
async def learners(who: Caller, services: Using) -> dict[str, Any]:
    """Return the learners that I may watch."""
    return {"learners": await services.auth.learners(who.user_id)}


@router.get("/api/learners/{learner_id}/state", tags=["learners"])
async def state(learner_id: LearnerId, who: Caller, services: Using) -> Response:
    """Return a learner's present state, as the `state_response` frame has it."""
    await require(services, who, "watch", learner_id)
    found: outgoing.StateResponse = await answer(
        lambda done: services.brain.get_state(learner_id, min_revision=0, done=done)
    )
    found.timestamp = timestamp()
    return _json(found)


@router.get("/api/learners/{learner_id}/history", tags=["learners"])
async def history(
    learner_id: LearnerId,
    who: Caller,
    services: Using,
    after: Annotated[int, Query(ge=0, le=2**53, description="Entries after this revision.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    newest: Annotated[bool, Query(description="The last `limit` entries instead.")] = False,
    brief: Annotated[bool, Query(description="Only when, what and how right, for lists.")] = False,
) -> Response:
    """Return a page of a learner's interactions with the state after each, oldest first.

    `brief` entries have `revision`, `type`, `occurred_at`, `correct` (null for what is no answer)
    and `accuracy`.
    """
    await require(services, who, "watch", learner_id)
    budget = services.door.budgets.of(who.user_id, time.monotonic())
    budget.charge(limit * PER_ENTRY)
    async with services.door.reading(who.user_id), services.door.pages:
        page = await services.brain.history(learner_id, after=after, limit=limit, newest=newest)
    budget.charge((len(page["entries"]) - limit) * PER_ENTRY)  # what was not there costs nothing
    page["entries"] = [(_brief if brief else _entry)(one) for one in page["entries"]]
    return _json({"learner_id": learner_id, **page})


@router.get("/api/learners/{learner_id}/export", tags=["administration"])
async def export(
    learner_id: LearnerId,
    who: Administrator,
    services: Using,
    request: Request,
    format: Annotated[
        Literal["jsonl", "xapi", "csv"],
        Query(description="Everything, or only the interactions as xAPI statements or CSV."),
    ] = "jsonl",
) -> StreamingResponse:
    """Stream everything stored about a learner as JSON lines, or their interactions as xAPI
    statements (one a line) or CSV; recorded in the audit log.
    """
    lines = services.brain.export(learner_id, requested_by=who.user_id)
    first = await anext(lines, b"")  # a problem is possible only before the answer begins

    async def all_lines() -> AsyncIterator[bytes]:
        yield first
        async for more in lines:
            yield more

    written: AsyncIterator[bytes] = all_lines()
    if format == "xapi":
        written = exports.as_statements(written, learner_id, str(request.base_url))
    elif format == "csv":
        written = exports.as_csv(written)
    ending, media_type = exports.KINDS[format]
    headers = {"Content-Disposition": f'attachment; filename="{learner_id}.{ending}"'}
    return StreamingResponse(written, media_type=media_type, headers=headers)


@router.delete("/api/learners/{learner_id}/data", tags=["administration"])
async def erase(learner_id: LearnerId, who: Administrator, services: Using) -> dict[str, Any]:
    """Erase everything stored about a learner, relations and recorded contents included; this
    cannot be undone.

    It is recorded in the audit log. After an error, repeat it until it succeeds; repeating is
    harmless.
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
    meaning = update.assessment.meaning
    return {
        **entry,
        "occurred_at": update.occurred_at,
        "state": update.assessment.state,
        "performance": update.assessment.performance,
        **({} if meaning is outgoing.ABSENT else {"meaning": meaning}),
        "crossings": update.crossings,
        "trace_id": update.trace_id,
    }


def _brief(entry: dict[str, Any]) -> dict[str, Any]:
    context, update = json.loads(bytes(entry["context"])), entry["update"]
    return {
        "revision": entry["revision"],
        "type": entry["type"],
        "occurred_at": update.occurred_at,
        "correct": context.get("correct") if isinstance(context, dict) else None,
        "accuracy": update.assessment.performance.accuracy,
    }


def _json(value: Any) -> Response:
    return Response(outgoing.encode(value), media_type="application/json")
