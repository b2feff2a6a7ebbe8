"""The command `python -m siege.prices`: what everything with a price costs the services in time of
processors, one at a time and in a flood, beside what it is priced at (`edge/admission/prices.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import uvloop

from edge.admission import prices
from harness.processes import GENERATOR_CORE, on_core
from harness.traffic import Interactions
from harness.websocket import Socket, log_in, text_frame
from siege.honest import Person
from siege.target import HISTORY, Target, besieged

UNLIMITED = {
    "EDGE_FRAMES_PER_S": "0",
    "EDGE_USER_UNITS_PER_S": "0",
    "EDGE_ADDRESS_REQUESTS_PER_S": "0",
    "EDGE_ADDRESS_FAILURES_PER_S": "0",
}
"""Who measures what things cost must be allowed to ask for them."""

AT_ONCE = 16
"""Unanswered frames in a flood."""

_NOWHERE = "/api/nothing"

Ask = Callable[[int], bytes]
"""The nth frame, whose answer has its number as id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that has a price."""

    name: str
    ask: Ask
    price: float
    """In units, for one of them."""
    is_request: bool = False
    count: int = 300
    """How many are measured."""


def _frame(kind: str, **fields: object) -> Ask:
    def ask(number: int) -> bytes:
        return text_frame(json.dumps({"type": kind, "id": str(number)} | fields).encode())

    return ask


def _request(path: str, person: Person) -> Ask:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n\r\n"
    return lambda number: head.encode()


def _of_frame(kind: str, size: int = 100) -> float:
    more = prices.MORE_THAN_A_FRAME.get(kind, 0.0)
    return prices.FRAME + more + size * prices.PER_BYTE


def rows(person: Person) -> list[Row]:
    """Return everything that is measured, asked for by this person."""
    me, path = person.learner_id, f"/api/learners/{person.learner_id}"
    room = f"learner:{me}"
    interactions = Interactions(me)
    joined = _frame("join_room", room_id=room)
    left = _frame("leave_room", room_id=room)
    return [
        Row(name="ping", ask=_frame("ping"), price=_of_frame("ping"), count=2_000),
        Row(
            name="get_state",
            ask=_frame("get_state", learner_id=me),
            price=_of_frame("get_state"),
        ),
        Row(
            name="get_state, of a stranger",
            ask=lambda number: _frame("get_state", learner_id=f"nobody-{number}")(number),
            price=_of_frame("get_state"),
        ),
        Row(
            name="virtual_brain_interact",
            ask=interactions.frame,
            price=_of_frame("virtual_brain_interact", 400),
        ),
        Row(
            name="adapt_content, 5 KB",
            ask=_frame(
                "adapt_content",
                data={"learner_id": me, "content": "Long words. " * 430, "content_type": "text"},
            ),
            price=_of_frame("adapt_content", 5_200),
        ),
        Row(
            name="join_room, one's own, and leave_room",
            ask=lambda number: (left if number % 2 else joined)(number),
            price=(_of_frame("join_room") + _of_frame("leave_room")) / 2,
        ),
        Row(
            name="join_room, unknown",
            ask=lambda number: _frame("join_room", room_id=f"class:nobody-{number}")(number),
            price=_of_frame("join_room"),
        ),
        Row(
            name="subscribe_learner, of a stranger",
            ask=lambda number: _frame("subscribe_learner", learner_id=f"nobody-{number}")(number),
            price=_of_frame("subscribe_learner"),
        ),
        Row(
            name="authenticate, forged",
            ask=_frame("authenticate", token="a.b.c"),  # noqa: S106 - forged
            price=_of_frame("authenticate"),
            count=8,
        ),
        *(
            Row(
                name=f"GET {path_.replace(me, '…')}",
                ask=_request(path_, person),
                price=(prices.OF_KNOWN + prices.REQUEST * (path_ != _NOWHERE))
                + prices.PER_ENTRY * entries,
                is_request=True,
                count=300 if entries < HISTORY else 40,
            )
            for path_, entries in (
                ("/api/me", 0),
                (_NOWHERE, 0),
                ("/api/learners", 0),
                (f"{path}/state", 0),
                (f"{path}/history?limit=10", 10),
                (f"{path}/history?limit=100", 100),
                (f"{path}/history?limit=1000", HISTORY),
            )
        ),
    ]


async def _flood(port: int, person: Person, row: Row, at_once: int) -> None:
    """Ask for all of a row, with so many unanswered."""
    free, left, done = asyncio.Semaphore(at_once), row.count, asyncio.Event()

    def hear(payload: bytes) -> None:
        nonlocal left
        if b'"id":"' in payload:
            left -= 1
            free.release()
            if not left:
                done.set()

    def lost(_: Socket) -> None:
        raise RuntimeError(f"{row.name}: the socket ended")

    socket, _ = await log_in("127.0.0.1", port, person.token, hear, timeout_s=30.0)
    socket.on_lost = lost
    for number in range(row.count):
        await free.acquire()
        socket.transport.write(row.ask(number))
    async with asyncio.timeout(60.0):
        await done.wait()
    socket.on_lost = None
    socket.transport.abort()


async def _requests(port: int, person: Person, row: Row, at_once: int) -> None:
    """The same of requests, on so many connections."""
    number = iter(range(row.count))

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        for one in number:
            writer.write(row.ask(one))
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(ask())


async def measured(target: Target, row: Row, at_once: int, idle: float) -> float:
    """Return the microseconds that one of these costs all services together."""
    port, person = target.stack.ports.edge, target.hostile[0]
    began, before = time.monotonic(), sum(process.cpu_s() for process in target.processes)
    if row.is_request:
        await _requests(port, person, row, min(at_once, 4))
    else:
        await _flood(port, person, row, at_once)
    spent = sum(process.cpu_s() for process in target.processes) - before
    return (spent - idle * (time.monotonic() - began)) / row.count * 1e6


async def _idle(target: Target) -> float:
    """Return the share of a core that the services take when nobody asks for anything."""
    before = sum(process.cpu_s() for process in target.processes)
    await asyncio.sleep(2.0)
    return (sum(process.cpu_s() for process in target.processes) - before) / 2.0


async def _run(target: Target, options: argparse.Namespace) -> None:
    idle = await _idle(target)
    print("| what | price | µs one by one | µs in a flood | µs a unit | in a flood |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows(target.hostile[0]):
        if options.only and not any(name in row.name for name in options.only):
            continue
        costs = []
        for at_once in (1, AT_ONCE):
            found = [await measured(target, row, at_once, idle) for _ in range(options.rounds)]
            costs.append(median(found))
        alone, flooded = costs
        figures = (row.price, alone, flooded, alone / row.price, flooded / row.price)
        print(f"| {row.name} | {' | '.join(f'{one:.0f}' for one in figures)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m siege.prices", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many (1)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="rows whose name has such a word")
    options = parser.parse_args(arguments)
    with (
        besieged(honest=0, hostile=1, newcomers=0, env=UNLIMITED) as target,
        on_core(GENERATOR_CORE),
    ):
        uvloop.run(_run(target, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
