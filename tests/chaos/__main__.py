"""The command line of chaos: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Sequence

from harness.postgres import NoPostgresError, tools
from harness.proxies import spare_loopback
from harness.stack import ProcessDiedError, StartTimeoutError
from tests.chaos.faults import Size, faults
from tests.chaos.plants.sitecustomize import PLANTS
from tests.chaos.run import Row, run, schedule
from tests.chaos.slow import Stretch, slow_database

DESCRIPTION = """\
Starts the four services and lets them be killed, paused, cut off, starved and restarted while
clients write and read the same learners and others watch. After each fault it accounts for
everything: what was acknowledged is stored, once, under the revision that was told; every watcher
is current and was shown what it asked for; and what all clients saw could have happened one
operation after the other (linearizability, checked per learner).

--plant puts a fault into the brain; the command then succeeds if that is found."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="repeat the schedule of an earlier run")
    parser.add_argument("--faults", type=int, metavar="N", help="so many (default: each once)")
    parser.add_argument("--only", action="append", metavar="FAULT", help="this one (repeatable)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--edges", type=int, default=1, metavar="N", help="that share one port")
    parser.add_argument("--brains", type=int, default=1, metavar="N", help="beside a Valkey")
    parser.add_argument("--plant", choices=[*PLANTS, "all"], help="show that this is found")
    parser.add_argument(
        "--slow-database", type=float, metavar="S", help="a slow database for so many seconds"
    )
    options = parser.parse_args(argv)
    spare_loopback(os.environ)
    size = Size(options.database, options.edges, options.brains)
    known = faults(size)
    if unknown := set(options.only or ()) - known.keys():
        parser.error(f"no such fault: {', '.join(unknown)}; there are: {', '.join(known)}")
    if options.database == "postgres":
        try:
            tools()
        except NoPostgresError as error:
            parser.error(str(error))
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with contextlib.suppress(KeyboardInterrupt):
        try:
            if options.plant:
                plants = PLANTS if options.plant == "all" else (options.plant,)
                return max([asyncio.run(prove(plant, seed)) for plant in plants])
            if options.slow_database:
                return asyncio.run(show_slow(options.slow_database, size))
            names = options.only or schedule(seed, size, options.faults or len(known))
            return asyncio.run(show(names, seed, size))
        except (ProcessDiedError, StartTimeoutError) as error:
            print(f"chaos: {error}", file=sys.stderr)
            return 1
    print("\ninterrupted", file=sys.stderr)
    return 130


async def show(names: Sequence[str], seed: int, size: Size) -> int:
    """Run these faults, print the table as it grows, and return 1 when a promise was broken."""
    parts = f"{size.edges} edge, {size.brains} brain, {size.database}"
    print(f"{len(names)} faults; {parts}; --seed {seed}\n", flush=True)
    print("| fault | acknowledged | stored | delivered | reads | longest | try again | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |", flush=True)
    began, wrong = time.monotonic(), 0
    async for row in run(names, seed=seed, size=size):
        wrong += bool(row.wrong)
        print(_line(row), flush=True)
        for text in row.wrong[:10]:
            print(f"  - {text}", flush=True)
    verdict = f"FAILED: {wrong} of {len(names)}" if wrong else "PASSED"
    print(f"\n{verdict}, in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


async def show_slow(seconds: float, size: Size) -> int:
    """Run on a slow database, print the table as it grows, and return 1 when something was not as
    it must be.
    """
    print(f"a slow database for {seconds:g} s; {size.database}\n", flush=True)
    print("| acknowledged a second | after (median, longest) | turned away | longest read | MB |")
    print("| ---: | ---: | ---: | ---: | --- |", flush=True)

    def show(one: Stretch) -> None:
        taken = ", ".join(f"{name} {size:.0f}" for name, size in one.megabytes.items())
        print(
            f"| {one.acknowledged / one.seconds:.0f} | {one.middle_s:.1f} s, {one.longest_s:.1f} s"
            f" | {one.turned_away} | {one.read_s:.1f} s | {taken} |",
            flush=True,
        )

    verdict = await slow_database(seconds, size, show)
    print(f"\n{verdict.told}")
    for text in verdict.wrong[:10]:
        print(f"  - {text}")
    print("FAILED" if verdict.wrong else "PASSED")
    return 1 if verdict.wrong else 0


async def prove(plant: str, seed: int) -> int:
    """Return 0 when a planted fault is found."""
    async for row in run(("brain killed",), seed=seed, plant=plant):
        if row.wrong:
            print(f"planted {plant}: found, {row.wrong[0]} (and {len(row.wrong) - 1} more)")
            return 0
    print(f"planted {plant}: NOT found")
    return 1


def _line(row: Row) -> str:
    told = ", ".join(f"{count} {code}" for code, count in row.told.most_common())
    return (
        f"| {row.fault} | {row.acknowledged} | {row.stored} | {row.delivered} | {row.reads}"
        f" | {row.longest_s:.1f} s | {told} | {'broken' if row.wrong else 'kept'} |"
    )


if __name__ == "__main__":
    sys.exit(main())
