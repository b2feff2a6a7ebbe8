"""One learner and many watchers: how long until the last of them has an update."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench.callers import checked
from bench.measure import Figures, Meter
from bench.target import LoadError, Target, close_sockets, open_socket, open_sockets, subscribe
from harness import traffic
from harness.websocket import Socket


async def fan_out(target: Target, *, watchers: int, warmup_s: float, seconds: float) -> Figures:
    """One learner, many watchers; the next interaction comes when all have the last update. An
    operation is a delivery.

    Latency is from the interaction to its arrival at the last watcher.
    """
    opened = await open_sockets(target, watchers, watchers=True)
    publisher = await open_socket(target, 0)
    try:
        await subscribe(target, opened, [0] * watchers)
        meter = Meter(target.processes, target.on_measuring)
        rounds = _Rounds(publisher, opened, traffic.Interactions(target.learner(0)), meter)
        rounds.next()
        await asyncio.sleep(warmup_s)
        meter.start()
        before = rounds.count
        await asyncio.sleep(seconds)
        figures = meter.stop()
        figures["updates_rate"] = (rounds.count - before) / figures["seconds"]
        figures["update_bytes"] = rounds.update_bytes
        if rounds.count == before:
            raise LoadError(
                f"{target.name}: no update reached all {watchers} watchers in {seconds:g} s"
            )
        return checked(target, meter, figures)
    finally:
        await close_sockets([*opened, publisher])


class _Rounds:
    """Sends an interaction, waits for an update at every watcher, and again."""

    def __init__(
        self,
        publisher: Socket,
        watchers: Sequence[Socket],
        interactions: traffic.Interactions,
        meter: Meter,
    ) -> None:
        self._publisher, self._interactions, self._meter = publisher, interactions, meter
        self._size = len(watchers)
        self._left = 0
        self._sent = 0.0
        self.count = 0
        self.update_bytes = 0
        publisher.on_text = self._on_answer
        for watcher in watchers:
            watcher.on_text = self._on_update

    def next(self) -> None:
        """Begin a round."""
        self._left = self._size
        self._sent = time.perf_counter()
        self._publisher.transport.write(self._interactions.frame(self.count))

    def _on_answer(self, payload: bytes) -> None:
        if not payload.startswith(traffic.RESPONSE):
            self._meter.failed(payload.decode())

    def _on_update(self, payload: bytes) -> None:
        if not payload.startswith(traffic.UPDATE):
            self._meter.failed(payload.decode())
            return
        self._meter.operations += 1
        self._left -= 1
        if self._left == 0:
            self._meter.latencies.append(time.perf_counter() - self._sent)
            self.update_bytes = len(payload)
            self.count += 1
            self.next()
