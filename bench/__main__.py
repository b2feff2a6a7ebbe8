"""Runs the comparison and prints it: `python -m bench`; `python -m bench profile …` looks into one
process instead.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvloop

from bench import profiling, report, targets
from bench.measure import Figures
from bench.report import Comparison
from bench.scenarios import FULL, QUICK, SCENARIOS, Pace, Scenario, named
from bench.target import LoadError, Target
from bench.targets import Contestant
from harness.processes import GENERATOR_CORE, allow_sockets, on_core
from harness.proxies import spare_loopback
from harness.stack import ProcessDiedError, StartTimeoutError

PEOPLE, PEOPLE_QUICK = 1000, 200

SERVERS: dict[str, Callable[[int], AbstractContextManager[Contestant]]] = {
    "monolith": targets.monolith,
    "services": targets.services,
    "postgres": partial(targets.services, name="postgres", database="postgres"),
    "one-each": partial(targets.services, name="one-each", one_core=False),
    "two-each": partial(targets.services, name="two-each", each=2, one_core=False),
}
COMPARED = ("monolith", "services")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    spare_loopback(os.environ)
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    pace = _pace(options)
    try:
        if options.command == "profile":
            return _profile(options, pace)
        return _compare(options, pace, shlex.join(["python", "-m", "bench", *given]))
    except (LoadError, ProcessDiedError, StartTimeoutError, profiling.ProfilingError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    scenarios = "\n".join(f"  {scenario.name:14} {scenario.title}" for scenario in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=(
            "Compares our services with a monolith, side by side on this machine and loopback only."
        ),
        epilog=f"scenarios:\n{scenarios}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_common(parser)
    parser.add_argument(
        "--only", action="append", default=[], metavar="SCENARIO", help="run this one (repeatable)"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds per scenario (default: 3, quick: 1)"
    )
    parser.add_argument(
        "--server",
        action="append",
        choices=SERVERS,
        help=(
            "measure this one (repeatable, the first is the reference; else monolith and services)."
            " postgres: services whose database has the generator's core; one-each, two-each: one"
            " or two edges and brains on all cores"
        ),
    )
    parser.add_argument(
        "--bare",
        action="store_true",
        help="the monolith sends no more than the original guide's fields",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure of every run there"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="replace the generated part of this document"
    )
    commands = parser.add_subparsers(dest="command")
    profile = commands.add_parser(
        "profile", help="tell where one process spends its time under load"
    )
    profile.add_argument("process", choices=["monolith", "edge", "brain", "auth", "metrics"])
    profile.add_argument("--scenario", default="interact-100", help="default: %(default)s")
    profile.add_argument(
        "--output", type=Path, metavar="FILE", help="also keep the stacks there, for flame graphs"
    )
    profile.add_argument(
        "--top", type=int, default=40, metavar="N", help="lines per table (default: %(default)s)"
    )
    profile.add_argument("--native", action="store_true", help="see into C extensions too (slower)")
    profile.add_argument(
        "--waiting", action="store_true", help="count threads in C or asleep too, such as a commit"
    )
    _add_common(profile, default=argparse.SUPPRESS)
    return parser


def _add_common(parser: argparse.ArgumentParser, default: object = None) -> None:
    quick = False if default is None else default
    parser.add_argument(
        "--quick", action="store_true", default=quick, help="short and small: for trying things out"
    )
    parser.add_argument(
        "--seconds", type=float, default=default, help="measured per run (default: 4, quick: 1)"
    )


def _pace(options: argparse.Namespace) -> Pace:
    pace = QUICK if options.quick else FULL
    if options.seconds is None:
        return pace
    return replace(pace, seconds=options.seconds, warmup_s=min(pace.warmup_s, options.seconds))


def _compare(options: argparse.Namespace, pace: Pace, command: str) -> int:
    try:
        scenarios = named(options.only)
    except KeyError as error:
        print(f"bench: there is no scenario {error}; --help lists them", file=sys.stderr)
        return 2
    rounds = options.rounds or (1 if options.quick else 3)
    comparisons, failures = [], []
    allowed = allow_sockets(max(pace.idle_sockets, pace.storm_sockets))
    pace = replace(
        pace,
        idle_sockets=min(pace.idle_sockets, allowed),
        storm_sockets=min(pace.storm_sockets, allowed),
    )
    with ExitStack() as servers:
        people = PEOPLE_QUICK if options.quick else PEOPLE
        makers = SERVERS | (
            {"monolith": partial(targets.monolith, bare=True)} if options.bare else {}
        )
        names = options.server or COMPARED
        contestants = [servers.enter_context(makers[name](people)) for name in names]
        for scenario in scenarios:
            try:
                comparisons.append(_rounds(scenario, contestants, pace, rounds))
            except LoadError as error:
                _say(f"{scenario.name} failed: {error}")
                failures.append(scenario.name)
    print(report.tables(comparisons))
    if options.json:
        options.json.write_text(report.as_json(comparisons, command) + "\n", encoding="utf-8")
    if options.write and not failures:
        report.write_block(options.write, comparisons, command)
    if failures:
        print(f"bench: failed: {', '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _rounds(
    scenario: Scenario, contestants: Sequence[Contestant], pace: Pace, rounds: int
) -> Comparison:
    """Run a scenario against all servers in turn, the order reversed from round to round."""
    comparison = Comparison(scenario, reference=contestants[0].name)
    with _kept(contestants, fresh=scenario.fresh) as starts:
        for number in range(rounds):
            order = contestants if number % 2 == 0 else contestants[::-1]
            for contestant in order:
                with starts[contestant.name]() as target:
                    figures = run(scenario, target, pace)
                comparison.add(contestant.name, figures)
                if scenario.most_of_floor and contestant is not contestants[0]:
                    with targets.sends(int(figures["update_bytes"])) as target:
                        comparison.floors.append(run(scenario, target, pace))
                cost = f", {figures['cpu_us']:,.1f} µs CPU each" if "cpu_us" in figures else ""
                value = f"{figures[scenario.figure]:,.2f} {scenario.unit}"
                _say(f"{scenario.name} {number + 1}/{rounds} {contestant.name}: {value}{cost}")
    return comparison


Starts = dict[str, Callable[[], AbstractContextManager[Target]]]


@contextlib.contextmanager
def _kept(contestants: Sequence[Contestant], *, fresh: bool) -> Iterator[Starts]:
    """Yield how to get at each server: brought up anew each time, or once for all rounds."""
    if fresh:
        yield {contestant.name: contestant.start for contestant in contestants}
        return
    with ExitStack() as running:
        started = {
            contestant.name: running.enter_context(contestant.start()) for contestant in contestants
        }
        yield {
            name: lambda target=target: contextlib.nullcontext(target)
            for name, target in started.items()
        }  # type: ignore[misc]


def run(scenario: Scenario, target: Target, pace: Pace) -> Figures:
    """Run one scenario once, from the core that the servers do not use."""
    gc.collect()
    gc.freeze()  # the generator's own pauses must not look like the server's
    gc.disable()
    try:
        with on_core(GENERATOR_CORE):
            return uvloop.run(_awaited(scenario, target, pace))
    finally:
        gc.enable()
        gc.unfreeze()


async def _awaited(scenario: Scenario, target: Target, pace: Pace) -> Figures:
    return await scenario.run(target, pace)


def _profile(options: argparse.Namespace, pace: Pace) -> int:
    (scenario,) = named([options.scenario])
    allow_sockets(pace.idle_sockets)
    server = "monolith" if options.process == "monolith" else "services"
    with (
        SERVERS[server](PEOPLE_QUICK if options.quick else PEOPLE) as contestant,
        contestant.start() as target,
    ):
        (process,) = (process for process in target.processes if process.name == options.process)
        pace = replace(pace, seconds=max(pace.seconds, 6.0))
        with profiling.sampler(
            process.pid, native=options.native, waiting=options.waiting
        ) as samples:
            figures = run(scenario, replace(target, on_measuring=samples.start), pace)
        print(f"{scenario.title}: {figures[scenario.figure]:,.2f} {scenario.unit} while sampled\n")
        print(profiling.summary(samples.stacks, top=options.top))
        if options.output:
            options.output.write_text(samples.stacks, encoding="utf-8")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # by way of the clean-up: no server stays behind
    sys.exit(main())
