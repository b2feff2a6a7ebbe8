"""A process's counters: plain arrays for hot paths, and named values."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

DURATION_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bucket bounds for durations, seconds."""

SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Bucket bounds for how many of something went together."""


class Exemplar(NamedTuple):
    """One observation whose trace can be looked at."""

    trace_id: str
    value: float
    at_s: float
    """Unix seconds."""


class Histogram:
    """Counts values in fixed buckets: about 0.2 µs an observation."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Start empty; `bounds` are the buckets' upper limits, inclusive, and one more bucket takes
        the rest.
        """
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By bucket, the newest observation that has a trace."""

    def observe(self, value: float, trace_id: str = "") -> None:
        """Count one value; give the `trace_id` of what caused it only when that trace is
        sampled.
        """
        index = bisect_left(self.bounds, value)
        self.counts[index] += 1
        self.sum += value
        if trace_id:
            self.exemplars[index] = Exemplar(trace_id, value, time.time())


class Buckets(NamedTuple):
    """A histogram's present values."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """Per bucket, not cumulative; one more than `bounds`."""
    sum: float
    exemplars: Mapping[int, Exemplar]


Value = float | Buckets
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric, or one per combination of labels. Labels come from small closed sets and never
    name a person.
    """

    kind: Literal["gauge", "counter", "histogram"]
    name: str
    """In Prometheus' conventions: base units; a counter's without `_total`."""
    meaning: str
    labels: Labels
    values: Mapping[Labels, Value]


def gauge(name: str, meaning: str, value: float | Mapping[Labels, float], *labels: str) -> Family:
    """Name something that goes up and down: a number, or numbers by the values of `labels`."""
    return Family(kind="gauge", name=name, meaning=meaning, labels=labels, values=_by_labels(value))


def counter(name: str, meaning: str, value: float | Mapping[Labels, float], *labels: str) -> Family:
    """Name something that only grows: a number, or numbers by the values of `labels`."""
    return Family(
        kind="counter", name=name, meaning=meaning, labels=labels, values=_by_labels(value)
    )


def histogram(
    name: str, meaning: str, value: Histogram | Mapping[Labels, Histogram], *labels: str
) -> Family:
    """Name a distribution, or several by the values of `labels`, as they are now."""
    values = value if isinstance(value, Mapping) else {(): value}
    now: dict[Labels, Value] = {
        key: Buckets(one.bounds, tuple(one.counts), one.sum, dict(one.exemplars))
        for key, one in values.items()
    }
    return Family(kind="histogram", name=name, meaning=meaning, labels=labels, values=now)


def in_seconds(milliseconds: Family) -> Family:
    """Return the same histogram in the base unit, under the name that the conventions ask for."""
    return Family(
        kind="histogram",
        name=f"{milliseconds.name.removesuffix('_ms')}_seconds",
        meaning=milliseconds.meaning.replace("Milliseconds", "Seconds"),
        labels=milliseconds.labels,
        values={
            key: Buckets(
                bounds=tuple(bound / 1000 for bound in one.bounds),
                counts=one.counts,
                sum=one.sum / 1000,
                exemplars={
                    index: exemplar._replace(value=exemplar.value / 1000)
                    for index, exemplar in one.exemplars.items()
                },
            )
            for key, one in milliseconds.values.items()
            if isinstance(one, Buckets)
        },
    )


def _by_labels(value: float | Mapping[Labels, float]) -> dict[Labels, Value]:
    return dict(value.items()) if isinstance(value, Mapping) else {(): value}
