"""What callers bring to the engine and get back, and which of it is admitted; values only, it runs
no model.

What is made for every interaction is a plain tuple: a frozen dataclass takes four times as long to
make.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from brain_service.model import Assessment, Crossing, Interaction, LearnerState
from service_runtime import outside

MAX_AHEAD_MS: Final = 60_000
"""How far `occurred_at_ms` may lie ahead of the clock; it then counts as now."""

MAX_SKEW_MS: Final = 86_400_000
"""The same for `received_at_ms`: edges' clocks may be wrong, but not in another unit."""


MAX_RESPONSE: Final = 16_384
"""Characters of a response."""

MAX_CONTEXT_BYTES: Final = 64 * 1024


class FailureCode(enum.Enum):
    """Why an interaction was not applied. In every case nothing changed."""

    INVALID = "invalid"
    """A field is wrong; sending it again cannot succeed."""
    UNAVAILABLE = "unavailable"
    """The store did not accept the batch, or the engine stops; retry under the same id."""
    INTERNAL = "internal"
    """A fault of ours, logged."""
    QUOTA = "quota"
    """The learner's interactions of today are used up; tomorrow the same succeeds."""
    OVERLOADED = "overloaded"
    """Too much is waiting already; retry later under the same id."""


class Submission(NamedTuple):
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
    verified: bool = False
    """Whether the calling service judged the answer and measured the time itself; otherwise both
    are the word of the learner's device.
    """
    max_age_s: int = 0
    """How far back `occurred_at_ms` may lie where that is more than the engine allows, seconds."""


class Applied(NamedTuple):
    """Says that an interaction is committed."""

    revision: int
    """The learner's revision after it."""
    duplicate: bool
    """True when this id was applied before; the rest then tells what happened the first time."""
    assessment: Assessment
    """The assessment after it."""
    occurred_at_ms: int
    """The time the model counted with."""


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
    code=FailureCode.INTERNAL, message="A fault of the brain; it is logged, nothing changed."
)


def invalid(message: str) -> Failed:
    """Refuse an interaction for what it is."""
    return Failed(code=FailureCode.INVALID, message=message)


def admit(submission: Submission, now_ms: int, max_age_s: float | None) -> int | Failed:
    """Return the time at which an interaction counts, Unix milliseconds, or why it can never be
    stored.

    The brain's one check of what the model does not read: what it lets pass must not be able to
    spoil the group it is written with.
    """
    if not outside.is_id(submission.learner_id):
        return invalid(f"learner_id must be {outside.ID_RULE}.")
    if not outside.is_id(submission.interaction_id):
        return invalid(f"interaction_id must be {outside.ID_RULE}.")
    if not _storable(submission.interaction.content):
        return invalid("content must be valid text without NUL characters.")
    response = submission.response
    if response is not None:
        if len(response) > MAX_RESPONSE:
            return invalid(f"response must have at most {MAX_RESPONSE:,} characters.")
        if not _storable(response):
            return invalid("response must be valid text without NUL characters.")
    if submission.context_json:
        try:
            outside.check_object(submission.context_json, most=MAX_CONTEXT_BYTES)
        except outside.OutsideError as error:
            return invalid(f"context_json {error}.")
    if not _storable(submission.traceparent):
        return invalid("traceparent must be valid text.")
    occurred_at_ms, received_at_ms = submission.occurred_at_ms, submission.received_at_ms
    for name, ms in (("occurred_at_ms", occurred_at_ms), ("received_at_ms", received_at_ms)):
        if ms and not outside.is_moment(ms):
            return invalid(f"{name} must be Unix milliseconds between 1970 and 9999, or 0.")
    if received_at_ms > now_ms + MAX_SKEW_MS:
        # Not the client's fault, whose answer is good: it keeps it until the clocks are right.
        return Failed(
            code=FailureCode.UNAVAILABLE,
            message="received_at_ms lies more than a day ahead: a clock is wrong, here or there.",
        )
    if not occurred_at_ms:
        return min(received_at_ms or now_ms, now_ms)
    # A caller's clock may be ahead of ours; what it measured with that clock is no error.
    if occurred_at_ms > max(now_ms, received_at_ms) + MAX_AHEAD_MS:
        return invalid("occurred_at lies more than 60 seconds ahead.")
    if max_age_s is not None and submission.max_age_s > max_age_s:
        max_age_s = submission.max_age_s
    if max_age_s is not None and occurred_at_ms < now_ms - max_age_s * 1000:
        return invalid(f"occurred_at lies more than {max_age_s / 86_400:g} days back.")
    return min(occurred_at_ms, now_ms)


def quota_price(submission: Submission) -> int:
    """Return how many interactions this one counts as: each KiB of text is one more, for it is the
    disk that must not be filled.
    """
    text = len(submission.interaction.content) + len(submission.context_json)
    if submission.response is not None:
        text += len(submission.response)
    return 1 + text // 1024


def _storable(text: str) -> bool:
    """Tell whether both databases take a text: no lone surrogates, no NUL."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
