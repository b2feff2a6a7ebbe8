"""Counts what the bus between brains carries and loses; plain numbers, read when scraped."""

from __future__ import annotations

from service_runtime.metrics import DURATION_S, Histogram


class BusCounters:
    """The metrics of one brain's end of the bus."""

    def __init__(self) -> None:
        """Start at zero, out of touch."""
        self.connected = False
        self.connections = 0
        """Times that the server was reached, the first included."""
        self.sent = 0
        """Publications handed to the server."""
        self.received = 0
        """Publications received from other brains."""
        self.dropped = 0
        """Publications of this brain that others may have missed."""
        self.gaps = 0
        """How often a message of another brain was missing."""
        self.lag_s = Histogram(DURATION_S)
        """Seconds from sending a message to receiving it back."""
