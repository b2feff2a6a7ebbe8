"""What becomes due for a socket if nothing happens: a pure function of how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from edge.settings import EdgeSettings

CLOSE_S = 2.0
"""Seconds that a client has to answer a close frame."""


class Phase(Enum):
    """How far a connection is; it only ever goes on."""

    HANDSHAKE = auto()
    """The request has not been answered."""
    OPEN = auto()
    """Frames are exchanged."""
    CLOSING = auto()
    """Our close frame, or the end of what we send, is on its way; what comes is not taken."""
    GONE = auto()
    """The socket is no more."""


class Due(Enum):
    """What is to be done when its time has come."""

    ABORT = auto()
    """The client did not answer our close frame."""
    NOBODY_CAME = auto()
    """Nobody said who is connected."""
    TOKEN_EXPIRED = auto()
    TOO_SLOW = auto()
    """The client has not read for too long."""
    LISTEN_ANEW = auto()
    """Nothing was read on purpose, so silence meant nothing."""
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
    """Yield what becomes due and when, what matters most first; all times are of one clock.

    `since` is when the phase began, `heard` when something last came, `expires_at` when the token
    does (None while nobody is known), `slow_since` since when the client reads too slowly,
    `holding` whether nothing is read for now, `ping_sent` when a ping went out that nothing has
    answered.
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
    # Longer for a socket that has long been idle, to spare its radio.
    silence_s = min(settings.ping_max_s, settings.ping_s * (1 + 0.25 * idle_pings))
    yield heard + silence_s, Due.LISTEN_ANEW if holding else Due.PING
