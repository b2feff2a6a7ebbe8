"""What the clients of each scenario are, and what is done to them while they are loaded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.load.client import Client, Run
from tests.load.people import CannotStartError, Person
from tests.load.tally import INTERACT, PING, READ

WATCHERS_PER_LEARNER: Final = 4
"""Sockets that watch the same learner where fan-out is not what is tested: devices, a teacher, a
parent.
"""
_DELIVERIES_PER_S: Final = 2_000
_SLOW_PART: Final = 10
_DRIVER_PART: Final = 20
_SLOW_WATCHES: Final = 100
"""Learners that a slow client watches at most; a socket may watch 128."""
_PAUSE_S, _READ_S = 4.0, 1.0
_STORM_S: Final = 10.0

_MIXED: Final = (INTERACT, PING, INTERACT, PING, INTERACT, PING, INTERACT, PING, INTERACT, READ)
_WRITES: Final = (INTERACT,)

Clients = Sequence[Client]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of load."""

    meaning: str
    """For --help."""
    make: Callable[[Run, int, Sequence[Person]], list[Client]]
    disturb: Callable[[Clients, float], Coroutine[Any, Any, None]]
    """Runs beside the load, for so many seconds."""
    requests: tuple[str, ...] = _MIXED
    """What is requested in turn."""
    rate: Callable[[int, int], float] = lambda connections, learners: 2.0 * connections
    """Requests a second when none are asked for; by connections and learners."""


def drivers_of(people: Sequence[Person]) -> list[tuple[Person, str]]:
    """Return who may act for whom, learners mixed evenly. Raises CannotStartError if none."""
    pairs = {learner: person for person in reversed(people) for learner in person.drives}
    if not pairs:
        raise CannotStartError(
            "nobody here may act for a learner: take the token of a learner or an admin, or name"
            " --learner"
        )
    return [(person, learner) for learner, person in sorted(pairs.items())]


def _driving(
    run: Run, count: int, people: Sequence[Person], *, every: bool = False
) -> list[Client]:
    """Clients that each act for a learner; the first few of each learner also watch."""
    pairs = drivers_of(people)
    clients = []
    for number in range(count):
        person, learner = pairs[number % len(pairs)]
        watches = {learner: every} if number // len(pairs) < WATCHERS_PER_LEARNER else {}
        clients.append(Client(run, number, token=person.token, drives=learner, watches=watches))
    return clients


def _storming(run: Run, count: int, people: Sequence[Person]) -> list[Client]:
    return _driving(run, count, people, every=True)


def _with_slow(run: Run, count: int, people: Sequence[Person]) -> list[Client]:
    """One of ten only watches, all learners that it may, and reads now and then."""
    slow_count = max(1, count // _SLOW_PART)
    clients = _driving(run, max(1, count - slow_count), people)
    driven = {client.drives for client in clients}
    for number in range(len(clients), count):
        person = people[number % len(people)]
        watches = {learner: False for learner in person.watches if learner in driven}
        clients.append(
            Client(
                run,
                number,
                token=person.token,
                drives=None,
                watches=dict(list(watches.items())[:_SLOW_WATCHES]),
                slow=True,
            )
        )
    return clients


def _watching(run: Run, count: int, people: Sequence[Person]) -> list[Client]:
    """One of twenty acts for a learner, all others watch one of these, half of them every
    revision.
    """
    pairs = drivers_of(people)[: max(1, count // _DRIVER_PART)]
    driven = {learner for _, learner in pairs}
    clients = [
        Client(run, number, token=person.token, drives=learner, watches={learner: False})
        for number, (person, learner) in enumerate(pairs)
    ]
    views = [
        (person, learner) for person in people for learner in person.watches if learner in driven
    ]
    for number, (person, learner) in zip(
        range(len(clients), count), itertools.cycle(views), strict=False
    ):
        every = number // len(views) % 2 == 1
        clients.append(
            Client(run, number, token=person.token, drives=None, watches={learner: every})
        )
    return clients


async def _nothing(clients: Clients, seconds: float) -> None:
    """Leave the clients alone."""


async def _cut_all(clients: Clients, seconds: float) -> None:
    """Cut all sockets in the same moment, three times or every ten seconds."""
    pause_s = min(_STORM_S, seconds / 4)
    for _ in range(int(seconds / pause_s) - 1):
        await asyncio.sleep(pause_s)
        for client in clients:
            client.cut()


async def _read_seldom(clients: Clients, seconds: float) -> None:
    """Let the slow ones leave everything unread most of the time."""
    slow = [client for client in clients if client.slow]
    pause_s, read_s = min(_PAUSE_S, seconds / 3), min(_READ_S, seconds / 8)
    try:
        while True:
            for client in slow:
                client.read(False)
            await asyncio.sleep(pause_s)
            for client in slow:
                client.read(True)
            await asyncio.sleep(read_s)
    finally:
        for client in slow:
            client.read(True)


SCENARIOS: Final = {
    "steady": Scenario(
        meaning=(
            "every connection acts for a learner and pings; up to four connections watch each"
            " learner"
        ),
        make=_driving,
        disturb=_nothing,
    ),
    "storm": Scenario(
        meaning=(
            "the same, but all connections are cut at once, every ten seconds or three times, and"
            " resume"
        ),
        make=_storming,
        disturb=_cut_all,
    ),
    "slow-consumer": Scenario(
        meaning=(
            "the same, but one of ten watches all learners and reads nothing for 4 of 5 seconds"
        ),
        make=_with_slow,
        disturb=_read_seldom,
    ),
    "watchers": Scenario(
        meaning="one of twenty acts, all others watch, half of them every revision",
        make=_watching,
        disturb=_nothing,
        requests=_WRITES,
        rate=lambda connections, learners: min(
            _DELIVERIES_PER_S,
            max(1.0, _DELIVERIES_PER_S * min(learners, connections / _DRIVER_PART) / connections),
        ),
    ),
}
