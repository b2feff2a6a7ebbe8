"""What callers bring to the engine and get back, and which of it is admitted; it runs no model."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from brain_service.model import Assessment, Crossing, Interaction, LearnerState

MAX_AHEAD_MS: Final = 60_000
"""How far `occurred_at_ms` may be ahead of the clock; it then counts as now."""

MAX_SKEW_MS: Final = 86_400_000
"""The same for `received_at_ms`: edges' clocks may be wrong, but not in another unit."""


class FailureCode(enum.Enum):
    """Why an interaction was not applied. In every case nothing changed."""

    INVALID = "invalid"
    """A field is wrong; sending it again cannot succeed."""
    UNAVAILABLE = "unavailable"
    """The store did not accept the batch, or the engine is stopping; retry under the same id."""
    INTERNAL = "internal"
    """A fault of ours, logged."""
    QUOTA = "quota"
    """The learner's daily quota is used up; the same succeeds tomorrow."""
    OVERLOADED = "overloaded"
    """Too much is waiting already; retry later under the same id."""


class Call:
    """One call of `submit`, waiting until each of its interactions has its result."""

    __slots__ = ("done", "remaining")

    def __init__(self, size: int) -> None:
        """Wait for so many."""
        self.remaining = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settled(self) -> None:
        """One has its result; the last one lets the caller go on."""
        self.remaining -= 1
        if not self.remaining and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class Submission:
    """One interaction on its way through the engine: as its caller brings it, checked by
    `model.interaction`, until it has its result.
    """

    learner_id: str
    """Who did it."""
    interaction_id: str
    """Makes a resend harmless; unique per learner."""
    interaction: Interaction
    """What the model reads, kind and content included."""
    response: str | None = None
    """What the learner answered; stored, not read."""
    context_json: bytes = b""
    """The whole context as the client sent it, a JSON object; empty means "{}"."""
    occurred_at_ms: int = 0
    """When it happened, Unix milliseconds; 0 means `received_at_ms`."""
    received_at_ms: int = 0
    """When it reached the system, Unix milliseconds; 0 means the engine's clock, which fills it
    in.
    """
    traceparent: str = ""
    """The W3C trace context it continues; empty for none."""
    verified: bool = False
    """Whether the calling service judged the answer and measured the time itself; otherwise both
    come from the learner's device.
    """
    max_age_s: int = 0
    """How far back `occurred_at_ms` may lie where that is more than the engine allows, seconds."""
    recorded_by: str = ""
    """Whom the audit log names; empty for a learner's own interactions, which are not audited."""
    name: tuple[str, str] = field(init=False, default=("", ""))
    """What makes it unique; this and what follows is the engine's."""
    call: Call | None = field(init=False, default=None)
    """Who waits for it; None before it came to an engine."""
    at_ms: int = field(init=False, default=0)
    """When it counts, Unix milliseconds."""
    result: Applied | Failed | None = field(init=False, default=None)
    """What became of it; None while that is open."""

    def enter(self, call: Call) -> Submission:
        """Return what goes through the engine for `call`: itself, or a copy where it did before."""
        own = self if self.call is None else replace(self)
        own.call = call
        own.name = own.learner_id, own.interaction_id
        return own

    def settle(self, result: Applied | Failed) -> None:
        """Say what became of it; once."""
        self.result = result
        self.call.settled()  # type: ignore[union-attr]  # it has entered


class Applied(NamedTuple):
    """Says that an interaction is committed."""

    assessment: Assessment
    """The assessment after it."""
    duplicate: bool = False
    """True when this id was applied before; the assessment is that of the first time."""

    @property
    def revision(self) -> int:
        """The learner's revision after it."""
        return self.assessment.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Says that an interaction was not applied and nothing changed."""

    code: FailureCode
    message: str
    """One sentence for a person; it names the field that is wrong and never repeats its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSnapshot:
    """A learner's present state."""

    learner_id: str
    revision: int
    """0 when the learner has none yet; then `state` and `assessment` are None."""
    state: LearnerState | None
    assessment: Assessment | None
    """The assessment after the last interaction."""
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
    assessment: Assessment
    crossings: tuple[Crossing, ...]
    """What crossed between the revision before and this one."""


INTERNAL_FAULT: Final = Failed(
    code=FailureCode.INTERNAL, message="The brain failed; the error is logged, nothing changed."
)


def invalid(message: str) -> Failed:
    """Refuse an invalid interaction."""
    return Failed(code=FailureCode.INVALID, message=message)


def admit(submission: Submission, now_ms: int, max_age_s: float | None) -> int | Failed:
    """Return an interaction's effective time, Unix milliseconds, or why its time is refused. Its
    fields were checked when it was made.
    """
    occurred_at_ms, received_at_ms = submission.occurred_at_ms, submission.received_at_ms
    if received_at_ms > now_ms + MAX_SKEW_MS:
        # Not the client's fault: it keeps the answer until the clocks are right.
        return Failed(
            code=FailureCode.UNAVAILABLE,
            message="received_at_ms is more than a day ahead: a clock is wrong, here or there.",
        )
    if not occurred_at_ms:
        return min(received_at_ms or now_ms, now_ms)
    # A caller's clock may be ahead of ours; what it measured with that clock is no error.
    if occurred_at_ms > max(now_ms, received_at_ms) + MAX_AHEAD_MS:
        return invalid("occurred_at is more than 60 seconds ahead.")
    if max_age_s is not None and submission.max_age_s > max_age_s:
        max_age_s = submission.max_age_s
    if max_age_s is not None and occurred_at_ms < now_ms - max_age_s * 1000:
        return invalid(f"occurred_at is more than {max_age_s / 86_400:g} days back.")
    return min(occurred_at_ms, now_ms)


def quota_price(submission: Submission) -> int:
    """Return how many interactions this one counts as: each KiB of text is one more, because the
    quota protects the disk.
    """
    text = len(submission.interaction.content) + len(submission.context_json)
    if submission.response is not None:
        text += len(submission.response)
    return 1 + text // 1024
