"""What the edge sends. Optional fields that are unset do not appear in the JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from edge.frames.clock import timestamp
from edge.frames.codes import RETRYABLE
from edge.frames.incoming import RequestId

ABSENT = UNSET
"""The value of an optional field that is left out of the JSON."""
Absent = UnsetType


class ServerFrame(Struct, tag_field="type", omit_defaults=True):
    """Base of the frames that the edge sends."""


class Levels(Struct, gc=False):
    """The six levels, each in [0, 1]."""

    cognitive_load: float
    engagement_level: float
    frustration_level: float
    fatigue_level: float
    confidence_level: float
    motivation_level: float


class Grades(Struct, gc=False):
    """How well each level was checked against people: human, convergent or theory."""

    cognitive_load: str
    engagement_level: str
    frustration_level: str
    fatigue_level: str
    confidence_level: str
    motivation_level: str


class Performance(Struct, gc=False):
    """Summary of the answers so far."""

    accuracy: float
    response_time: float
    consistency: float
    improvement_rate: float


class Because(Struct, gc=False):
    """One thing that speaks for a statement: which way it pulls, and a teacher's words for it."""

    code: str
    direction: str
    words: str


class Action(Struct):
    """A recommendation for a machine."""

    code: str
    reason: list[str]
    urgency: str
    because: list[Because] | UnsetType = UNSET


class Bands(Struct, gc=False):
    """How each level stands to what is usual for the learner: much_lower, lower, as_usual, higher,
    much_higher, or too_early.
    """

    cognitive_load: str
    engagement_level: str
    frustration_level: str
    fatigue_level: str
    confidence_level: str
    motivation_level: str


class TooEarly(Struct, gc=False):
    """Why there are no bands yet: new_learner or after_break, and how many answers are missing."""

    code: str
    needs: int
    sentence: str


class Struggle(Struct):
    """The probability that at least two of the next three answers are wrong, and what is usual."""

    probability: float
    usual: float
    because: list[Because]


class Attention(Struct, gc=False):
    """Whether a person should look after the learner: now, look or none."""

    level: str
    code: str
    reason: str
    since: str


class Meaning(Struct):
    """What the levels mean for this learner; `usual` and `spread` are in units of the level,
    `deviation` is in spreads.
    """

    bands: Bands
    usual: Levels
    spread: Levels
    deviation: Levels
    attention: Attention
    struggle: Struggle | UnsetType = UNSET
    too_early: TooEarly | UnsetType = UNSET


class Mastery(Struct, gc=False):
    """Mastery of one skill with the evidence behind it."""

    probability: float
    answers: int
    standard_error: float


class Crossing(Struct, gc=False):
    """A change that a watcher must not miss."""

    name: str
    rising: bool
    value: float
    revision: int


class Assessment(Struct):
    """What the model says after an interaction."""

    success: bool
    state: Levels
    performance: Performance
    mastery: dict[str, float]
    predicted_correct: float | None
    recommendations: list[str]
    actions: list[Action]
    drivers: Mapping[str, Any]
    confidence: float
    model_version: str
    uncertainty: Levels
    grades: Grades
    item_confidence: float
    processing_time: float = 0.0
    meaning: Meaning | UnsetType = UNSET


class User(Struct, gc=False):
    """Who is connected."""

    id: str
    role: str


class ConnectionEstablished(ServerFrame, tag="connection_established"):
    """The socket is open and the edge knows whose it is."""

    connection_id: str
    timestamp: str
    user: User
    expires_at: str
    heartbeat_ms: int
    limits: dict[str, int | float]
    id: RequestId = None


class Authenticated(ServerFrame, tag="authenticated"):
    """The token was replaced."""

    expires_at: str
    timestamp: str
    id: RequestId = None


class Subscribed(Struct, tag_field="type", tag="subscribed"):
    """A subscription stands; `state` is null while the learner has none."""

    learner_id: str
    success: bool
    epoch: str
    revision: int
    recovered: bool
    state: Levels | None
    missed: int
    timestamp: str
    performance: Performance | UnsetType = UNSET
    recommendations: list[str] | UnsetType = UNSET
    actions: list[Action] | UnsetType = UNSET
    occurred_at: str | UnsetType = UNSET
    meaning: Meaning | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class Unsubscribed(ServerFrame, tag="unsubscribed"):
    """A subscription ended; with `code` the server ended it."""

    learner_id: str
    timestamp: str
    code: str | None = None
    retryable: bool | None = None
    id: RequestId = None


class StateUpdate(Struct, tag_field="type", tag="state_update"):
    """A learner's state moved."""

    learner_id: str
    state: Levels
    timestamp: str
    epoch: str
    revision: int
    coalesced: int
    crossings: list[Crossing]
    performance: Performance
    recommendations: list[str]
    actions: list[Action]
    occurred_at: str
    meaning: Meaning | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET


class VirtualBrainResponse(ServerFrame, tag="virtual_brain_response"):
    """The interaction is committed to durable storage."""

    learner_id: str
    result: Assessment
    timestamp: str
    interaction_id: str
    revision: int
    duplicate: bool
    trace_id: str | None = None
    id: RequestId = None


class StateResponse(Struct, tag_field="type", tag="state_response"):
    """A learner's present state; null while the learner has none."""

    learner_id: str
    state: Levels | None
    performance: Performance | None
    epoch: str
    revision: int
    timestamp: str
    mastery: dict[str, Mastery] | UnsetType = UNSET
    recommendations: list[str] | UnsetType = UNSET
    actions: list[Action] | UnsetType = UNSET
    drivers: Mapping[str, Any] | UnsetType = UNSET
    uncertainty: Levels | UnsetType = UNSET
    grades: Grades | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    model_version: str | UnsetType = UNSET
    occurred_at: str | UnsetType = UNSET
    meaning: Meaning | UnsetType = UNSET
    explanations: dict[str, list[Because]] | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class ContentAdapted(ServerFrame, tag="content_adapted"):
    """Content in a form that fits the learner, with what was done and why."""

    learner_id: str
    original_content: str
    adapted_content: str
    timestamp: str
    changes: list[dict[str, str]] | UnsetType = UNSET
    id: RequestId = None


class RoomJoined(ServerFrame, tag="room_joined"):
    """The socket is in the room."""

    room_id: str
    connection_id: str
    user: User
    members: list[dict[str, Any]]
    timestamp: str
    member_count: int = 0
    """How many are there; in a crowd more than `members` lists."""
    id: RequestId = None


class RoomLeft(ServerFrame, tag="room_left"):
    """The socket left the room."""

    room_id: str
    connection_id: str
    user: User
    timestamp: str
    id: RequestId = None


class UserJoined(ServerFrame, tag="user_joined"):
    """Somebody else came into the room."""

    room_id: str
    connection_id: str
    user: User
    timestamp: str


class UserLeft(ServerFrame, tag="user_left"):
    """Somebody else left the room, or vanished."""

    room_id: str
    connection_id: str
    user: User
    timestamp: str


class RoomMessage(ServerFrame, tag="room_message"):
    """Somebody said something in the room."""

    room_id: str
    connection_id: str
    user: User
    data: Raw
    timestamp: str


class Pong(ServerFrame, tag="pong"):
    """Answers a ping."""

    timestamp: str
    sent_at: float | str | None = None
    id: RequestId = None


class ServerDraining(ServerFrame, tag="server_draining"):
    """The edge is about to stop; reconnect after this many milliseconds, jittered per socket."""

    reconnect_after_ms: int
    timestamp: str


class Error(Struct, tag_field="type", tag="error"):
    """A frame could not be answered; the socket stays open."""

    error: str
    timestamp: str
    code: str
    retryable: bool
    retry_after_ms: int | UnsetType = UNSET
    message_type: str | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET


TYPES = {
    value: str(value.__struct_config__.tag)
    for value in list(vars().values())
    if isinstance(value, type)
    and issubclass(value, Struct)
    and value.__struct_config__.tag
    and value is not ServerFrame
}
"""Every frame that goes to clients, with its name."""

encode = msgspec.json.Encoder().encode
"""Return a frame as JSON, `type` first."""


def record(names: Sequence[str]) -> Callable[..., Struct]:
    """Return a function that encodes numbers under these names as a JSON object, at a third of a
    dict's cost.
    """
    return msgspec.defstruct("Record", [(name, float) for name in names], gc=False)


def raw(data: bytes) -> Raw:
    """Wrap JSON that is sent as is."""
    return Raw(data)


def error(
    code: str,
    message: str,
    *,
    id: RequestId = None,
    message_type: str | None = None,
    retry_after_ms: int | None = None,
    trace_id: str | None = None,
) -> Error:
    """Make an error frame; `code` says whether it is retryable."""
    return Error(
        error=message,
        timestamp=timestamp(),
        code=code,
        retryable=RETRYABLE[code],
        retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
        message_type=message_type or UNSET,
        id=UNSET if id is None else id,
        trace_id=trace_id or UNSET,
    )
