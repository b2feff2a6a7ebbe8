"""Measures whether an interaction costs the same however much is stored, and the room it takes.

Run as `python -m bench.bench_store [--database sqlite|postgres] [--learners N] [--deep N]`. Groups
of 64 interactions of 200 learners are committed into an empty log, into one of so many learners
(the 200 lie scattered among them), and into the log of learners with so many interactions each.
Figures are microseconds per interaction: CPU of this process, and on PostgreSQL of the server, too.
The last two columns compare them with a small log, which is written to in turns meanwhile: these
hold on a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from bench.bench_engine import ids, pure_parts
from brain_service.engine.journal import Row
from brain_service.model.increments import BankIncrements
from brain_service.store import SCHEMA, SqlStore
from harness.postgres import Postgres
from harness.supervisor import Spawner
from harness.traffic import contexts
from service_runtime.database.connections import Database
from service_runtime.database.schema import migrate

ACTIVE = 200
GROUP = 64
_TURN = 10
"""Groups between two looks at the small log."""
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


async def measured(
    store: SqlStore, source: Source, active: Sequence[str], groups: int, cpu_s: Callable[[], float]
) -> Cost:
    """Commit groups of active learners and return what they cost."""
    chosen = turns(active)
    waiting = [[source.row(each) for each in islice(chosen, GROUP)] for _ in range(groups)]
    cpu, began = cpu_s(), time.perf_counter()
    for rows in waiting:
        await store.commit(rows, NOTHING)
    return Cost(cpu_s() - cpu, time.perf_counter() - began)


def turns(learner_ids: Sequence[str]) -> Iterator[str]:
    """Name learners in turns, for ever."""
    while True:
        yield from learner_ids


async def measure(
    options: argparse.Namespace,
    addresses: Sequence[str],
    size: Callable[[], int],
    cpu_s: Callable[[], float],
) -> None:
    """Print all figures of the first of two databases; the second one stays small."""
    store, small = [await SqlStore.open(address) for address in addresses]
    source, beside = Source(), Source()
    class_ = [f"first-{n}" for n in range(ACTIVE)]
    await commit(store, source, class_)
    await commit(small, beside, class_)
    print(f"{'':44}{'CPU µs':>8}{'elapsed µs':>12}{'× CPU':>8}{'× elapsed':>11}", flush=True)

    async def line(what: str, active: Sequence[str]) -> None:
        await measured(store, source, active, 20, cpu_s)
        mine = theirs = Cost(0.0, 0.0)
        for _ in range(max(1, options.groups // _TURN)):
            theirs += await measured(small, beside, class_, _TURN, cpu_s)
            mine += await measured(store, source, active, _TURN, cpu_s)
        each = 1e6 / (max(1, options.groups // _TURN) * _TURN * GROUP)
        ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
        print(
            f"{what:44}{mine.cpu_s * each:8.1f}{mine.elapsed_s * each:12.1f}"
            f"{ratios[0]:8.2f}{ratios[1]:11.2f}",
            flush=True,
        )

    await line("the first", class_)
    before, rows = size(), options.groups * GROUP
    await measured(store, source, class_, options.groups, cpu_s)
    print(f"bytes an interaction: {(size() - before) / rows:.0f}", flush=True)
    began = size()
    for start in range(0, options.learners, 2000):
        await commit(store, source, [f"l-{n}" for n in range(start, start + 2000)])
    print(
        f"a learner with one interaction: {(size() - began) / options.learners:.0f} bytes",
        flush=True,
    )
    await line(f"the same class among {options.learners:,} learners", class_)
    scattered = random.Random(1).sample(range(options.learners), ACTIVE)
    await line(f"{ACTIVE} scattered among {options.learners:,}", [f"l-{n}" for n in scattered])
    deep = [f"first-{n}" for n in range(4)]
    for _ in range(options.deep // 500):
        await commit(store, source, [each for each in deep for _ in range(500)])
    await line(f"the same class, four with {options.deep:,} each", class_)
    for what, after, newest in (("newest", 0, True), ("middle", options.deep // 2, False)):
        start = time.perf_counter()
        for _ in range(20):
            page = await store.history(deep[0], after_revision=after, limit=100, newest=newest)
            assert len(page) == 100
        print(f"a page of 100, {what}: {(time.perf_counter() - start) / 20 * 1e3:.1f} ms")
    await store.close()
    await small.close()


def main() -> None:
    """Measure on a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--learners", type=int, default=1_000_000)
    parser.add_argument("--deep", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=150)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.database == "sqlite":
            path = folder / "brain.sqlite3"
            addresses = [str(path), str(folder / "small.sqlite3")]
            asyncio.run(measure(options, addresses, lambda: used(path), time.process_time))
            return
        spawner = Spawner()
        server = Postgres(folder, spawner=spawner, settings=("shared_buffers=512MB",))
        server.start()
        addresses = [server.make("brain"), server.make("small")]
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
