"""Applies interactions, one at a time per learner, and acknowledges what the store has made durable.

Knows no transport, no database library and no protobuf.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brain_service.model import Crossing, Interaction, LearnerState, Outcome


class FailureCode(enum.Enum):
    """Why an interaction was not applied. In every case nothing changed."""

    INVALID = "invalid"
    """A field is wrong; sending it again cannot succeed."""
    UNAVAILABLE = "unavailable"
    """The store did not accept the batch, or the engine stops; retry under the same id."""
    INTERNAL = "internal"
    """A fault of ours, logged."""
    OVERLOADED = "overloaded"
    """Too much is waiting already; retry later under the same id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One interaction as the caller brings it."""

    learner_id: str
    """Who did it; 1–128 characters of [A-Za-z0-9_.:@-]."""
    interaction_id: str
    """Makes a resend harmless; unique per learner, the same alphabet."""
    interaction: Interaction
    """What the model reads, kind and content included."""
    response: str | None = None
    """What the learner answered; stored, not read."""
    context_json: bytes = b""
    """The whole context as the client sent it, a JSON object; empty means "{}"."""
    occurred_at_ms: int = 0
    """When it happened, Unix milliseconds; 0 means `received_at_ms`."""
    received_at_ms: int = 0
    """When it reached the system, Unix milliseconds; 0 means the engine's clock."""
    traceparent: str = ""
    """The W3C trace context it continues; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Says that an interaction is committed."""

    revision: int
    """The learner's revision after it."""
    duplicate: bool
    """True when this id was applied before; the rest then tells what happened the first time."""
    outcome: Outcome
    """The reading after it."""
    occurred_at_ms: int
    """The time the model counted with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Says that an interaction was not applied and nothing changed."""

    code: FailureCode
    message: str
    """One sentence for a person; it names the field that is wrong and never repeats its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A learner's present state."""

    learner_id: str
    revision: int
    """0 when the learner has none yet; then `state` and `outcome` are None."""
    state: LearnerState | None
    outcome: Outcome | None
    """The reading after the last interaction."""
    occurred_at_ms: int
    """When that happened; 0 when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One applied interaction, from the log."""

    revision: int
    interaction_id: str
    kind: str
    """The model's name of the kind."""
    content: str
    response: str | None
    context_json: bytes
    occurred_at_ms: int
    received_at_ms: int
    traceparent: str
    outcome: Outcome
    crossings: tuple[Crossing, ...]
    """What crossed between the revision before and this one."""
