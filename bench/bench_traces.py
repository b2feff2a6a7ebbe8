"""Measures what tracing costs: the same stack without, sampled out, at 1 % and in full, loaded in turn.

    python -m bench.bench_traces [--rounds N] [--seconds S] [--only SCENARIO]

All stacks share the servers' core and are up at the same time, loaded in turns of less than a second; ratios are formed
within each round, so that what the machine does meanwhile cancels out. Spans go over real gRPC to a process that
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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

import grpc
import uvloop

from bench.load import Target, repeated_loop
from bench.measure import Figures
from bench.processes import GENERATOR_CORE, ROOT, on_core
from bench.scenarios import named
from bench.targets import services

SAMPLED: Final[Mapping[str, str | None]] = {"off": None, "sampled out": "0", "1 %": "0.01", "100 %": "1"}
"""By what it is called: the part of traces recorded; None where nothing is exported at all."""

GOALS: Final = {"sampled out": 0.03, "1 %": 0.05}
"""Which part of the throughput may go, at most."""

PEOPLE: Final = 200

TITLES: Final = {scenario.name: scenario.title for scenario in named(["interact-100", "watched"])}


def sink() -> None:
    """Take spans and throw them away, until the process is ended; the port is told on standard output."""
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server = grpc.server(ThreadPoolExecutor(2))
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def sinking() -> Iterator[int]:
    """Run a sink in a process of its own and yield its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.bench_traces", "--sink"], stdout=subprocess.PIPE, cwd=ROOT, text=True
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
    }


def measure(names: list[str], rounds: int, seconds: float) -> None:
    """Measure and print the table."""
    with ExitStack() as up:
        port = up.enter_context(sinking())
        targets = {}
        for name, ratio in SAMPLED.items():
            contestant = up.enter_context(services(PEOPLE, name=name, env=environment(ratio, port)))
            targets[name] = up.enter_context(contestant.start())
        print("| scenario | traces recorded | throughput lost, by processor time | by rate | goal |")
        print("| --- | --- | --- | --- | --- |")
        gc.collect()
        gc.freeze()  # the generator's own pauses must not look like the servers'
        gc.disable()
        with on_core(GENERATOR_CORE):
            for scenario in names:
                runs = uvloop.run(_rounds(targets, rounds, seconds, subscribe=scenario == "watched"))
                for name in list(targets)[1:]:
                    print(_row(TITLES[scenario], name, runs["off"], runs[name]), flush=True)


async def _rounds(
    targets: Mapping[str, Target], rounds: int, seconds: float, *, subscribe: bool
) -> dict[str, list[Figures]]:
    """Load the stacks in short turns, in random order: whoever comes after itself finds the caches warm."""
    chance = random.Random(1000)
    runs: dict[str, list[Figures]] = {name: [] for name in targets}
    async with contextlib.AsyncExitStack() as opened:
        loops = {
            name: await opened.enter_async_context(repeated_loop(target, sockets=100, subscribe=subscribe))
            for name, target in targets.items()
        }
        for loop in loops.values():
            await loop(1.0, seconds)  # what a server does for the first time is not compared
        for number in range(rounds):
            for name in chance.sample(list(loops), len(loops)):
                runs[name].append(await loops[name](0.1, seconds))
            if number % 10 == 9:
                said = ", ".join(f"{name} {runs[name][-1]['cpu_us']:,.0f} µs" for name in targets)
                print(f"{number + 1}/{rounds}: {said}", file=sys.stderr, flush=True)
    return runs


def _row(title: str, name: str, off: list[Figures], on: list[Figures]) -> str:
    """Return a line of the table.

    What a saturated core gets done is one divided by what each operation takes of it. Processor times say that better
    than rates do where other programs use the core too.
    """
    lost = [1 - before["cpu_us"] / after["cpu_us"] for before, after in zip(off, on, strict=True)]
    slower = [1 - after["rate"] / before["rate"] for before, after in zip(off, on, strict=True)]
    goal = GOALS.get(name)
    verdict = "–" if goal is None else f"{'yes' if median(lost) < goal else 'NO'} (< {goal:.0%})"
    return f"| {title} | {name} | {_spread(lost)} | {_spread(slower)} | {verdict} |"


def _spread(parts: list[float]) -> str:
    ordered = sorted(parts)
    quarter = len(ordered) // 4
    return f"{median(parts):.1%} ({ordered[quarter]:.1%} … {ordered[-1 - quarter]:.1%})"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_traces", description="Measures what tracing costs.")
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.4, metavar="S", help="per run; default: %(default)s")
    parser.add_argument("--only", action="append", choices=TITLES, help="default: all of these")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.sink:
        sink()
    else:
        measure(options.only or list(TITLES), options.rounds, options.seconds)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the clean-up: no server stays behind
    main()
