"""Writes interactions into the brain's messages and reads the outcomes: the hot path, both ways.

Messages are filled in place, inside their batch: building each one separately and copying it costs
more than twice as much.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from aivo.brain.v1 import brain_pb2
from edge.frames.incoming import Context
from edge.frames.outgoing import VirtualBrainResponse
from edge.ports import Interaction, UpstreamError
from edge.upstream import assessments
from edge.upstream.errors import overloaded, unavailable

KINDS: Final = {
    "question_response": brain_pb2.INTERACTION_KIND_QUESTION_RESPONSE,
    "content_view": brain_pb2.INTERACTION_KIND_CONTENT_VIEW,
    "hint_request": brain_pb2.INTERACTION_KIND_HINT_REQUEST,
    "assessment": brain_pb2.INTERACTION_KIND_ASSESSMENT,
    "practice": brain_pb2.INTERACTION_KIND_PRACTICE,
}

DAY_MS: Final = 86_400_000

_FAILURES: Final = {
    brain_pb2.FAILURE_CODE_INVALID: "bad_request",
    brain_pb2.FAILURE_CODE_UNAVAILABLE: "unavailable",
    brain_pb2.FAILURE_CODE_OVERLOADED: "overloaded",
    brain_pb2.FAILURE_CODE_QUOTA: "rate_limited",
    brain_pb2.FAILURE_CODE_INTERNAL: "internal",
}


def request(batch: Iterable[Interaction]) -> brain_pb2.InteractRequest:
    """Write a batch."""
    message = brain_pb2.InteractRequest()
    add = message.interactions.add
    for interaction in batch:
        _fill(add(), interaction)
    return message


def _fill(message: brain_pb2.Interaction, interaction: Interaction) -> None:
    data = interaction.data
    message.interaction_id = interaction.interaction_id
    message.learner_id = data.learner_id
    message.kind = KINDS[data.type]
    message.content = data.content
    if data.response is not None:
        message.response = data.response
    message.context_json = bytes(data.context)
    message.occurred_at_ms = interaction.occurred_at_ms
    message.received_at_ms = interaction.received_at_ms
    message.traceparent = interaction.traceparent
    if interaction.max_age_s:
        message.max_age_s = interaction.max_age_s
    _fill_context(message.context, interaction.context)


def _fill_context(message: brain_pb2.Context, context: Context) -> None:
    skill = context.skill
    if context.correct is not None:
        message.correct = context.correct
    if context.difficulty is not None:
        message.difficulty = context.difficulty
    if context.subject:
        message.subject = context.subject
    if skill is not None:
        message.skills.extend((skill,) if isinstance(skill, str) else skill)
    if context.time_taken is not None:
        message.time_taken_s = context.time_taken
    if context.hints is not None:
        message.hints = context.hints
    if context.attempts is not None:
        message.attempts = context.attempts
    if context.item_id:
        message.item_id = context.item_id


def answer(
    interaction: Interaction, outcome: brain_pb2.Outcome
) -> VirtualBrainResponse | UpstreamError:
    """Read the outcome of one interaction; the sender adds the time and the request's id."""
    if outcome.HasField("applied"):
        applied = outcome.applied
        return VirtualBrainResponse(
            interaction.data.learner_id,
            assessments.result(applied.assessment),
            "",
            interaction.interaction_id,
            applied.revision,
            applied.duplicate,
        )
    code = _FAILURES.get(outcome.failure.code, "internal")
    if code == "internal":
        return UpstreamError(
            "internal", "The brain failed; its log has the details under this trace id."
        )
    if code == "unavailable":
        return unavailable("brain")
    if code == "overloaded":
        return overloaded(outcome.failure.message)
    retry_after_ms = DAY_MS - int(time.time() * 1000) % DAY_MS if code == "rate_limited" else None
    return UpstreamError(code, outcome.failure.message, retry_after_ms=retry_after_ms)
