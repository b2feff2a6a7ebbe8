"""The command: one kind of hostile clients after the other, or all of them at once."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from harness.processes import GENERATOR_CORE, SERVER_CORE, core_busy_s, on_core
from harness.proxies import spare_loopback
from harness.root import OUR_PATH, ROOT
from siege import honest, report
from siege.honest import Person
from siege.kinds import KINDS, PUPILS, STRANGERS
from siege.target import Target, besieged

NOBODY = "nobody"
"""The quiet time that everything else is held against."""

SAMPLE_S = 0.25
ELSEWHERE = "127.0.0.2"
"""Where hostile clients come from, unless they share the honest ones' address."""

SETTLE_S = 1.0
"""Between two kinds."""

QUIET_S = 60.0
"""At most so long is looked at what honest people notice while nobody attacks."""


async def attack(
    target: Target,
    kinds: Sequence[str],
    options: argparse.Namespace,
    newcomers: Iterator[Person],
) -> dict[str, Any]:
    """Let these kinds attack for a while; return what happened to whom."""
    seconds = options.seconds if kinds else min(options.seconds, QUIET_S)
    processes = target.processes
    before = [process.memory_kb() for process in processes]
    cpu = [process.cpu_s() for process in processes]
    errors = len(target.errors())
    began, core = time.monotonic(), core_busy_s(SERVER_CORE)
    working = asyncio.create_task(
        honest.work(
            target.honest,
            target.stack.ports.edge,
            newcomers=newcomers,
            seconds=seconds,
        )
    )
    besieging = asyncio.create_task(_besiege(target, kinds, options))
    peak = list(before)
    while not (working.done() and besieging.done()):
        await asyncio.wait({working, besieging}, timeout=SAMPLE_S)
        await asyncio.sleep(SAMPLE_S)
        peak = [max(pair) for pair in zip(peak, (p.memory_kb() for p in processes), strict=True)]
    elapsed = time.monotonic() - began
    target.stack.check()
    spent = [process.cpu_s() - first for process, first in zip(processes, cpu, strict=True)]
    return {
        "kind": " + ".join(kinds) if len(kinds) == 1 else "all at once" if kinds else NOBODY,
        "honest": honest.outline(working.result()),
        "hostile": besieging.result(),
        "memory_mb": {
            process.name: (most - first) / 1024
            for process, most, first in zip(processes, peak, before, strict=True)
        },
        "busy": {
            process.name: used / elapsed for process, used in zip(processes, spent, strict=True)
        },
        "others_busy": max(0.0, (core_busy_s(SERVER_CORE) - core - sum(spent)) / elapsed),
        "errors": target.errors()[errors:],
    }


async def _besiege(
    target: Target, kinds: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    if not kinds:
        return {"sent_mb": 0.0, "opened": 0, "outcomes": {}}
    plan = {
        "kinds": list(kinds),
        "port": target.stack.ports.edge,
        "clients": max(options.clients, len(kinds))
        if len(kinds) > 1
        else KINDS[kinds[0]].clients or options.clients,
        "seconds": options.seconds,
        "mbit_per_s": options.mbit,
        "source": "127.0.0.1" if options.same_address else ELSEWHERE,
        "people": [asdict(person) for person in target.hostile],
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "siege.hostile",
        cwd=ROOT,
        env={**os.environ, **OUR_PATH},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate(json.dumps(plan).encode())
    if child.returncode:
        raise RuntimeError("the hostile side failed; see above")
    told: dict[str, Any] = json.loads(output)
    return told


async def _run(target: Target, options: argparse.Namespace) -> list[dict[str, Any]]:
    attacks = [list(options.kinds)] if options.soak else [[name] for name in options.kinds]
    rounds, newcomers = [], itertools.cycle(target.newcomers)
    for number in range(options.rounds):
        rounds.append([])
        for done, kinds in enumerate([[], *attacks]):
            run = await attack(target, kinds, options, newcomers)
            rounds[-1].append(run)
            progress = f"{number + 1}/{options.rounds} {done}/{len(attacks)}"
            print(progress, report.line(run), file=sys.stderr, flush=True)
            await asyncio.sleep(SETTLE_S)
    return report.combined(rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the siege and return the exit code."""
    spare_loopback(os.environ)
    options = _options(arguments)
    with (
        besieged(honest=options.honest, hostile=options.clients) as target,
        on_core(GENERATOR_CORE),
    ):
        runs = uvloop.run(_run(target, options))
    missed = report.missed(
        runs,
        ping_p99_ms=options.ping_p99_ms,
        memory_mb=options.memory_mb,
        times=options.times,
        sign_in_ms=options.sign_in_ms,
    )
    print(report.table(runs))
    for sentence in missed:
        print(f"missed: {sentence}")
    if options.json:
        options.json.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    return 1 if missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m siege",
        description="Attack a stack of its own, and measure what honest people notice.",
        epilog="exit code: 0 all goals reached; 1 some missed, and which",
    )
    groups = {"strangers": STRANGERS, "pupils": PUPILS}
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(KINDS),
        metavar="KIND",
        help="strangers, pupils, or names of kinds (all); --list prints them",
    )
    parser.add_argument("--list", action="store_true", help="print the kinds and end")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind (5)")
    parser.add_argument("--soak", type=float, metavar="S", help="all kinds at once, for so long")
    parser.add_argument("--rounds", type=int, default=1, help="how often, medians are shown (1)")
    parser.add_argument("--clients", type=int, default=20, help="hostile clients at a time (20)")
    parser.add_argument("--honest", type=int, default=10, help="honest people (10)")
    parser.add_argument("--mbit", type=float, default=50.0, help="of all hostile clients (50)")
    parser.add_argument(
        "--same-address", action="store_true", help="hostile and honest share an address"
    )
    parser.add_argument("--ping-p99-ms", type=float, default=50.0, help="goal (50)")
    parser.add_argument("--memory-mb", type=float, default=20.0, help="goal for the edge (20)")
    parser.add_argument(
        "--times",
        type=float,
        default=2.0,
        help="goal for the p95 of an honest answer, as many times that of the quiet (2)",
    )
    parser.add_argument("--sign-in-ms", type=float, default=1000.0, help="goal (1000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(KINDS))
        parser.exit()
    names = [
        name
        for given in options.kinds
        for name in ([kind.name for kind in groups[given]] if given in groups else [given])
    ]
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"no kind is called {unknown[0]!r}; --list prints them")
    options.kinds = names
    options.seconds = options.soak or options.seconds
    return options


if __name__ == "__main__":
    sys.exit(main())
