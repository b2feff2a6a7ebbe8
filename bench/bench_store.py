"""Measures whether an interaction costs the same however much is stored, and the room it takes.

Run as `python -m bench.bench_store [--database sqlite|postgres] [--learners N] [--deep N]
[--wait]`. A large store gets so many learners and four with so many interactions each; a small one
has a fortieth of the learners and no long history. Then groups of 64 interactions are committed
into both in turns, so the ratios (large to small) hold on a machine that does other things, too;
the first line, small to another small one, says how far apart equals are. Of nine parts of a line
the median ratio is told, and the lowest and highest. `--wait` waits for a line on standard input
before that, so that loading need not be quiet. Figures are microseconds per interaction: CPU of
this process, and on PostgreSQL of the server, too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.bench_engine import ids, pure_parts
from brain_service.engine.storage import Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SCHEMA, SqlStore
from harness.postgres import Postgres
from harness.supervisor import Spawner
from harness.traffic import contexts
from service_runtime.database.connections import Database
from service_runtime.database.schema import migrate

ACTIVE = 200
GROUP = 64
CLASS = [f"class-{n}" for n in range(ACTIVE)]
DEEP = ["deep-0", "deep-1", "deep-2", "deep-3"]
SMALLER = 40
"""How many times fewer learners the small store has."""
_TURN = 10
"""Groups between two looks at the other store."""
_PARTS = 9
"""Parts of a line, for the median, lowest and highest ratio."""
_WARM = 63
"""Groups until each of a class has twenty interactions, whose states grow no more."""
NOTHING = BankIncrements()


class Source:
    """Rows of learners who answer in turns, each where it stands."""

    def __init__(self) -> None:
        _, self._packed = pure_parts(4_000, ACTIVE)
        self._ids = ids(ordered=True)
        self._said = contexts()
        self._number = count()
        self.stands: dict[str, tuple[int, int]] = {}
        """Learner id → key and revision."""

    def row(self, learner_id: str) -> Row:
        """Return the learner's next row."""
        number = next(self._number)
        key, revision = self.stands.get(learner_id, (0, 0))
        self.stands[learner_id] = key, revision + 1
        # Each learner's own states, which grow; from the last one on it stays as large.
        place = min(revision, len(self._packed) // ACTIVE - 1) * ACTIVE + hash(learner_id) % ACTIVE
        assessment, state = self._packed[place]
        kind, content, response, context = self._said[number % len(self._said)]
        return Row(
            learner_id, key, revision + 1, next(self._ids), kind, content, response, context,
            1_700_000_000_000 + number, 1_700_000_000_004 + number,
            f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01",
            assessment, state,
        )  # fmt: skip

    def learned(self, keys: dict[str, int]) -> None:
        """Note the keys of learners that a commit made."""
        for learner_id, key in keys.items():
            self.stands[learner_id] = key, self.stands[learner_id][1]


async def commit(store: SqlStore, source: Source, learner_ids: Sequence[str]) -> None:
    """Commit the next row of each."""
    source.learned(await store.commit([source.row(each) for each in learner_ids], NOTHING))


class Cost(NamedTuple):
    """What some interactions cost, seconds."""

    cpu_s: float
    elapsed_s: float

    def __add__(self, other: object) -> Cost:
        """Add what others cost."""
        assert isinstance(other, Cost)
        return Cost(self.cpu_s + other.cpu_s, self.elapsed_s + other.elapsed_s)


class Log(NamedTuple):
    """A store, and what is written to it."""

    store: SqlStore
    source: Source

    async def commit(self, learner_ids: Sequence[str]) -> None:
        """Commit the next row of each."""
        rows = [self.source.row(each) for each in learner_ids]
        self.source.learned(await self.store.commit(rows, NOTHING))

    async def measured(
        self, turns: Iterator[str], groups: int, cpu_s: Callable[[], float], *, is_cold: bool
    ) -> Cost:
        """Commit groups of the next ones and return what they cost; cold ones are loaded first."""
        waiting = [[self.source.row(each) for each in islice(turns, GROUP)] for _ in range(groups)]
        cpu, began = cpu_s(), time.perf_counter()
        for rows in waiting:
            if is_cold:
                await self.store.load([row.learner_id for row in rows], to_write=True)
            await self.store.commit(rows, NOTHING)
        return Cost(cpu_s() - cpu, time.perf_counter() - began)

    async def fill(self, learners: int) -> None:
        """Add a class, four more, and so many learners with one interaction each."""
        await self.commit([*CLASS, *DEEP])
        for start in range(0, learners, 2000):
            await self.commit([f"l-{n}" for n in range(start, min(start + 2000, learners))])

    async def deepen(self, interactions: int) -> None:
        """Give four of them a long history."""
        for _ in range(interactions // 500):
            await self.commit([each for each in DEEP for _ in range(500)])


class Compared(NamedTuple):
    """Two logs that are written to in turns."""

    large: Log
    small: Log
    cpu_s: Callable[[], float]
    groups: int

    async def line(
        self,
        what: str,
        mine: Sequence[str],
        theirs: Sequence[str],
        *,
        is_cold: bool = False,
        is_second: bool = False,
    ) -> None:
        """Print what these cost in the large log, and how many times what those do in the small.

        Unless one is said, they are active before; cold ones are loaded, too.
        """
        sides = [(self.large, turns(mine)), (self.small, turns(theirs))]
        is_once = is_cold or is_second
        if not is_once:
            for log, active in sides:
                await log.measured(active, _WARM, self.cpu_s, is_cold=False)
        groups = len(theirs) // GROUP if is_once else self.groups
        groups = max(1, groups // _PARTS)
        parts = [await self._part(sides, groups, is_cold) for _ in range(_PARTS)]
        each = 1e6 / (groups * _PARTS * GROUP)
        cpu, elapsed = (each * sum(mine[which] for mine, _ in parts) for which in (0, 1))
        ratios = [
            _told([mine[which] / theirs[which] for mine, theirs in parts]) for which in (0, 1)
        ]
        print(f"{what:38}{cpu:8.1f}{elapsed:12.1f}{ratios[0]:>20}{ratios[1]:>20}", flush=True)

    async def _part(
        self, sides: Sequence[tuple[Log, Iterator[str]]], groups: int, is_cold: bool
    ) -> tuple[Cost, Cost]:
        """Commit so many groups into each, in turns, and return what they cost."""
        costs = [Cost(0.0, 0.0), Cost(0.0, 0.0)]
        for start in range(0, groups, _TURN):
            for side in (0, 1) if start // _TURN % 2 else (1, 0):
                log, active = sides[side]
                turn = min(_TURN, groups - start)
                costs[side] += await log.measured(active, turn, self.cpu_s, is_cold=is_cold)
        return costs[0], costs[1]


def _told(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def turns(learner_ids: Sequence[str]) -> Iterator[str]:
    """Name learners in turns, for ever."""
    while True:
        yield from learner_ids


def scattered(learners: int, count: int) -> list[str]:
    """Choose some of the learners with one interaction, the same in each run."""
    return [f"l-{n}" for n in random.Random(1).sample(range(learners), min(count, learners))]


async def measure(
    options: argparse.Namespace,
    addresses: Sequence[str],
    size: Callable[[], int],
    cpu_s: Callable[[], float],
) -> None:
    """Print all figures; the first database becomes the large one, the others stay small."""
    large, small, twin = [Log(await SqlStore.open(one), Source()) for one in addresses]
    fewer = options.learners // SMALLER
    for log in (small, twin):
        await log.fill(fewer)
    await load_large(large, options, size)
    if options.wait:
        print("loaded; waiting for a line", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    # A million noted learners are the measurement's own: none of it is to be looked for garbage.
    gc.collect()
    gc.freeze()
    print(f"{'':38}{'CPU µs':>8}{'elapsed µs':>12}{'× CPU':>20}{'× elapsed':>20}", flush=True)
    await Compared(small, twin, cpu_s, options.groups).line("small, against another", CLASS, CLASS)
    compared = Compared(large, small, cpu_s, options.groups)
    await compared.line(f"a class among {options.learners:,} learners", CLASS, CLASS)
    cold = min(options.groups * GROUP, fewer - ACTIVE)
    mine, theirs = scattered(options.learners, ACTIVE + cold), scattered(fewer, ACTIVE + cold)
    await compared.line(f"{ACTIVE} scattered among them", mine[:ACTIVE], theirs[:ACTIVE])
    await compared.line(f"four with {options.deep:,} interactions each", DEEP, DEEP)
    await compared.line(
        "learners not seen before, loaded", mine[ACTIVE:], theirs[ACTIVE:], is_cold=True
    )
    await compared.line("their second", mine[ACTIVE:], theirs[ACTIVE:], is_second=True)
    for what, after, newest in (("newest", 0, True), ("middle", options.deep // 2, False)):
        start = time.perf_counter()
        for _ in range(20):
            page = await large.store.history(
                DEEP[0], after_revision=after, limit=100, newest=newest
            )
            assert len(page) == 100
        print(f"a page of 100, {what}: {(time.perf_counter() - start) / 20 * 1e3:.1f} ms")
    for log in (large, small, twin):
        await log.store.close()


async def load_large(log: Log, options: argparse.Namespace, size: Callable[[], int]) -> None:
    """Fill the large store and print the room that its rows take."""
    began = size()
    await log.fill(options.learners)
    each = (size() - began) / (options.learners + ACTIVE)
    print(f"a learner with one interaction: {each:.0f} bytes", flush=True)
    active = turns(CLASS)
    await log.measured(active, _WARM, lambda: 0.0, is_cold=False)
    before, rows = size(), options.groups * GROUP
    await log.measured(active, options.groups, lambda: 0.0, is_cold=False)
    print(f"bytes an interaction: {(size() - before) / rows:.0f}", flush=True)
    await log.deepen(options.deep)
    size()


def main() -> None:
    """Measure on a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--learners", type=int, default=1_000_000)
    parser.add_argument("--deep", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=600)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.database == "sqlite":
            path = folder / "brain.sqlite3"
            addresses = [str(path), *(str(folder / f"{name}.sqlite3") for name in _SMALL)]
            asyncio.run(measure(options, addresses, lambda: used(path), time.process_time))
            return
        spawner = Spawner()
        server = Postgres(folder, spawner=spawner, settings=("shared_buffers=512MB",))
        server.start()
        addresses = [server.make(name) for name in ("brain", *_SMALL)]
        for address in addresses:
            database = Database.open(address)
            with database.write() as connection:
                migrate(connection, SCHEMA)
            database.close()
        try:
            asyncio.run(
                measure(
                    options,
                    addresses,
                    lambda: (server.sql("brain", "VACUUM"), int(server.sql("brain", _SIZE)))[1],
                    lambda: time.process_time() + cpu_of(server.child.pid or 0),
                )
            )
        finally:
            server.close()
            spawner.close()


_SMALL = ("small", "twin")
_SIZE = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('log', 'heads',"
    " 'learners')"
)


def used(path: Path) -> int:
    """Return the bytes of a SQLite file that are in use."""
    with sqlite3.connect(path) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    connection.close()
    return int((pages - free) * size)


def cpu_of(parent: int) -> float:
    """Return the CPU seconds of a process and its children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if parent in (int(fields[1]), int(stat.parent.name)):
            total += sum(map(int, fields[11:15])) / 100
    return total


if __name__ == "__main__":
    main()
