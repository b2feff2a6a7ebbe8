"""The values that the pure part of the client is made of: constants, what waits, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aivo_client.errors import AivoError
from aivo_client.frames import Frame

Mode: TypeAlias = Literal["latest", "every"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Constants; times in seconds. The defaults are those of the browser's client."""

    min_delay_s: float = 0.5
    """Least and greatest wait between attempts to connect."""
    max_delay_s: float = 20.0
    max_attempts: int | None = None
    """Failed attempts in a row after which it gives up; None for never."""
    stable_s: float = 5.0
    """A connection that lived so long resets the count of attempts; one that flaps does not."""
    attempt_s: float = 20.0
    """Longest time from asking for a token to `connection_established`."""
    heartbeat_s: float = 25.0
    """Silence after which the client pings."""
    pong_s: float = 10.0
    """How long it waits for the answer before it takes the connection for dead."""
    answer_s: float = 15.0
    """Unanswered interactions and subscriptions are resent after this."""
    refresh_margin_s: float = 60.0
    """Longest lead before its expiry at which a token is replaced."""
    max_in_flight: int = 32
    """Interactions in flight at once."""
    pace: float = 0.8
    """Share of the server's frame limit that the client uses."""
    queue_items: int = 1_000
    """Interactions that may wait."""
    queue_age_s: float = (7 * 24 - 1) * 3_600.0
    """Older ones are given up: the server accepts seven days, and clocks may differ by an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An interaction that waits for its acknowledgement."""

    data: dict[str, Any]
    queued_at: float
    """When it was submitted, Unix seconds by this machine's clock."""

    @property
    def id(self) -> str:
        """Its `interaction_id`, the same however often it is sent."""
        id: str = self.data["interaction_id"]
        return id


# Effects, in order.


@dataclass(frozen=True, slots=True)
class GetToken:
    """Ask the application for a token; answer with `Machine.token`."""

    request: int


@dataclass(frozen=True, slots=True)
class RefuseToken:
    """Report that the server does not accept the token."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a socket; its events come under this number."""

    socket: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket, which already counts as closed."""

    code: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Wake:
    """(Re)start a timer; one that fires when it is not needed any more is harmless."""

    timer: str
    after_s: float


@dataclass(frozen=True, slots=True)
class CancelTimers:
    """Stop all timers."""


@dataclass(frozen=True, slots=True)
class Save:
    """Store an interaction where it survives this process, if possible."""

    item: Waiting


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a stored interaction: it was acknowledged, or given up."""

    id: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Report that it is connected, and as whom."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Lost:
    """Report that the connection is lost; for good with `error`."""

    close_code: int | None
    error: AivoError | None


@dataclass(frozen=True, slots=True)
class Received:
    """Pass on a frame of any kind."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Shown:
    """Show a state newer than all shown for this learner."""

    learner_id: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Settled:
    """Report the outcome of an interaction or a request."""

    id: str
    answer: Frame | AivoError


@dataclass(frozen=True, slots=True)
class Denied:
    """Report that a subscription or room is not granted, or no longer."""

    kind: str
    key: str
    error: AivoError


Effect: TypeAlias = (
    GetToken
    | RefuseToken
    | Open
    | Close
    | Send
    | Wake
    | CancelTimers
    | Save
    | Remove
    | Opened
    | Lost
    | Received
    | Shown
    | Settled
    | Denied
)
