"""The route that takes xAPI statements of other systems as interactions."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from functools import partial
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from edge import xapi
from edge.admission.prices import PER_BYTE, STATEMENT
from edge.frames.incoming import Context, InteractionData
from edge.frames.outgoing import VirtualBrainResponse
from edge.http.callers import Caller, answer
from edge.http.problems import ProblemError
from edge.http.services import Services, Using
from edge.ports import Identity, Interaction, UpstreamError
from service_runtime import trace_context

logger = logging.getLogger(__name__)

MOST: Final = 1_000

router = APIRouter(tags=["xapi"])


class Stored(BaseModel):
    """What became of one statement."""

    id: str = Field(description="The statement's id, made here if it had none.")
    status: Literal["stored", "duplicate", "refused"]
    revision: int | None = Field(default=None, description="The learner's revision after it.")
    code: str = Field(default="", description="Why it was refused, for programs.")
    detail: str = Field(default="", description="The same in a sentence for a person.")


class Statements(BaseModel):
    """What became of the statements of one call, in their order."""

    stored: int
    duplicates: int
    refused: int
    results: list[Stored]


@router.post("/api/xapi/statements")
async def statements(request: Request, who: Caller, services: Using) -> Statements:
    """Take up to 1,000 xAPI statements (one, or a list) as interactions of their learners.

    Each is independent: `results` reports on them in the same order. Those of one learner are
    applied in order. Repeating a statement does no harm; repeat those refused with `overloaded`,
    `unavailable` or `rate_limited`.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise ProblemError(
            415, "bad_request", "Attachments are not supported; send the statements as JSON."
        )
    body = await request.body()
    given = _parsed(body)
    price = len(given) * STATEMENT + len(body) * PER_BYTE
    services.door.budgets.of(who.user_id, time.monotonic()).charge(price)
    results: list[Stored | None] = [None] * len(given)
    taken: list[tuple[int, str, InteractionData, Context]] = []
    # Only for administrators: others could find out who has which address.
    emails = {xapi.mailbox(value) for value in given if who.role == "admin"} - {""}
    mailboxes = await services.auth.find_learners(sorted(emails)) if emails else {}
    for index, value in enumerate(given):
        statement_id = _id(value)
        try:
            data, context = xapi.read(value, services.settings.xapi_homepages, mailboxes)
            taken.append((index, data.interaction_id or statement_id, data, context))
        except xapi.StatementError as error:
            results[index] = _refused(statement_id, "bad_request", str(error))
    allowed = await _allowed(services, who, {one[2].learner_id for one in taken})
    answers: list[asyncio.Future[VirtualBrainResponse | UpstreamError]] = []
    sent: list[tuple[int, str]] = []
    for index, statement_id, data, context in taken:
        decision = allowed[data.learner_id]
        if decision is not True:
            refusal = decision or UpstreamError("forbidden", "You may not do this.")
            results[index] = _refused(statement_id, refusal.code, str(refusal))
            continue
        sent.append((index, statement_id))
        answers.append(_interact(services, who, statement_id, data, context))
    for (index, statement_id), became in zip(sent, await asyncio.gather(*answers), strict=True):
        results[index] = _became(statement_id, became)
    told = [one for one in results if one is not None]
    counts = {status: sum(one.status == status for one in told) for status in _STATUSES}
    logger.info("statements taken", extra={"user_id": who.user_id, **counts})
    done = {index for index, one in enumerate(told) if one.status != "refused"}
    of = {data.learner_id for index, _, data, _ in taken if index in done}
    await _note(services, who, sorted(of), counts)
    return Statements(
        stored=counts["stored"],
        duplicates=counts["duplicate"],
        refused=counts["refused"],
        results=told,
    )


async def _note(
    services: Services, who: Identity, learner_ids: list[str], counts: dict[str, int]
) -> None:
    """Write to the audit log; stored statements stay stored even if that fails.

    Calls by learners are noted only when they stored something, which the daily quota limits:
    nobody fills the log with refusals.
    """
    if not (counts["stored"] or (who.role == "admin" and any(counts.values()))):
        return
    try:
        await services.auth.note_records(
            who.user_id,
            learner_ids,
            stored=counts["stored"],
            duplicates=counts["duplicate"],
            refused=counts["refused"],
        )
    except UpstreamError as error:
        logger.warning(
            "the audit log does not have these statements",
            extra={"user_id": who.user_id, "code": error.code, **counts},
        )


_STATUSES: Final = ("stored", "duplicate", "refused")


def _parsed(body: bytes) -> list[Any]:
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ProblemError(
            400, "bad_request", "Send a statement, or a list of them, as JSON."
        ) from None
    given = value if isinstance(value, list) else [value]
    if len(given) > MOST:
        raise ProblemError(413, "bad_request", f"At most {MOST} statements fit in one call.")
    return given


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _id(value: Any) -> str:
    try:
        return str(uuid.UUID(value["id"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return str(uuid.uuid4())


async def _allowed(
    services: Services, who: Identity, learner_ids: set[str]
) -> dict[str, bool | UpstreamError]:
    async def ask(learner_id: str) -> bool | UpstreamError:
        try:
            return await answer(partial(services.access.ask, who.user_id, "interact", learner_id))
        except UpstreamError as error:
            return error

    ids = sorted(learner_ids)
    return dict(zip(ids, await asyncio.gather(*map(ask, ids)), strict=True))


def _interact(
    services: Services, who: Identity, statement_id: str, data: InteractionData, context: Context
) -> asyncio.Future[VirtualBrainResponse | UpstreamError]:
    """Send it now, to keep the order; the answer comes later."""
    future: asyncio.Future[VirtualBrainResponse | UpstreamError] = (
        asyncio.get_running_loop().create_future()
    )

    def done(became: VirtualBrainResponse | UpstreamError) -> None:
        if not future.done():
            future.set_result(became)

    interaction = Interaction(
        data,
        context,
        interaction_id=statement_id,
        received_at_ms=int(time.time() * 1000),
        trace=trace_context.new_root(),
        # Only administrators may send last year's records: they change how a learner is seen today.
        max_age_s=int(services.settings.xapi_backfill_s) if who.role == "admin" else 0,
    )
    services.brain.interact(interaction, done)
    return future


def _became(statement_id: str, became: VirtualBrainResponse | UpstreamError) -> Stored:
    if isinstance(became, UpstreamError):
        return _refused(statement_id, became.code, str(became))
    status: Literal["duplicate", "stored"] = "duplicate" if became.duplicate else "stored"
    return Stored(id=statement_id, status=status, revision=became.revision)


def _refused(statement_id: str, code: str, detail: str) -> Stored:
    return Stored(id=statement_id, status="refused", code=code, detail=detail)
