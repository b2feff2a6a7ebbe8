"""What a stretch of load cost: rates, latencies and processor time, as named figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from harness.processes import SERVER_CORE, Process, core_busy_s

Figures = dict[str, float]
"""Figures of one run by name; the ending tells the unit (`_ms`, `_us`, `_kb`), `rate` is per
second.
"""

SATURATED: Final = 0.92
"""A generator busier than this may be what limits the figures."""

CROWDED: Final = 0.1
"""Other programs that take more than this part of the servers' core make rates say less than
processor times.
"""


class Meter:
    """Counts operations between `start` and `stop`, and the processor time they took in every
    server process.

    Operations are counted all the time and reported from `start` on, so that a warm-up costs
    nothing to write.
    """

    def __init__(
        self, processes: Sequence[Process], on_start: Callable[[], None] | None = None
    ) -> None:
        self._processes = processes
        self._on_start = on_start
        self.latencies: list[float] = []
        self.operations = 0
        self.errors = 0
        self.error_text = ""
        self._at: tuple[float, float, float, list[float], int, int] | None = None

    def done(self, latency_s: float) -> None:
        """Count one operation that took so long."""
        self.operations += 1
        self.latencies.append(latency_s)

    def failed(self, text: str) -> None:
        """Count one error and remember the first, to be told."""
        self.errors += 1
        self.error_text = self.error_text or text[:300]

    def start(self) -> None:
        """Begin the measured stretch."""
        if self._on_start is not None:
            self._on_start()
        self.latencies.clear()
        self._at = (*self._now(), self.operations, self.errors)

    def stop(self) -> Figures:
        """End it and return its figures."""
        assert self._at is not None
        wall_0, own_0, core_0, cpu_0, operations_0, errors_0 = self._at
        wall_1, own_1, core_1, cpu_1 = self._now()
        elapsed = wall_1 - wall_0
        operations = self.operations - operations_0
        spent = [after - before for before, after in zip(cpu_0, cpu_1, strict=True)]
        figures: Figures = {
            "operations": operations,
            "errors": self.errors - errors_0,
            "seconds": elapsed,
            "rate": operations / elapsed,
            "server_busy": sum(spent) / elapsed,
            "generator_busy": (own_1 - own_0) / elapsed,
            "strangers_busy": max(0.0, (core_1 - core_0 - sum(spent)) / elapsed),
        }
        if operations:
            figures["cpu_us"] = sum(spent) / operations * 1e6
            for process, seconds in zip(self._processes, spent, strict=True):
                figures[f"cpu_us.{process.name}"] = seconds / operations * 1e6
        figures.update(latency_figures(self.latencies))
        return figures

    def _now(self) -> tuple[float, float, float, list[float]]:
        cpu = [process.cpu_s() for process in self._processes]
        return time.perf_counter(), time.process_time(), core_busy_s(SERVER_CORE), cpu


def latency_figures(latencies_s: Sequence[float], prefix: str = "") -> Figures:
    """Return p50, p95, p99 and maximum in milliseconds (nearest rank); nothing for an empty
    list.
    """
    ordered = sorted(latencies_s)
    if not ordered:
        return {}
    ranks = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        f"{prefix}{name}_ms": ordered[max(0, math.ceil(rank * len(ordered)) - 1)] * 1000
        for name, rank in ranks.items()
    }
