"""Measures the durable core part by part: model, encoding, the store at several batch sizes, the
whole engine.

Run as `python -m bench.bench_engine [--json] [--rows N] [--learners N] [--folder DIR]
[--random-ids]`. Figures are microseconds per interaction: CPU of the whole process (the store's
thread included) and elapsed time. The file lies on the disk of `--folder`, commits are synced; the
store is filled with as many rows before it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path

from brain_service import model
from brain_service.bus.local import LocalBus
from brain_service.engine.engine import Applied, Engine, EngineOptions, Submission
from brain_service.engine.storage import Row
from brain_service.model import codec
from brain_service.model.bank import Bank
from brain_service.model.increments import BankIncrements
from brain_service.model.interaction import Interaction, interaction_from_context
from brain_service.store import SqlStore

BATCHES = (1, 16, 64, 256)
CONTEXT = (
    b'{"correct": true, "difficulty": 3, "subject": "maths", "skill": "sums-7", "time_taken": 4.25}'
)


def ids(*, ordered: bool) -> Iterator[str]:
    """UUIDs of version 7 made as time passes, or of version 4."""
    dice = random.Random(3)
    number = 0
    while True:
        number += 1
        low = dice.getrandbits(62) | (2 << 62)
        high = (
            ((1_700_000_000_000 + number) << 16 | 7 << 12)
            if ordered
            else dice.getrandbits(48) << 16 | 4 << 12
        )
        yield str(uuid.UUID(int=(high | dice.getrandbits(12)) << 64 | low))


def traffic(count: int) -> list[Interaction]:
    """Interactions of a class: 200 items, 12 skills."""
    dice = random.Random(7)
    return [
        interaction_from_context(
            "question_response",
            f"What is item {dice.randrange(200)}, and why?",
            {
                "correct": dice.random() < 0.65,
                "difficulty": 3,
                "subject": "maths",
                "skill": f"sums-{dice.randrange(12)}",
                "time_taken": dice.uniform(2, 40),
            },
        )
        for _ in range(count)
    ]


class Stopwatch:
    """CPU and elapsed time of a stretch, per interaction."""

    def __enter__(self) -> Stopwatch:
        """Start."""
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.cpu_s = time.process_time() - self._cpu
        self.wall_s = time.perf_counter() - self._wall

    def per(self, count: int) -> dict[str, float]:
        """Microseconds per interaction."""
        return {"cpu_us": self.cpu_s / count * 1e6, "wall_us": self.wall_s / count * 1e6}


def pure_parts(
    rows: int, learners: int
) -> tuple[list[dict[str, object]], list[tuple[bytes, bytes]]]:
    """Measure the model and the codec alone; also return what the codec wrote."""
    interactions = traffic(rows)
    states: list[model.LearnerState | None] = [None] * learners
    stage = Bank().stage()
    applied = []
    with Stopwatch() as watch:
        for n, each in enumerate(interactions):
            result = model.apply(
                states[n % learners], stage.lookup(each), each, 1_700_000_000.0 + n
            )
            stage.add(result.increments)
            states[n % learners] = result.state
            applied.append(result)
    table: list[dict[str, object]] = [{"what": "model and bank", **watch.per(rows)}]
    with Stopwatch() as watch:
        blobs = [
            (codec.encode_assessment(each.assessment), codec.encode_state(each.state))
            for each in applied
        ]
    size = sum(len(assessment) + len(state) for assessment, state in blobs) // rows
    table.append({"what": f"encode ({size} bytes a row)", **watch.per(rows)})
    return table, blobs


def log_rows(
    names: Iterator[str], blobs: list[tuple[bytes, bytes]], learners: int
) -> Iterator[Row]:
    """Rows that go on for ever, as the engine would make them."""
    n = 0
    while True:
        assessment, state = blobs[n % len(blobs)]
        yield Row(
            f"learner-{n % learners}", n % learners + 1, n // learners + 1, next(names),
                "question_response",
            "What is item 7, and why?", None, CONTEXT, 1_700_000_000_000 + n, 1_700_000_000_000 + n,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", assessment, state,
        )  # fmt: skip
        n += 1


async def store_alone(
    folder: Path, rows: int, learners: int, blobs: list[tuple[bytes, bytes]], *, ordered: bool
) -> list[dict[str, object]]:
    """Measure commits of several sizes into a log that has rows already."""
    store = await SqlStore.open(folder / "store.db")
    source = log_rows(ids(ordered=ordered), blobs, learners)
    first = [next(source)._replace(learner_key=0) for _ in range(learners)]
    keys = await store.commit(first, BankIncrements())
    by_number = [keys[row.learner_id] for row in first]
    source = (row._replace(learner_key=by_number[row.learner_key - 1]) for row in source)
    for _ in range(0, rows, 1000):
        await store.commit([next(source) for _ in range(1000)], BankIncrements())
    table: list[dict[str, object]] = []
    for size in BATCHES:
        rounds = max(20, min(rows, 12_000) // size // (4 if size == 1 else 1))
        batches = [[next(source) for _ in range(size)] for _ in range(rounds)]
        with Stopwatch() as watch:
            for batch in batches:
                await store.commit(batch, BankIncrements())
        commit_ms = watch.wall_s / rounds * 1e3
        table.append(
            {"what": f"store, batch {size}", **watch.per(size * rounds), "commit_ms": commit_ms}
        )
    await store.close()
    return table


async def whole_engine(
    folder: Path, rows: int, learners: int, *, ordered: bool
) -> list[dict[str, object]]:
    """Measure submit to answer with so many callers at once, each sending one interaction after the
    other.
    """
    table: list[dict[str, object]] = []
    for size in BATCHES:
        store = await SqlStore.open(folder / f"engine-{size}.db")
        bus = LocalBus()
        bus.subscribe(lambda publications: None)
        options = EngineOptions(max_batch=max(BATCHES), max_age_s=None)
        engine = Engine(store=store, bus=bus, options=options)
        await engine.start()
        names = ids(ordered=ordered)
        total = max(size * 20, rows // (6 if size == 1 else 1))

        def submissions(count: int, names: Iterator[str] = names) -> Iterator[Submission]:
            for n, each in enumerate(traffic(count)):
                yield Submission(
                    learner_id=f"learner-{n % learners}",
                    interaction_id=next(names),
                    interaction=each,
                    context_json=CONTEXT,
                )

        # One submit carries everything that arrived while the last one was in flight, as an edge's
        # stream does.
        async def edge(todo: Iterator[Submission], size: int, engine: Engine = engine) -> None:
            while batch := list(islice(todo, size)):
                assert all(isinstance(result, Applied) for result in await engine.submit(batch))

        # Learners and items come into memory first: what is measured is a class at work, not its
        # first minute.
        await edge(submissions(5 * learners), max(BATCHES))
        todo = iter(list(submissions(total)))
        with Stopwatch() as watch:
            await edge(todo, size)
        table.append(
            {"what": f"engine, {size} in flight", **watch.per(total), "rate": total / watch.wall_s}
        )
        await engine.stop()
        await store.close()
    return table


async def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """All measurements."""
    table, blobs = pure_parts(min(options.rows, 20_000), options.learners)
    ordered = not options.random_ids
    parts: list[Callable[[], Awaitable[list[dict[str, object]]]]] = [
        lambda: store_alone(folder, options.rows, options.learners, blobs, ordered=ordered),
        lambda: whole_engine(folder, min(options.rows, 12_000), options.learners, ordered=ordered),
    ]
    for part in parts:
        table += await part()
    return table


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--learners", type=int, default=200)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the files go for the time of the run"
    )
    parser.add_argument(
        "--random-ids", action="store_true", help="version 4 instead of time-ordered version 7"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = asyncio.run(measure(options, Path(folder)))
    if options.json:
        print(json.dumps(table))
        return
    print(f"{'':32}{'CPU µs':>10}{'elapsed µs':>12}{'commit ms':>11}{'per s':>9}")
    for line in table:
        extra = "".join(
            f"{line[name]:>{width}.{digits}f}" if name in line else " " * width
            for name, width, digits in (("commit_ms", 11, 2), ("rate", 9, 0))
        )
        print(f"{line['what']:32}{line['cpu_us']:>10.1f}{line['wall_us']:>12.1f}{extra}")


if __name__ == "__main__":
    main()
