"""Measures what tracing costs: the same stack without, again without, sampled out, at 1 % and in
full, loaded in turn.

    python -m bench.bench_traces [--rounds N] [--seconds S] [--blocks N] [--only SCENARIO]

All stacks share the servers' core and are up at the same time. In each round every stack has one
short turn, in random order, and pays for all processor time that it takes until the next round:
spans, records and reports go out later than the interactions that they tell of. Ratios are formed
within a round, so that what the machine does meanwhile cancels out. Twins are never quite equal,
because memory lies differently in each process: each block starts all of them anew, and the second
stack without traces shows how far apart equals are. Spans go over real gRPC to a process that
throws them away.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any, Final, NamedTuple

import grpc
import uvloop

from bench.load import repeated_loop
from bench.scenarios import named
from bench.target import Target
from bench.targets import services
from harness.processes import GENERATOR_CORE, on_core
from harness.root import ROOT

OFF: Final = "off"
CONTROL: Final = "off, a twin"
FULL: Final = "100 %"

SAMPLED: Final[Mapping[str, str | None]] = {
    OFF: None,
    CONTROL: None,
    "sampled out": "0",
    "1 %": "0.01",
    FULL: "1",
}
"""By what it is called: the part of traces recorded; None where nothing is exported at all."""

GOALS: Final = {"sampled out": 0.03, "1 %": 0.05}
"""Which part of the throughput may go, at most."""

FULL_EVERY: Final = 5
"""Recording everything costs so much that few turns tell it; the others are for what is hard to
tell.
"""

SOCKETS: Final = 100
RESAMPLES: Final = 2_000

PEOPLE: Final = 200

TITLES: Final = {scenario.name: scenario.title for scenario in named(["interact-100", "watched"])}


def sink() -> None:
    """Take spans and throw them away, until the process is ended; the port is told on standard
    output.
    """
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server = grpc.server(ThreadPoolExecutor(2))
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
    )
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def sinking() -> Iterator[int]:
    """Run a sink in a process of its own and yield its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.bench_traces", "--sink"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def environment(ratio: str | None, port: int) -> dict[str, str]:
    """Return what makes a stack record this part of its traces."""
    if ratio is None:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
        # Spans of a turn leave within its round, not whenever five seconds are over. That costs a
        # little more.
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
    }


class Turn(NamedTuple):
    """What one stack did and took in one round."""

    cpu_us: float
    """Processor time of all its processes for one interaction."""
    rate: float
    """Interactions a second."""


Rounds = list[dict[str, Turn]]
"""The turns of each round by the stack's name."""


def measure(names: list[str], blocks: int, rounds: int, seconds: float) -> None:
    """Measure and print the table."""
    found: dict[str, Rounds] = {scenario: [] for scenario in names}
    gc.disable()  # the generator's own pauses must not look like the servers'
    with ExitStack() as made:
        port = made.enter_context(sinking())
        contestants = {
            name: made.enter_context(services(PEOPLE, name=name, env=environment(ratio, port)))
            for name, ratio in SAMPLED.items()
        }
        for block in range(blocks):
            share = rounds // blocks + (block < rounds % blocks)
            with ExitStack() as up:
                targets = {name: up.enter_context(one.start()) for name, one in contestants.items()}
                up.enter_context(on_core(GENERATOR_CORE))
                gc.collect()
                gc.freeze()
                for scenario in names:
                    chance = random.Random(f"{scenario} {block}")
                    found[scenario] += uvloop.run(
                        _rounds(targets, share, seconds, scenario, chance)
                    )
                    print(
                        f"block {block + 1} of {blocks}: {scenario} done",
                        file=sys.stderr,
                        flush=True,
                    )
    print("| scenario | traces recorded | throughput lost, by processor time | by rate | goal |")
    print("| --- | --- | --- | --- | --- |")
    for scenario, turns in found.items():
        for name in list(SAMPLED)[1:]:
            print(_row(TITLES[scenario], name, turns), flush=True)


async def _rounds(
    targets: Mapping[str, Target], rounds: int, seconds: float, scenario: str, chance: random.Random
) -> Rounds:
    """Load the stacks in short turns, in random order: whoever comes after itself finds the caches
    warm.
    """
    found: Rounds = []
    async with contextlib.AsyncExitStack() as opened:
        loops = {
            name: await opened.enter_async_context(
                repeated_loop(target, sockets=SOCKETS, subscribe=scenario == "watched")
            )
            for name, target in targets.items()
        }
        for loop in loops.values():
            await loop(0.5, seconds)  # what a server does for the first time is not compared
        for number in range(rounds):
            order = [name for name in loops if name != FULL or number % FULL_EVERY == 0]
            before = {name: _cpu_s(targets[name]) for name in order}
            figures = {
                name: await loops[name](0.0, seconds) for name in chance.sample(order, len(order))
            }
            found.append({})
            for name in order:
                # Each socket has one interaction under way when the turn ends; those are answered,
                # and paid for, too.
                operations = figures[name]["operations"] + SOCKETS
                spent_us = (_cpu_s(targets[name]) - before[name]) * 1e6
                found[-1][name] = Turn(spent_us / operations, figures[name]["rate"])
    return found


def _cpu_s(target: Target) -> float:
    return sum(process.cpu_s() for process in target.processes)


def _row(title: str, name: str, rounds: Rounds) -> str:
    """Return a line of the table.

    What a saturated core gets done is one divided by what each operation takes of it. Processor
    times say that better than rates do where other programs use the core too.
    """
    pairs = [(turns[OFF], turns[name]) for turns in rounds if name in turns]
    lost = interval([1 - before.cpu_us / after.cpu_us for before, after in pairs])
    slower = interval([1 - after.rate / before.rate for before, after in pairs])
    goal = GOALS.get(name)
    verdict = "–" if goal is None else f"{judged(lost, goal)} (< {goal:.0%})"
    return f"| {title} | {name} | {_shown(lost)} | {_shown(slower)} | {verdict} |"


class Interval(NamedTuple):
    """A median, and between what it lies with 95 % confidence."""

    median: float
    low: float
    high: float


def interval(parts: Sequence[float]) -> Interval:
    """Return the median with its confidence interval, by the percentile bootstrap (Efron)."""
    chance = random.Random(1000)
    medians = sorted(median(chance.choices(parts, k=len(parts))) for _ in range(RESAMPLES))
    return Interval(median(parts), medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)])


def judged(lost: Interval, goal: float) -> str:
    if lost.high < goal:
        return "yes"
    return "NO" if lost.low >= goal else "not certain"


def _shown(one: Interval) -> str:
    return f"{one.median:.1%} ({one.low:.1%} … {one.high:.1%})"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.bench_traces", description="Measures what tracing costs."
    )
    parser.add_argument(
        "--rounds", type=int, default=75, metavar="N", help="in all; default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.35, metavar="S", help="per turn; default: %(default)s"
    )
    parser.add_argument(
        "--blocks",
        type=int,
        default=3,
        metavar="N",
        help="of fresh processes; default: %(default)s",
    )
    parser.add_argument("--only", action="append", choices=TITLES, help="default: all of these")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.sink:
        sink()
    else:
        measure(options.only or list(TITLES), options.blocks, options.rounds, options.seconds)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # by way of the clean-up: no server stays behind
    main()
