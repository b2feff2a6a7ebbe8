"""What was measured: counts and times of one run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict

from tests.load.histogram import Histogram

PING, INTERACT, READ = REQUESTS = ("ping", "virtual_brain_interact", "get_state")

_TICK_S = 0.02
_BUSY = 0.9
_LATE_S = 0.02
_DELIVERIES_KEPT = 50_000


class Tally:
    """Counts of one run."""

    def __init__(self) -> None:
        self.connect = Histogram()
        """From the first packet to `connection_established`, of first connections."""
        self.reconnect = Histogram()
        """From the loss of a socket, or its cutting, to the next `connection_established`."""
        self.latency = Histogram()
        """From the moment a request was due to its answer."""
        self.latency_of = {kind: Histogram() for kind in REQUESTS}
        self.deliveries = Deliveries()
        self.connected = 0
        self.failed: Counter[str] = Counter()
        """First connections that could not be made, by reason."""
        self.requested = 0
        self.sent = 0
        """Requests sent at least once."""
        self.resent = 0
        self.answered = 0
        self.updates = 0
        self.coalesced = 0
        self.held_back = 0
        """Requests that waited in the generator, so as not to exceed a limit that the server had
        told.
        """
        self.never_sent = 0
        self.errors: Counter[str] = Counter()
        """Refusals and error frames by code."""
        self.closes: Counter[str] = Counter()
        """Sockets that the server or the network closed, by code."""
        self.cuts = 0
        """Sockets that a scenario cut on purpose."""

    def in_time(self, kind: str, latency_s: float) -> None:
        """Count an answer."""
        self.answered += 1
        self.latency.record(latency_s)
        self.latency_of[kind].record(latency_s)


class Deliveries:
    """From the moment an interaction was due to the arrival of its update, unless coalesced, at
    each watcher.
    """

    def __init__(self) -> None:
        self.times = Histogram()
        self._due: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._early: OrderedDict[tuple[str, int], list[float]] = OrderedDict()

    def caused(self, learner_id: str, revision: int, due: float) -> None:
        """An answer told which revision an interaction made."""
        key = learner_id, revision
        for arrived in self._early.pop(key, ()):
            self.times.record(arrived - due)
        self._due[key] = due
        if len(self._due) > _DELIVERIES_KEPT:
            self._due.popitem(last=False)

    def arrived(self, learner_id: str, revision: int, now: float) -> None:
        """An update came; perhaps before the answer to its cause."""
        key = learner_id, revision
        due = self._due.get(key)
        if due is not None:
            self.times.record(now - due)
            return
        self._early.setdefault(key, []).append(now)
        if len(self._early) > _DELIVERIES_KEPT:
            self._early.popitem(last=False)


class SelfCheck:
    """Whether the generator itself kept up: else the figures are its own, not the server's."""

    def __init__(self) -> None:
        self.lag = Histogram()
        """How late the event loop woke up."""
        self.late = Histogram()
        """How much later than due a request was sent that nothing held back."""
        self.busy = 0.0
        """Part of one processor core that this process used."""

    async def watch(self) -> None:
        """Measure until cancelled."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            while True:
                due = time.perf_counter() + _TICK_S
                await asyncio.sleep(_TICK_S)
                self.lag.record(time.perf_counter() - due)
        finally:
            self.busy = (time.process_time() - cpu) / max(1e-9, time.perf_counter() - wall)

    @property
    def reasons(self) -> list[str]:
        """Why the figures must not be believed; empty when they may."""
        found = []
        if self.busy >= _BUSY:
            found.append(f"the generator used {self.busy:.0%} of a core")
        if (lag := self.lag.percentile(99)) >= _LATE_S:
            found.append(f"its event loop woke up {lag * 1000:.0f} ms late (P99)")
        if (late := self.late.percentile(99)) >= _LATE_S:
            found.append(f"requests were sent {late * 1000:.0f} ms after they were due (P99)")
        return found
