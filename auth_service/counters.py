"""Counts what the auth service does, in plain numbers without names."""

from __future__ import annotations

from service_runtime.metrics import DURATION_S, Histogram

LOGINS = ("granted", "refused", "slowed", "busy", "failed")
REFRESHES = ("granted", "refused", "reused")


class AuthCounters:
    """The metrics of one auth service; its modules add to the plain numbers."""

    def __init__(self) -> None:
        """Start at zero."""
        self.logins = dict.fromkeys(LOGINS, 0)
        """Sign-ins: a wrong pair is `refused`, too many attempts `slowed`, too many at once `busy`,
        else `failed`.
        """
        self.logins_s = Histogram(DURATION_S)
        """Seconds per granted or refused sign-in, most of it for hashing the password."""
        self.refreshes = dict.fromkeys(REFRESHES, 0)
        """A token used a second time is `reused`, and its session ended: it may have been
        stolen.
        """
        self.tokens_accepted = 0
        self.tokens_refused = 0
        self.decisions = {True: 0, False: 0}
        """By whether it was allowed."""
