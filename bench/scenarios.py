"""The scenarios: what is run against each server, which figure is compared, and what we
want of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bench import load
from bench.fan_out import fan_out
from bench.measure import Figures
from bench.storm import storm
from bench.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long everything takes, and how large the largest scenario is."""

    warmup_s: float
    seconds: float
    hold_s: float
    idle_sockets: int
    storm_sockets: int


FULL: Final = Pace(warmup_s=1.0, seconds=4.0, hold_s=5.0, idle_sockets=10_000, storm_sockets=5_000)
QUICK: Final = Pace(warmup_s=0.3, seconds=1.0, hold_s=1.0, idle_sockets=1_000, storm_sockets=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One comparison."""

    name: str
    title: str
    unit: str
    figure: str
    """The name of the figure that is compared."""
    lower_is_better: bool = False
    goal_ratio: float | None = None
    """How many times better than the monolith we want to be at least."""
    goal: float | None = None
    """What the figure itself should be at least (or at most, where lower is better)."""
    most_of_floor: float | None = None
    """How many times the cost of a bare loop of `send` a delivery of ours may have; None where
    nothing is sent to many.
    """
    fresh: bool = False
    """Whether each run needs servers that have not done anything yet."""
    run: Callable[[Target, Pace], Awaitable[Figures]]

    def ratio(self, reference: Figures, ours: Figures) -> float:
        """How many times better ours is."""
        over, under = (reference, ours) if self.lower_is_better else (ours, reference)
        return over[self.figure] / under[self.figure]


def _closed(
    sockets: int, *, in_flight: int = 1, ping: bool = False, subscribe: bool = False
) -> Callable[[Target, Pace], Awaitable[Figures]]:
    def run(target: Target, pace: Pace) -> Awaitable[Figures]:
        return load.closed_loop(
            target,
            sockets=sockets,
            in_flight=in_flight,
            ping=ping,
            subscribe=subscribe,
            warmup_s=pace.warmup_s,
            seconds=pace.seconds,
        )

    return run


SCENARIOS: Final = (
    Scenario(
        name="interact-1",
        title="Interactions, 1 socket, 1 in flight",
        unit="interactions/s",
        figure="rate",
        run=_closed(1),
    ),
    Scenario(
        name="interact-100",
        title="Interactions, 100 sockets, 1 in flight each",
        unit="interactions/s",
        figure="rate",
        goal_ratio=1.3,
        run=_closed(100),
    ),
    Scenario(
        name="interact-1000",
        title="Interactions, 1,000 sockets, 1 in flight each",
        unit="interactions/s",
        figure="rate",
        goal_ratio=1.3,
        run=_closed(1000),
    ),
    Scenario(
        name="pipelined",
        title="Interactions, 100 sockets, 16 in flight each",
        unit="interactions/s",
        figure="rate",
        run=_closed(100, in_flight=16),
    ),
    Scenario(
        name="watched",
        title="Interactions, 100 sockets that each watch their own learner",
        unit="interactions/s",
        figure="rate",
        run=_closed(100, subscribe=True),
    ),
    Scenario(
        name="open-loop",
        title="500 interactions/s from 1,000 sockets, interaction → response, p95",
        unit="ms",
        figure="p95_ms",
        lower_is_better=True,
        goal=5.0,
        run=lambda target, pace: load.open_loop(
            target,
            sockets=1000,
            rate=500.0,
            subscribe=False,
            warmup_s=pace.warmup_s,
            seconds=2 * pace.seconds,
        ),
    ),
    Scenario(
        name="ping",
        title="Ping → pong, 100 sockets, 1 in flight each",
        unit="pings/s",
        figure="rate",
        goal_ratio=2.5,
        run=_closed(100, ping=True),
    ),
    Scenario(
        name="fan-out",
        title="Fan-out of one learner to 1,000 watchers",
        unit="deliveries/s",
        figure="rate",
        goal_ratio=3.3,
        most_of_floor=1.5,
        run=lambda target, pace: fan_out(
            target, watchers=1000, warmup_s=pace.warmup_s, seconds=pace.seconds
        ),
    ),
    Scenario(
        name="connect",
        title="Connect, authenticate, leave; 32 at once",
        unit="connections/s",
        figure="rate",
        run=lambda target, pace: load.connections(
            target, at_once=32, warmup_s=pace.warmup_s, seconds=pace.seconds
        ),
    ),
    Scenario(
        name="storm",
        title="All sockets cut at once, until the last is back and current",
        unit="s",
        figure="back_s",
        lower_is_better=True,
        goal=10.0,
        run=lambda target, pace: storm(target, sockets=pace.storm_sockets),
    ),
    Scenario(
        name="idle",
        title="Memory per idle authenticated connection, all held",
        unit="KiB",
        figure="memory_kb",
        lower_is_better=True,
        goal=6.0,
        fresh=True,
        run=lambda target, pace: load.idle(target, sockets=pace.idle_sockets, hold_s=pace.hold_s),
    ),
)


def named(names: list[str]) -> tuple[Scenario, ...]:
    """Return the scenarios with these names in their usual order, or all. Raises KeyError with a
    name nobody has.
    """
    known = {scenario.name for scenario in SCENARIOS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(scenario for scenario in SCENARIOS if not names or scenario.name in names)
