"""What the edge's modules need from each other and from the services, as values and protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from edge.frames.codes import RETRYABLE
from edge.frames.incoming import AdaptData, Context, InteractionData
from edge.frames.outgoing import (
    ABSENT,
    Absent,
    Crossing,
    Levels,
    Meaning,
    Performance,
    StateResponse,
    VirtualBrainResponse,
)
from service_runtime import validation
from service_runtime.trace_context import TraceContext


class UpstreamError(Exception):
    """A service behind the edge could not answer; carries what the client is sent."""

    def __init__(self, code: str, message: str, *, retry_after_ms: int | None = None) -> None:
        """`code` is one of the protocol's error codes; `message` is one sentence for a person."""
        super().__init__(message)
        self.code = code
        self.retry_after_ms = retry_after_ms

    @property
    def retryable(self) -> bool:
        """Whether trying again may succeed."""
        return RETRYABLE[self.code]


class Identity(NamedTuple):
    """Who an access token belongs to."""

    user_id: str
    role: str
    session_id: str
    expires_at_ms: int
    own_learners: tuple[str, ...] = ()
    """Learners that the user is, and may watch and interact for."""
    decision_ttl_s: float = 0.0
    """For how long that holds, unless something is revoked."""


class Interaction:
    """One interaction, between its frame or record and the brain's message. Subclasses add what its
    answer needs.
    """

    __slots__ = (
        "context",
        "data",
        "interaction_id",
        "max_age_s",
        "occurred_at_ms",
        "received_at_ms",
        "trace",
        "traceparent",
    )

    def __init__(
        self,
        data: InteractionData,
        context: Context,
        *,
        interaction_id: str,
        received_at_ms: int,
        trace: TraceContext,
        max_age_s: int = 0,
    ) -> None:
        """`context` has the fields of `data.context` that the model reads. `max_age_s` allows an
        older interaction than the brain's own limit.
        """
        self.data = data
        self.context = context
        self.interaction_id = interaction_id
        at = data.occurred_at
        self.occurred_at_ms = 0 if at is None else validation.unix_ms(at)
        """Unix milliseconds; 0 when unknown."""
        self.received_at_ms = received_at_ms
        self.trace = trace
        self.traceparent = ""
        """The trace context for the brain: `trace`, or the span of waiting for it; set when it is
        sent.
        """
        self.max_age_s = max_age_s


class LiveAssessment(NamedTuple):
    """The part of an assessment that watchers see live."""

    state: Levels
    performance: Performance
    recommendations: list[str]
    actions: list[Any]
    meaning: Meaning | Absent = ABSENT


class LearnerSnapshot(NamedTuple):
    """Where a learner stands when a subscription begins; `assessment` is None while there is no
    state.
    """

    epoch: str
    revision: int
    assessment: LiveAssessment | None
    occurred_at: str = ""
    """When the last interaction happened; empty while there is none."""


@dataclass(slots=True, kw_only=True, eq=False)
class Update:
    """One revision of a learner's state on its way to watchers."""

    learner_id: str
    epoch: str
    revision: int
    assessment: LiveAssessment | None
    """None when the learner is gone."""
    crossings: list[Crossing] = field(default_factory=list)
    """Crossings since the last update from the brain."""
    occurred_at: str = ""
    trace_id: str = ""
    """Of the newest interaction behind it."""
    traceparents: tuple[str, ...] = ()
    """Trace contexts of the interactions behind it, newest first."""


class Member(NamedTuple):
    """One socket of one person in a room."""

    connection_id: str
    user_id: str
    role: str


class Members(NamedTuple):
    """Who is in a room."""

    listed: tuple[Member, ...]
    """Those that the brain names, in the order they came."""
    total: int
    """How many there are; more than are listed in a crowd."""

    @property
    def is_crowd(self) -> bool:
        """Whether there are too many to name."""
        return self.total > len(self.listed)


class RoomEvent(NamedTuple):
    """A room event; `kind` is "joined", "left" or "message"."""

    kind: str
    room_id: str
    member: Member
    data: bytes


class Adapted(NamedTuple):
    """Content in a form that fits the learner."""

    content: str
    changes: list[dict[str, str]]


T = TypeVar("T")
Done = Callable[[T | UpstreamError], None]
"""Called once with the answer or an UpstreamError, on the event loop, possibly before the asking
call returns.
"""


class Sink(Protocol):
    """The transport side of one socket."""

    address: str
    """Address of the client, without port."""
    paused: bool
    """True while the client reads too slowly; then only what must not be lost is queued."""

    def send(self, payload: bytes) -> None:
        """Send one text frame."""

    def send_prepared(self, frame: bytes) -> None:
        """Send bytes that `prepare` made; for one payload that goes to many sockets."""

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket; harmless when it is closing already. The session ends later, never
        within this call.
        """

    def deadline_changed(self) -> None:
        """The session's expiry has changed."""

    def hold_reading(self, hold: bool) -> None:
        """Stop or resume taking frames from this client."""


Prepare = Callable[[bytes], bytes]
"""Turns a payload into bytes that any Sink can send as they are."""


class Brain(Protocol):
    """What the edge needs from the brains."""

    def interact(
        self, interaction: Interaction, done: Done[VirtualBrainResponse], *, alone: bool = False
    ) -> None:
        """Send an interaction; `done` gets its response, to which the sender adds its own fields.
        `alone` says that its sender has no other in flight; it then does not wait behind senders
        with many.
        """

    def get_state(self, learner_id: str, *, min_revision: int, done: Done[StateResponse]) -> None:
        """Read a state at least as new as `min_revision`; `done` gets a StateResponse."""

    def adapt(self, data: AdaptData, *, done: Done[Adapted]) -> None:
        """Adapt content; `done` gets Adapted."""

    def replay(self, learner_id: str, *, after: int, until: int, done: Done[list[Update]]) -> None:
        """Read the updates `after` < revision ≤ `until` from the log; `done` gets a list of
        Update.
        """


class Feed(Protocol):
    """The source of updates: the hub says what it wants, the feed calls `hub.deliver`."""

    def watch(self, learner_id: str, done: Done[LearnerSnapshot]) -> None:
        """Begin or change watching as `hub.cursor` says; `done` gets a LearnerSnapshot."""

    def unwatch(self, learner_id: str) -> None:
        """Stop watching, unless the hub wants the learner again by then."""


class Auth(Protocol):
    """What sockets need from the auth service."""

    def authenticate(self, token: str, done: Done[Identity]) -> None:
        """Find out whose token it is; `done` gets an Identity."""

    def authorize(
        self, user_id: str, action: str, resource: str, done: Done[tuple[bool, float]]
    ) -> None:
        """Ask whether a user may "watch", "interact" or "join"; `done` gets (allowed, seconds to
        live).
        """


class RoomLink(Protocol):
    """What sockets need from the room service."""

    def join(self, room_id: str, member: Member, done: Done[Members]) -> None:
        """Add a member; `done` gets the list of Members."""

    def leave(self, room_id: str, connection_id: str, done: Done[bool] | None) -> None:
        """Remove a member; `done` gets True."""

    def publish(self, room_id: str, connection_id: str, data: bytes, done: Done[bool]) -> None:
        """Send a message to the others; `done` gets True."""
