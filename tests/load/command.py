"""The command: its options, what it refuses to do, what it prints and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvloop

from harness.processes import allow_sockets
from harness.proxies import spare_loopback
from tests.load import people, report
from tests.load.client import Run
from tests.load.people import CannotStartError, Greeting, Person
from tests.load.rim import Target
from tests.load.run import SETTLE_S, Outcome, Plan, execute, most_per_s
from tests.load.scenarios import SCENARIOS, drivers_of

MAX_CONNECTIONS, MAX_DURATION_S, MAX_RATE = 5_000, 600.0, 10_000.0
_RAMP_PER_S: Final = 200
_PROBE_S: Final = 3.0
_QUIET_PROGRESS_S: Final = 10.0
_INTERRUPTED: Final = 130

EXAMPLES = """examples:
  %(prog)s --token "$TOKEN" --connections 100 --duration 60 --url ws://localhost:8000/ws
      the guide's: the token of a learner, or of an admin, who may act for everybody
  %(prog)s --users .aivo/demo-users.json --connections 200
      everybody of a running `make run`
  %(prog)s --private-stack --connections 1000 --duration 60
      the four services started for it on free ports, and removed afterwards
  %(prog)s --private-stack --scenario storm --duration 30 --sole-writer --json storm.json
      all sockets cut again and again; nothing may be lost, or applied twice
  %(prog)s --token "$TOKEN" --learner ada --rate 20 --connections 10 --ramp 5

The token can also come from the environment variable AIVO_TOKEN, which keeps it out of the list of
processes.
Latencies count from the moment a message was due, whatever the server did (open loop). A socket
never sends more than
the server says that it may (frames a second, interactions in flight): a plan that would need more
is refused.

exit code: 0 kept its promises; 1 something was lost, duplicated, out of order or stale, or nothing
was answered;
2 could not start; 130 interrupted, promises kept until then
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test and return the exit code."""
    spare_loopback(os.environ)
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _check_bounds(options)
        with contextlib.ExitStack() as stack:
            if options.private_stack:
                print("starting a stack of our own …", file=sys.stderr, flush=True)
                # All connections are one admin's, which is more than one person should have.
                lifted = {
                    "EDGE_MAX_SOCKETS_PER_USER": "100000",
                    "EDGE_MAX_SOCKETS_PER_ADDRESS": "100000",
                    "EDGE_CONNECTIONS_PER_S": "0",
                    "EDGE_USER_UNITS_PER_S": "0",  # one user is everybody
                }
                own, options.token = stack.enter_context(people.private_admin(**lifted))
                options.url = own.ws_url
                options.sole_writer = True
            return uvloop.run(_run(options))
    except CannotStartError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(
            "Loads a running edge over WebSockets and checks that nothing is lost, doubled, mixed"
            " up or stale."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--token",
        default=os.environ.get("AIVO_TOKEN"),
        help="access token of a learner or an admin",
    )
    who.add_argument(
        "--users", type=Path, metavar="FILE", help="log in everybody of a demo-users.json"
    )
    who.add_argument(
        "--private-stack",
        action="store_true",
        help="start a stack for it and load that (implies --sole-writer)",
    )
    add(
        "--url", default="ws://localhost:8000/ws", help="where the socket is (default: %(default)s)"
    )
    add("--connections", type=_count, default=100, help="how many (default: %(default)s)")
    add(
        "--duration", type=_seconds, default=60.0, metavar="S", help="seconds of load (default: 60)"
    )
    add(
        "--rate",
        type=_seconds,
        metavar="N",
        help="messages a second, of all connections together (default: 2 for each)",
    )
    add(
        "--ramp",
        type=_seconds,
        metavar="S",
        help="seconds over which connections open (default: 200 a second)",
    )
    add("--scenario", choices=SCENARIOS, default="steady", help=_scenarios())
    add(
        "--learner",
        action="append",
        default=[],
        metavar="ID",
        help="learner to act for; repeatable (default: all)",
    )
    add(
        "--sole-writer",
        action="store_true",
        help="nobody else acts for these learners: revisions must add up exactly",
    )
    add(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="the report as JSON, instead of the text or into a file",
    )
    add(
        "--raise-bounds",
        action="store_true",
        help=(
            f"allow more than {MAX_CONNECTIONS} connections, {MAX_DURATION_S:g} s, {MAX_RATE:g}"
            " messages a second"
        ),
    )
    add("--i-own-this-host", action="store_true", help="allow a target that is not this machine")
    return parser


def _scenarios() -> str:
    return (
        "; ".join(f"{name}: {scenario.meaning}" for name, scenario in SCENARIOS.items())
        + " (default: steady)"
    )


def _count(given: str) -> int:
    if (value := int(given)) < 1:
        raise ValueError
    return value


def _seconds(given: str) -> float:
    if not 0 < (value := float(given)) < 1e9:
        raise ValueError
    return value


def _check_bounds(options: argparse.Namespace) -> None:
    if not (options.token or options.users or options.private_stack):
        raise CannotStartError("say who connects: --token, --users or --private-stack")
    if not options.raise_bounds:
        for name, most in (
            ("connections", MAX_CONNECTIONS),
            ("duration", MAX_DURATION_S),
            ("rate", MAX_RATE),
        ):
            if (getattr(options, name) or 0) > most:
                raise CannotStartError(f"--{name} is more than {most:g}; --raise-bounds allows it")
    if (allowed := allow_sockets(options.connections)) < options.connections:
        raise CannotStartError(f"this process may open {allowed} sockets only; raise `ulimit -n`")


def find_target(url: str, *, anywhere: bool) -> Target:
    """Return an address that accepts connections. Raises CannotStartError, for a host that is not
    this machine too.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise CannotStartError(f"{url} is no ws:// or wss:// URL")
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        addresses = list(
            dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(parts.hostname, port))
        )
    except OSError as error:
        raise CannotStartError(f"{parts.hostname}: {error}") from None
    if not anywhere and not all(
        ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses
    ):
        raise CannotStartError(
            f"{parts.hostname} is not this machine; a load test against others' hosts is an attack "
            "(--i-own-this-host says that it is yours)"
        )
    for address in addresses:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((address, port), timeout=_PROBE_S),
        ):
            tls = ssl.create_default_context() if parts.scheme == "wss" else None
            return Target(
                host=address, port=port, name=parts.hostname, path=parts.path or "/ws", tls=tls
            )
    raise CannotStartError(f"nothing listens on {parts.hostname}:{port}")


async def _run(options: argparse.Namespace) -> int:
    target = find_target(options.url, anywhere=options.i_own_this_host)
    run = Run(target=target)
    everybody, greeting = await _everybody(options, run)
    scenario = SCENARIOS[options.scenario]
    clients = scenario.make(run, options.connections, everybody)
    acting = sum(client.drives is not None for client in clients)
    learners = len(drivers_of(everybody))
    plan = Plan(
        scenario=scenario,
        rate=options.rate or min(MAX_RATE, scenario.rate(options.connections, learners)),
        duration_s=options.duration,
        ramp_s=options.ramp if options.ramp is not None else options.connections / _RAMP_PER_S,
        sole_writer=options.sole_writer,
    )
    _check_plan(plan, greeting, acting)
    conditions = report.Conditions(
        url=options.url,
        connections=len(clients),
        duration_s=options.duration,
        started=f"{datetime.now():%Y-%m-%d %H:%M:%S}",
        scenario=options.scenario,
        rate=plan.rate,
        ramp_s=plan.ramp_s,
    )
    to_stdout = sys.stderr if options.json == "-" else sys.stdout
    print(report.heading(conditions), file=to_stdout, flush=True)

    stop = asyncio.Event()
    with _stopped_by_ctrl_c(stop):
        progress = asyncio.create_task(_show_progress(run, plan))
        try:
            outcome = await execute(
                run,
                clients,
                plan,
                stop=stop,
                progress=lambda line: print(line, file=to_stdout, flush=True),
            )
        finally:
            progress.cancel()
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr)
    _tell(options, conditions, run, outcome)
    if not report.passed(run, outcome):
        return 1
    return _INTERRUPTED if outcome.interrupted else 0


async def _everybody(options: argparse.Namespace, run: Run) -> tuple[list[Person], Greeting]:
    parts = urlsplit(options.url)
    http_url = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
    if options.users:
        everybody = await asyncio.to_thread(
            people.people_of, options.users, http_url, options.learner
        )
        return everybody, await people.ask_greeting(run, everybody[0].token)
    greeting = await people.ask_greeting(run, options.token)
    person = await asyncio.to_thread(
        people.person_of, options.token, greeting.role, http_url, options.learner
    )
    return [person], greeting


def _check_plan(plan: Plan, greeting: Greeting, acting: int) -> None:
    most = most_per_s(greeting.limits, acting)
    if most is not None and plan.rate > most:
        raise CannotStartError(
            f"{plan.rate:g} messages a second on {acting} acting connections would measure the"
            f" server's rate limit ({greeting.limits['frames_per_second']:g} a second for each"
            f" socket): at most --rate {most:g}, or more connections"
        )
    left_s = (greeting.expires_at - datetime.now(UTC)).total_seconds()
    if (needed_s := plan.ramp_s + plan.duration_s + SETTLE_S) > left_s:
        raise CannotStartError(
            f"the token is good for {left_s:.0f} s more, the run needs {needed_s:.0f} s"
        )


@contextlib.contextmanager
def _stopped_by_ctrl_c(stop: asyncio.Event) -> Iterator[None]:
    """Let the first Ctrl-C end the load and a second end the program."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        print("\nending; what was measured follows", file=sys.stderr, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _show_progress(run: Run, plan: Plan) -> None:
    """Tell on stderr how it goes: every second over the same line, or a line now and then where it
    is no terminal.
    """
    live = sys.stderr.isatty()
    begin = before = time.perf_counter()
    answered = 0
    while True:
        await asyncio.sleep(1.0 if live else _QUIET_PROGRESS_S)
        tally, now = run.tally, time.perf_counter()
        line = (
            f"{now - begin:5.0f} s  {tally.connected} connected "
            f" {(tally.answered - answered) / (now - before):.0f} of {plan.rate:.0f} msg/s  P99"
            f" {tally.latency.percentile(99) * 1000:.1f} ms  {tally.updates} updates "
            f" {tally.errors.total()} errors  {sum(run.verdict.counts.values())} broken promises"
        )
        print(
            f"\r\x1b[K{line}" if live else line,
            end="" if live else "\n",
            file=sys.stderr,
            flush=True,
        )
        before, answered = now, tally.answered


def _tell(
    options: argparse.Namespace, conditions: report.Conditions, run: Run, outcome: Outcome
) -> None:
    if options.json is not None:
        whole = json.dumps(report.as_json(conditions, run, outcome), indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(whole)
            return
        Path(options.json).write_text(whole, encoding="utf-8")
    print(report.text(conditions, run, outcome), flush=True)
