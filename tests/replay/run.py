"""Replays a log against a running system: routes learners to sockets, watches progress, asks for
the final states.

Tests call `replay`; the command line is in `__main__`.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Sequence

from demo.users import Person
from harness.client import (
    Account,
    DisconnectedError,
    Frame,
    Socket,
    TokenSource,
    open_socket,
    uuid7,
)
from tests.replay.lane import GaveUpError, Lane, Pace, Tally
from tests.replay.log import Entry
from tests.replay.report import Report

STATE_TIMEOUT_S = 10.0
INTERRUPT_GRACE_S = 5.0
PROGRESS_S = 0.2

Progress = Callable[[Tally, int], None]
"""Called now and then with what happened so far and how many interactions there are."""


class NobodyMayError(Exception):
    """The users given may not send for some learner of the log; the message names one."""


def senders(
    http_url: str, people: Sequence[Person], entries: Sequence[Entry]
) -> dict[str, TokenSource]:
    """Return who sends for each learner: an admin for all if there is one, else each learner.
    Raises NobodyMayError.
    """
    learners = {entry.learner_id for entry in entries}
    for person in people:
        if person.role == "admin":
            admin = Account(http_url, person.email, person.password)
            return dict.fromkeys(learners, admin)
    own = {
        learner: Account(http_url, person.email, person.password)
        for person in people
        if person.role == "learner"
        for learner in person.learners
    }
    if missing := sorted(learners - own.keys()):
        raise NobodyMayError(
            f"there is no admin among the users, and nobody is learner {missing[0]}"
        )
    return {learner: own[learner] for learner in learners}


async def replay(
    entries: Sequence[Entry],
    *,
    ws_url: str,
    tokens: dict[str, TokenSource],
    sockets: int = 1,
    pace: Pace | None = None,
    patience_s: float = 60.0,
    progress: Progress | None = None,
    stop: asyncio.Event | None = None,
    grace_s: float = INTERRUPT_GRACE_S,
    tally: Tally | None = None,
) -> Report:
    """Send all entries in their order and return the report.

    With one socket the order of the whole file is that of the brain; with several, the order per
    learner. A lane per socket and sender; once `stop` is set nothing new is sent, and what was sent
    has `grace_s` to be acknowledged, sent again if need be. A given `tally` can be watched from
    outside. Raises RefusedError, or GaveUpError after `patience_s` without any progress.
    """
    tally = tally or Tally()
    stop = stop or asyncio.Event()
    offsets = (pace or Pace(None)).offsets(entries)
    started = time.monotonic()
    lanes = [
        Lane(
            url=ws_url,
            tokens=source,
            entries=share,
            offsets=offsets,
            tally=tally,
            started=started,
            patience_s=patience_s,
            stop=stop,
        )
        for source, share in _shares(entries, tokens, sockets)
    ]
    reporter = asyncio.create_task(_report(progress, tally, len(entries))) if progress else None
    try:
        await _run(lanes, stop, grace_s)
    finally:
        if reporter is not None:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
    seconds = time.monotonic() - started
    if progress:
        progress(tally, len(entries))
    states = await _states(ws_url, tokens, sorted(tally.last))
    return Report(
        interactions=len(entries),
        seconds=seconds,
        interrupted=stop.is_set(),
        tally=tally,
        states=states,
    )


def _shares(
    entries: Sequence[Entry], tokens: dict[str, TokenSource], sockets: int
) -> list[tuple[TokenSource, list[Entry]]]:
    shares: dict[tuple[int, int], tuple[TokenSource, list[Entry]]] = {}
    for entry in entries:
        source = tokens[entry.learner_id]
        key = (id(source), zlib.crc32(entry.learner_id.encode()) % sockets)
        shares.setdefault(key, (source, []))[1].append(entry)
    return list(shares.values())


async def _run(lanes: Sequence[Lane], stop: asyncio.Event, grace_s: float) -> None:
    async def all_lanes() -> None:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane.run())

    work = asyncio.create_task(all_lanes())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait((work,), timeout=grace_s)
        if work.done():
            work.result()
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    finally:
        stopping.cancel()
        work.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)


async def _report(progress: Progress, tally: Tally, total: int) -> None:
    while True:
        progress(tally, total)
        await asyncio.sleep(PROGRESS_S)


async def _states(
    ws_url: str, tokens: dict[str, TokenSource], learners: Sequence[str]
) -> dict[str, Frame]:
    """Ask for the state of each learner, over one socket per sender."""
    states: dict[str, Frame] = {}
    by_source: dict[int, list[str]] = {}
    for learner in learners:
        by_source.setdefault(id(tokens[learner]), []).append(learner)
    for group in by_source.values():
        try:
            async with await open_socket(ws_url, tokens[group[0]]) as socket:
                for learner in group:
                    states[learner] = await _state(socket, learner)
        except (DisconnectedError, TimeoutError) as error:
            raise GaveUpError(f"the final states cannot be had: {error}") from error
    return states


async def _state(socket: Socket, learner_id: str) -> Frame:
    request_id = uuid7()
    rate = float(socket.limits.get("frames_per_second") or 0)
    if rate:
        await asyncio.sleep(1 / rate)
    await socket.send({"type": "get_state", "id": request_id, "learner_id": learner_id})
    async with asyncio.timeout(STATE_TIMEOUT_S):
        while True:
            frame = await socket.receive()
            if frame.get("id") == request_id:
                break
    known = ("revision", "epoch", "state", "performance")
    return {name: frame.get(name) for name in known}
