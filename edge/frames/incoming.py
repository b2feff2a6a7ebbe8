"""What clients send; decoding validates and explains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from service_runtime import validation

ID_PATTERN = rf"\A{validation.ID_PATTERN}\Z"
MAX_CONTENT = 16_384

Identifier = Annotated[str, Meta(min_length=1, max_length=validation.MAX_ID, pattern=ID_PATTERN)]
LARGEST_ID = 2**63 - 1
"""Range of numeric ids: what every JSON reader with 64-bit integers takes."""
RequestId = (
    Annotated[str, Meta(max_length=validation.MAX_ID)]
    | Annotated[int, Meta(ge=-LARGEST_ID, le=LARGEST_ID)]
    | None
)
Content = Annotated[str, Meta(max_length=MAX_CONTENT)]


class BadFrameError(Exception):
    """A frame that cannot be understood, with the text for the client."""

    def __init__(
        self, code: str, message: str, *, id: RequestId = None, message_type: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.id = id
        self.message_type = message_type


class ClientFrame(Struct, tag_field="type", gc=False):
    """Base of the frames that clients send."""


class Authenticate(ClientFrame, tag="authenticate", gc=False):
    """Says who is connected; on an open socket it replaces the token."""

    token: Annotated[str, Meta(max_length=8192)]
    id: RequestId = None


class Resume(Struct, gc=False):
    """How far a client has seen a learner's updates."""

    epoch: Annotated[str, Meta(max_length=64)]
    revision: Annotated[int, Meta(ge=0, le=2**53)]


class SubscribeLearner(ClientFrame, tag="subscribe_learner"):
    """Asks for a learner's updates."""

    learner_id: Identifier
    id: RequestId = None
    resume: Resume | None = None
    mode: Literal["latest", "every"] = "latest"
    min_interval_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0


class UnsubscribeLearner(ClientFrame, tag="unsubscribe_learner", gc=False):
    """Ends a subscription."""

    learner_id: Identifier
    id: RequestId = None


def _no_context() -> Raw:
    return Raw(b"{}")


class InteractionData(Struct):
    """One thing a learner did."""

    learner_id: Identifier
    type: Literal["question_response", "content_view", "hint_request", "assessment", "practice"]
    content: Content
    response: Content | None = None
    context: Raw = field(default_factory=_no_context)
    interaction_id: Identifier | None = None
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    traceparent: Annotated[str, Meta(max_length=256)] = ""


class VirtualBrainInteract(ClientFrame, tag="virtual_brain_interact"):
    """Sends an interaction to the learner's model."""

    data: InteractionData
    id: RequestId = None


class Context(Struct, gc=False):
    """The fields of an interaction's context that the model reads; others are stored, not read."""

    correct: bool | None = None
    difficulty: float | None = None
    subject: Annotated[str, Meta(max_length=128)] | None = None
    skill: (
        Annotated[str, Meta(max_length=128)]
        | Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=8)]
        | None
    ) = None
    time_taken: float | None = None
    hints: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    attempts: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    item_id: Annotated[str, Meta(max_length=128)] | None = None


class GetState(ClientFrame, tag="get_state", gc=False):
    """Asks for a learner's present state."""

    learner_id: Identifier
    id: RequestId = None


class AdaptData(Struct):
    """Content to adapt for a learner."""

    learner_id: Identifier
    content: Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT)]
    content_type: Annotated[str, Meta(max_length=64)]
    target_difficulty: Annotated[float, Meta(ge=1, le=5)] | None = None
    focus_areas: (
        Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=8)] | None
    ) = None


class AdaptContent(ClientFrame, tag="adapt_content"):
    """Asks for a form of some content that fits the learner."""

    data: AdaptData
    id: RequestId = None


class JoinRoom(ClientFrame, tag="join_room", gc=False):
    """Enters a room."""

    room_id: Identifier
    id: RequestId = None


class LeaveRoom(ClientFrame, tag="leave_room", gc=False):
    """Leaves a room."""

    room_id: Identifier
    id: RequestId = None


class SendRoomMessage(ClientFrame, tag="room_message"):
    """Says something to the other members of a room."""

    room_id: Identifier
    data: Raw
    id: RequestId = None


class Ping(ClientFrame, tag="ping", gc=False):
    """Asks for a pong."""

    id: RequestId = None
    sent_at: float | Annotated[str, Meta(max_length=64)] | None = None


AnyClientFrame = (
    Authenticate
    | SubscribeLearner
    | UnsubscribeLearner
    | VirtualBrainInteract
    | GetState
    | AdaptContent
    | JoinRoom
    | LeaveRoom
    | SendRoomMessage
    | Ping
)


class _Head(Struct):
    """What is known about a frame that is not understood."""

    type: Any = None
    id: Any = None


_decode: Callable[[bytes], AnyClientFrame] = msgspec.json.Decoder(AnyClientFrame).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_context = msgspec.json.Decoder(Context).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
TYPES = {frame: str(frame.__struct_config__.tag) for frame in AnyClientFrame.__args__}
CLIENT_TYPES = frozenset(TYPES.values())
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(payload: bytes) -> AnyClientFrame:
    """Return the frame in `payload`. Raises BadFrameError, which tells the client what to fix and
    never repeats content.
    """
    try:
        str(payload, "utf-8")  # what is passed on unread must be text too
        return _decode(payload)
    except msgspec.ValidationError as error:
        raise _explain(payload, error) from None
    except _UNREADABLE:
        raise BadFrameError("bad_request", "The frame is not valid JSON.") from None


def unread(payload: bytes, code: str, message: str) -> BadFrameError:
    """Return the refusal of a frame that was not parsed: under its id, if it has one."""
    try:
        head = _decode_head(payload)
    except _UNREADABLE:
        return BadFrameError(code, message)
    kind = head.type if isinstance(head.type, str) and head.type in CLIENT_TYPES else None
    return BadFrameError(code, message, id=_id_of(head), message_type=kind)


def type_of(payload: bytes) -> str:
    """Return the type of a frame, "unknown" for any that is not one of ours."""
    try:
        kind = _decode_head(payload).type
    except (msgspec.ValidationError, *_UNREADABLE):
        return "unknown"
    return kind if isinstance(kind, str) and kind in CLIENT_TYPES else "unknown"


def decode_context(raw: Raw) -> Context:
    """Return what the model reads of an interaction's context. Raises BadFrameError."""
    try:
        validation.check_nesting(bytes(raw))
        return _decode_context(raw)
    except validation.OutsideError as error:
        raise BadFrameError("bad_request", f"data.context {error}.") from None
    except msgspec.ValidationError as error:
        raise BadFrameError("bad_request", _sentence(error, "data.context")) from None
    except _UNREADABLE:
        raise BadFrameError(
            "bad_request", "data.context is nested too deeply or is not text."
        ) from None


def check_moment(moment: datetime, name: str) -> None:
    """Refuse an impossible time. Raises BadFrameError."""
    try:
        validation.unix_ms(moment)
    except validation.OutsideError as error:
        raise BadFrameError("bad_request", f"{name} {error}.") from None


def check_object(raw: Raw, name: str) -> None:
    """Refuse anything but a JSON object. Raises BadFrameError."""
    try:
        validation.check_nesting(bytes(raw))
        _decode_object(raw)
    except validation.OutsideError as error:
        raise BadFrameError("bad_request", f"{name} {error}.") from None
    except _UNREADABLE:
        raise BadFrameError("bad_request", f"{name} must be a JSON object.") from None


def _explain(payload: bytes, error: msgspec.ValidationError) -> BadFrameError:
    try:
        head = _decode_head(payload)
    except _UNREADABLE:
        return BadFrameError("bad_request", "The frame must be a JSON object with a `type`.")
    id = _id_of(head)
    if not isinstance(head.type, str):
        return BadFrameError("bad_request", "The frame needs a `type` (a string).", id=id)
    if head.type not in CLIENT_TYPES:
        return BadFrameError("unknown_type", "This `type` of frame is unknown.", id=id)
    return BadFrameError("bad_request", _sentence(error), id=id, message_type=head.type)


def _id_of(head: _Head) -> RequestId:
    id = head.id
    if type(id) is int:
        return id if abs(id) <= LARGEST_ID else None
    return id if type(id) is str and len(id) <= validation.MAX_ID else None


def _sentence(error: msgspec.ValidationError, root: str = "") -> str:
    """Turn the decoder's message into one that names the field and repeats nothing that was
    sent.
    """
    text, _, path = str(error).partition(" - at `$")
    field = (root + path.rstrip("`")).lstrip(".") or "the frame"
    if text.startswith("Invalid enum value"):
        text = "Not one of the allowed values"
    elif "matching regex" in text:
        text = f"Expected {validation.ID_RULE}"
    return f"{field}: {text.replace('`', '')}."
