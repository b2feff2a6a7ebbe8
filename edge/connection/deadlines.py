"""What becomes due for a socket if nothing happens: a pure function of its state."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from edge.settings import EdgeSettings

CLOSE_S = 2.0
"""Seconds that a client has to answer a close frame."""


class Phase(Enum):
    """How far a connection is; it only moves forward."""

    HANDSHAKE = auto()
    """The request has not been answered."""
    OPEN = auto()
    """Frames are exchanged."""
    CLOSING = auto()
    """Our close frame or the end of our data is on its way; incoming frames are ignored."""
    GONE = auto()
    """The socket is gone."""


class Due(Enum):
    """What to do when a deadline passes."""

    ABORT = auto()
    """The client did not answer our close frame."""
    NOBODY_CAME = auto()
    """The client did not authenticate."""
    TOKEN_EXPIRED = auto()
    TOO_SLOW = auto()
    """The client has not read for too long."""
    LISTEN_ANEW = auto()
    """Reading was paused on purpose, so silence means nothing."""
    NO_PONG = auto()
    PING = auto()


def deadlines(
    settings: EdgeSettings,
    phase: Phase,
    *,
    since: float,
    heard: float,
    expires_at: float | None,
    slow_since: float | None,
    holding: bool,
    ping_sent: float | None,
    idle_pings: int,
) -> Iterator[tuple[float, Due]]:
    """Yield what becomes due and when, most important first; all times are of one clock.

    `since` is when the phase began, `heard` when data last arrived, `expires_at` when the token
    expires (None before authentication), `slow_since` when the client began to read too slowly,
    `holding` whether reading is paused, `ping_sent` when the unanswered ping went out.
    """
    if phase is Phase.CLOSING:
        yield since + CLOSE_S, Due.ABORT
    if phase is not Phase.OPEN:
        return
    if expires_at is None:
        yield since + settings.authenticate_s, Due.NOBODY_CAME
        return
    yield expires_at, Due.TOKEN_EXPIRED
    if slow_since is not None:
        yield slow_since + settings.slow_s, Due.TOO_SLOW
    if not holding and ping_sent is not None and heard < ping_sent:
        yield ping_sent + settings.pong_s, Due.NO_PONG
        return
    # Longer for a socket that has long been idle, to spare a phone's radio.
    silence_s = min(settings.ping_max_s, settings.ping_s * (1 + 0.25 * idle_pings))
    yield heard + silence_s, Due.LISTEN_ANEW if holding else Due.PING
