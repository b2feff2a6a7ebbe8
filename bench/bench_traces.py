"""Measures what tracing costs: the same stack without, sampled out, at 1 % and in full, loaded in turn.

    python -m bench.bench_traces [--rounds N] [--seconds S] [--only SCENARIO]

All stacks share the servers' core and are up at the same time; ratios are formed within each round, so that what the
machine does meanwhile cancels out. Spans go over real gRPC to a process that throws them away.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any, Final

import grpc

from bench.__main__ import run
from bench.measure import Figures
from bench.processes import ROOT
from bench.scenarios import FULL, named
from bench.targets import services

SAMPLED: Final[Mapping[str, str | None]] = {"off": None, "sampled out": "0", "1 %": "0.01", "100 %": "1"}
"""By what it is called: the part of traces recorded; None where nothing is exported at all."""

GOALS: Final = {"sampled out": 0.03, "1 %": 0.05}
"""Which part of the throughput may go, at most."""

PEOPLE: Final = 200


def sink() -> None:
    """Take spans and throw them away, until the process is ended; the port is told on standard output."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
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


def measure(scenario_names: list[str], rounds: int, seconds: float) -> None:
    """Run all rounds and print the table."""
    pace = replace(FULL, seconds=seconds, warmup_s=0.5)
    scenarios = named(scenario_names)
    with ExitStack() as up:
        port = up.enter_context(sinking())
        targets = {}
        for name, ratio in SAMPLED.items():
            contestant = up.enter_context(services(PEOPLE, name=name, env=environment(ratio, port)))
            targets[name] = up.enter_context(contestant.start())
        print("| scenario | traces recorded | throughput lost, by processor time | by rate | goal |")
        print("| --- | --- | --- | --- | --- |")
        for scenario in scenarios:
            runs: dict[str, list[Figures]] = {name: [] for name in targets}
            for number in range(rounds):
                order = list(targets) if number % 2 == 0 else list(reversed(targets))
                for name in order:
                    runs[name].append(run(scenario, targets[name], pace))
                said = ", ".join(f"{name} {runs[name][-1]['rate']:,.0f}/s" for name in targets)
                print(f"{scenario.name} {number + 1}/{rounds}: {said}", file=sys.stderr, flush=True)
            for name in targets:
                if name != "off":
                    print(_row(scenario.title, name, runs["off"], runs[name]), flush=True)


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
    parser.add_argument("--rounds", type=int, default=12, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="per run; default: %(default)s")
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="default: interact-100 and watched")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.sink:
        sink()
    else:
        measure(options.only or ["interact-100", "watched"], options.rounds, options.seconds)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the clean-up: no server stays behind
    main()
