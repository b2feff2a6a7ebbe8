"""Converts requests to the brain's values and its values to answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aivo.brain.v1 import brain_pb2
from aivo.room.v1 import room_pb2
from brain_service import rooms
from brain_service.engine.submission import Applied, HistoryEntry, LearnerSnapshot, Submission
from brain_service.model import adapt
from brain_service.model.interaction import MAX_CONTENT, Interaction, check_carried, checked
from brain_service.servicer import checks
from brain_service.servicer.assessments import AssessmentCache, serialised
from brain_service.servicer.checks import InvalidFieldError
from brain_service.watch.follow import Crossed, Update
from brain_service.watch.watch import Heartbeat
from brain_service.watch.watches import Cursor, StartingPoint
from service_runtime import trace_context
from service_runtime.slices import sliced

MAX_HISTORY_BYTES: Final = 8 * 1024 * 1024
"""A page of history ends here, well below the largest message."""

KINDS: Final = {
    brain_pb2.INTERACTION_KIND_QUESTION_RESPONSE: "question_response",
    brain_pb2.INTERACTION_KIND_CONTENT_VIEW: "content_view",
    brain_pb2.INTERACTION_KIND_HINT_REQUEST: "hint_request",
    brain_pb2.INTERACTION_KIND_ASSESSMENT: "assessment",
    brain_pb2.INTERACTION_KIND_PRACTICE: "practice",
}
_KIND_NUMBERS: Final = {name: number for number, name in KINDS.items()}
_EVENTS: Final = {
    rooms.EventKind.JOINED: room_pb2.EVENT_KIND_JOINED,
    rooms.EventKind.LEFT: room_pb2.EVENT_KIND_LEFT,
    rooms.EventKind.MESSAGE: room_pb2.EVENT_KIND_MESSAGE,
}


def submission(message: brain_pb2.Interaction, recorded_by: str = "") -> Submission:
    """Convert an interaction to the engine's value, fully checked; raises InvalidFieldError or
    BadInteractionError.
    """
    kind = KINDS.get(message.kind)
    if kind is None:
        raise InvalidFieldError("kind is required and must be one that this version knows.")
    learner_id, interaction_id, content = (
        message.learner_id, message.interaction_id, message.content
    )  # fmt: skip
    response = message.response if message.HasField("response") else None
    context_json, traceparent = message.context_json, message.traceparent
    occurred_at_ms, received_at_ms = message.occurred_at_ms, message.received_at_ms
    interaction = _interaction(kind, content, message.context)
    check_carried(
        learner_id=learner_id,
        interaction_id=interaction_id,
        content=content,
        response=response,
        context_json=context_json,
        occurred_at_ms=occurred_at_ms,
        received_at_ms=received_at_ms,
    )
    return Submission(
        learner_id,
        interaction_id,
        interaction,
        response,
        context_json,
        occurred_at_ms,
        received_at_ms,
        traceparent if trace_context.is_valid(traceparent) else "",
        message.verified,
        message.max_age_s,
        recorded_by,
    )


def _interaction(kind: str, content: str, context: brain_pb2.Context) -> Interaction:
    # Nonzero values are present; only a zero needs a second look whether it was set.
    is_told = context.HasField
    return checked(
        kind,
        content,
        item_id=context.item_id or None,
        skills=context.skills[:],
        subject=context.subject or None,
        correct=context.correct or (False if is_told("correct") else None),
        difficulty=context.difficulty or (0.0 if is_told("difficulty") else None),
        time_taken=context.time_taken_s or (0.0 if is_told("time_taken_s") else None),
        hints=context.hints or (0 if is_told("hints") else None),
        attempts=context.attempts or (0 if is_told("attempts") else None),
    )


def applied(result: Applied, assessments: AssessmentCache) -> brain_pb2.Applied:
    """Answer for an interaction that is committed."""
    message = brain_pb2.Applied(revision=result.revision, duplicate=result.duplicate)
    message.assessment.MergeFromString(assessments.answer(result.assessment))
    return message


def cursors(messages: Iterable[brain_pb2.Cursor]) -> list[Cursor]:
    """Check cursors and convert them for the watch."""
    return [
        Cursor(
            learner_id=checks.identifier("learner_id", message.learner_id),
            epoch=checks.text("epoch", message.epoch, 128),
            revision=message.revision,
            every=message.mode == brain_pb2.DELIVERY_MODE_EVERY,
        )
        for message in messages
    ]


def snapshot(
    value: LearnerSnapshot, assessment: bytes | None, *, recovered: bool = False
) -> brain_pb2.LearnerSnapshot:
    """Answer with a learner's present state and its serialised assessment."""
    message = brain_pb2.LearnerSnapshot(
        learner_id=value.learner_id,
        revision=value.revision,
        recovered=recovered,
        occurred_at_ms=value.occurred_at_ms,
    )
    if assessment is not None:
        message.assessment.MergeFromString(assessment)
    return message


def starting_points(
    values: Iterable[StartingPoint], assessments: AssessmentCache
) -> list[brain_pb2.LearnerSnapshot]:
    """Answer with the positions of added learners."""
    return [
        snapshot(
            value.snapshot,
            None
            if value.snapshot.assessment is None
            else assessments.of(value.snapshot.assessment),
            recovered=value.recovered,
        )
        for value in values
    ]


def add_update(
    response: brain_pb2.WatchStateResponse, update: Update, assessments: AssessmentCache
) -> None:
    """Append an update about one learner."""
    publication = update.publication
    message = response.updates.add(
        learner_id=publication.learner_id,
        revision=publication.revision,
        coalesced=update.coalesced,
        crossings=_crossings(update.crossings),
        traceparents=update.traceparents,
        occurred_at_ms=publication.occurred_at_ms,
        gone=publication.gone,
    )
    if publication.assessment is not None:
        message.assessment.MergeFromString(assessments.of(publication.assessment))


def _crossings(values: Iterable[Crossed]) -> list[brain_pb2.Crossing]:
    return [
        brain_pb2.Crossing(
            name=crossing.name, rising=crossing.rising, value=crossing.value, revision=revision
        )
        for revision, crossing in values
    ]


def heartbeat(value: Heartbeat) -> brain_pb2.Heartbeat:
    """Answer with what the store has."""
    return brain_pb2.Heartbeat(sent_at_ms=value.sent_at_ms, revisions=_revisions(value.revisions))


def _revisions(revisions: Mapping[str, int]) -> list[brain_pb2.LearnerRevision]:
    return [
        brain_pb2.LearnerRevision(learner_id=learner_id, revision=revision)
        for learner_id, revision in revisions.items()
    ]


async def history(
    epoch: str, entries: Sequence[HistoryEntry], *, has_more: bool, newest: bool
) -> brain_pb2.GetHistoryResponse:
    """Answer with a page that fits into a message; what does not fit is left to the next page.

    Of the newest entries the oldest are left out, of others the newest.
    """
    page, size = brain_pb2.GetHistoryResponse(epoch=epoch), 0
    async for entry in sliced(reversed(entries) if newest else entries):
        size += _add_entry(page, entry).ByteSize()
        if len(page.entries) > 1 and size > MAX_HISTORY_BYTES:
            del page.entries[-1]
            has_more = has_more or not newest
            break
    if newest:
        page.entries.reverse()
    page.has_more = has_more
    return page


def _add_entry(page: brain_pb2.GetHistoryResponse, entry: HistoryEntry) -> brain_pb2.HistoryEntry:
    message = page.entries.add(
        revision=entry.revision,
        interaction_id=entry.interaction_id,
        kind=_KIND_NUMBERS[entry.kind],
        content=entry.content,
        response=entry.response,
        context_json=entry.context_json,
        occurred_at_ms=entry.occurred_at_ms,
        crossings=_crossings(Crossed(entry.revision, crossing) for crossing in entry.crossings),
        traceparent=entry.traceparent,
    )
    message.assessment.MergeFromString(serialised(entry.assessment))
    return message


def adapt_request(message: brain_pb2.AdaptContentRequest) -> adapt.Request:
    """Check content to adapt and convert it for the adapter."""
    if not message.content:
        raise InvalidFieldError("content must not be empty.")
    checks.at_most("focus_areas", message.focus_areas, 8)
    difficulty = message.target_difficulty if message.HasField("target_difficulty") else None
    if difficulty is not None and not 1 <= difficulty <= 5:
        raise InvalidFieldError("target_difficulty must be 1 to 5, or be left out.")
    return adapt.Request(
        checks.text("content", message.content, MAX_CONTENT),
        checks.text("content_type", message.content_type, 64),
        difficulty,
        tuple(checks.text("focus_areas", area, 128) for area in message.focus_areas),
    )


def adapted(value: adapt.Adapted, revision: int) -> brain_pb2.AdaptContentResponse:
    """Answer with adapted content and what was done to it."""
    changes = [
        brain_pb2.ContentChange(
            code=change.code, description=change.description, reason=change.reason, undo=change.undo
        )
        for change in value.changes
    ]
    return brain_pb2.AdaptContentResponse(
        adapted_content=value.content, changes=changes, revision=revision
    )


def member(message: room_pb2.Member) -> rooms.Member:
    """Check a member and convert it for the rooms."""
    return rooms.Member(
        checks.identifier("member.connection_id", message.connection_id),
        checks.identifier("member.user_id", message.user_id) if message.user_id else "",
        checks.text("member.role", message.role, 32),
    )


def member_message(value: rooms.Member) -> room_pb2.Member:
    """Answer with a member."""
    return room_pb2.Member(
        connection_id=value.connection_id, user_id=value.user_id, role=value.role
    )


def event(value: rooms.Event) -> room_pb2.Event:
    """Answer with what happened in a room."""
    return room_pb2.Event(
        kind=_EVENTS[value.kind],
        room_id=value.room_id,
        member=member_message(value.member),
        data_json=value.data,
    )
