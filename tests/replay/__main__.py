"""The command line of replays: `python -m tests.replay --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from demo.users import Person, UsersFileError, read_users
from harness.client import DisconnectedError, FixedToken, RefusedError, TokenSource
from harness.ports import PortsTakenError
from harness.proxies import spare_loopback
from harness.registry import Registry, SeedingError
from harness.stack import ProcessDiedError, StartTimeoutError, private_stack
from tests.replay.lane import GaveUpError, Pace, Tally
from tests.replay.log import BadLogError, Entry, read_log
from tests.replay.report import Report
from tests.replay.run import NobodyMayError, replay, senders

DESCRIPTION = """\
Replays a log of real interactions through the socket, in file order, each with its own time
(occurred_at). Reads
ednet_kt4_frames.jsonl.gz and assist17_first_attempts.tsv.gz (also unpacked).

Without --url it starts a system of its own on free ports, with an empty store and with the limits
lifted, and removes
it afterwards. A running system must allow times as old as the log's (BRAIN_MAX_BACKDATE_S=0), and
know its learners
(--create-learners makes them through the auth service). Replaying a log again moves nothing: all
are duplicates,
unless --run names another run."""

LIFTED = {
    "EDGE_FRAMES_PER_S": "0",
    "EDGE_USER_UNITS_PER_S": "0",
    "BRAIN_QUOTA_A_DAY": "0",
    "EDGE_MAX_IN_FLIGHT": "1024",
    "BRAIN_MAX_BACKDATE_S": "0",
    "BRAIN_BANK_GUARDED": "false",
}
"""Settings of a private system: no rate limit, a wide window, any age, every answer teaches."""

FAILURES = (
    BadLogError,
    UsersFileError,
    DisconnectedError,
    GaveUpError,
    NobodyMayError,
    PortsTakenError,
    ProcessDiedError,
    RefusedError,
    SeedingError,
    StartTimeoutError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A system to replay against, and who sends."""

    ws_url: str
    tokens: dict[str, TokenSource]


@contextmanager
def private_target(entries: Sequence[Entry]) -> Iterator[Target]:
    """Start a system with the log's learners in it and an admin who sends."""
    with private_stack(env=LIFTED) as stack:
        with grpc.insecure_channel(stack.address("auth")) as channel:
            registry = Registry(channel, stack.metadata)
            create_learners(registry, entries)
            admin = Person(
                email="replay@school.example",
                password=stack.credential,
                role="admin",
                user_id="",
                learners=(),
            )
            registry.add_user(admin.email, admin.password, admin.role)
        yield Target(ws_url=stack.ws_url, tokens=senders(stack.http_url, [admin], entries))


def auth_beside(ws_url: str) -> str:
    """Return where the auth service of a system is whose ports are in the order of `make run`."""
    edge = urlsplit(ws_url)
    return f"{edge.hostname}:{(edge.port or 80) + 2}"


def create_learners(registry: Registry, entries: Sequence[Entry]) -> None:
    """Make the learners of a log, unless they exist."""
    for learner_id in dict.fromkeys(entry.learner_id for entry in entries):
        registry.add_learner(learner_id)


@contextmanager
def running_target(arguments: argparse.Namespace, entries: Sequence[Entry]) -> Iterator[Target]:
    """Use the system at --url."""
    if arguments.create_learners:
        try:
            credential = arguments.credential_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SeedingError(f"--credential-file: {error}") from error
        with grpc.insecure_channel(arguments.auth or auth_beside(arguments.url)) as channel:
            create_learners(
                Registry(channel, (("authorization", f"Bearer {credential}"),)), entries
            )
    if arguments.token:
        token: TokenSource = FixedToken(arguments.token)
        yield Target(ws_url=arguments.url, tokens={entry.learner_id: token for entry in entries})
        return
    http_url = arguments.url.replace("ws", "http", 1).removesuffix("/ws")
    people = read_users(arguments.users)
    if not people:
        raise NobodyMayError(
            f"{arguments.users} has no users; name a file with --users, or give --token"
        )
    yield Target(ws_url=arguments.url, tokens=senders(http_url, people, entries))


class Bar:
    """A progress bar on a terminal; elsewhere a line every ten seconds."""

    WIDTH = 30

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._said = self._started
        self._terminal = sys.stderr.isatty()

    def show(self, tally: Tally, total: int) -> None:
        """Draw how far the replay is."""
        now = time.monotonic()
        done = tally.acknowledged + sum(tally.errors.values())
        elapsed = max(now - self._started, 1e-3)
        text = f"{done}/{total} answered, {done / elapsed:.0f}/s, {tally.reconnects} reconnects"
        if tally.trouble:
            text += f" ({tally.trouble})"
        if self._terminal:
            filled = self.WIDTH * done // total
            text = text[
                : shutil.get_terminal_size().columns - self.WIDTH - 4
            ]  # a line that wraps is not drawn over
            sys.stderr.write(f"\r[{'█' * filled}{'·' * (self.WIDTH - filled)}] {text}\x1b[K")
        elif now - self._said >= 10:
            self._said = now
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stderr.write("\n")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.replay",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("file", type=Path, metavar="FILE", help="the log")
    made.add_argument(
        "--speed",
        default="max",
        metavar="real|N|max",
        help="real time, N times faster, or (default) max",
    )
    made.add_argument(
        "--longest-pause",
        type=seconds,
        metavar="S",
        help="shorten longer pauses of the log to S seconds",
    )
    made.add_argument(
        "--order",
        choices=("file", "time"),
        default="file",
        help="time: a whole school side by side",
    )
    made.add_argument(
        "--limit", type=int, metavar="N", help="only the first N interactions of the file"
    )
    made.add_argument(
        "--run",
        type=name,
        default="",
        metavar="NAME",
        help="gives the interactions other ids than other runs",
    )
    made.add_argument(
        "--sockets",
        type=int,
        default=1,
        help="more than one keeps the order per learner only (default: 1)",
    )
    made.add_argument(
        "--patience",
        type=seconds,
        default=60.0,
        metavar="S",
        help="give up after S seconds without answer",
    )
    made.add_argument("--json", action="store_true", help="print the summary as JSON")
    there = made.add_argument_group("a running system")
    there.add_argument("--url", type=socket_url, metavar="ws://HOST:PORT/ws", help="where it is")
    there.add_argument(
        "--users",
        type=Path,
        default=Path(".aivo/demo-users.json"),
        help="who sends: an admin, or the learners",
    )
    there.add_argument("--token", help="an access token of an admin, instead of --users")
    there.add_argument(
        "--create-learners", action="store_true", help="make the log's learners first"
    )
    there.add_argument(
        "--auth",
        help="the auth service, for --create-learners (default: two ports above the URL's)",
    )
    there.add_argument(
        "--credential-file",
        type=Path,
        default=Path(".aivo/service-credential"),
        help="for --create-learners",
    )
    return made


def seconds(text: str) -> float:
    """Return a time that an argument gives."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be zero or more")
    return value


def name(text: str) -> str:
    """Return what may be a part of ids."""
    if not re.fullmatch(r"[A-Za-z0-9_.:@-]{0,64}", text):
        raise argparse.ArgumentTypeError("must be up to 64 characters of A-Z a-z 0-9 _ . : @ -")
    return text


def socket_url(text: str) -> str:
    """Return the address of a socket."""
    if not re.match(r"wss?://[^/]", text):
        raise argparse.ArgumentTypeError(f"must be like ws://127.0.0.1:8000/ws, not {text!r}")
    return text


def speed(text: str) -> float | None:
    """Return the factor that a --speed means, None for max. Raises ValueError."""
    if text in ("max", "real"):
        return None if text == "max" else 1.0
    factor = float(text.removesuffix("x"))
    if not 0 < factor < float("inf"):
        raise ValueError(text)
    return factor


async def _replay(
    arguments: argparse.Namespace, entries: Sequence[Entry], target: Target, pace: Pace
) -> Report:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        # The first ends the sending and still prints the summary, the second ends everything.
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    bar = Bar()
    try:
        return await replay(
            entries,
            ws_url=target.ws_url,
            tokens=target.tokens,
            sockets=arguments.sockets,
            pace=pace,
            patience_s=arguments.patience,
            progress=bar.show,
            stop=stop,
        )
    finally:
        bar.close()
        loop.remove_signal_handler(signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay and print the summary; return 0, 1 when something was refused or failed, or 130 when
    interrupted.
    """
    spare_loopback(os.environ)
    command = parser()
    arguments = command.parse_args(argv)
    try:
        pace = Pace(speed(arguments.speed), arguments.longest_pause)
    except ValueError:
        command.error("--speed must be real, max or a number above 0")
    if arguments.sockets < 1 or (arguments.limit is not None and arguments.limit < 1):
        command.error("--sockets and --limit must be at least 1")
    try:
        entries = read_log(arguments.file, limit=arguments.limit, run=arguments.run)
        if arguments.order == "time":
            entries.sort(key=lambda entry: (entry.at_s, entry.line))
        place = running_target(arguments, entries) if arguments.url else private_target(entries)
        with place as target:
            report = asyncio.run(_replay(arguments, entries, target, pace))
    except FAILURES as failure:
        print(f"replay: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report.as_json(), indent=2) if arguments.json else report.as_text())
    if arguments.url and "forbidden" in report.tally.errors:
        print(
            "replay: forbidden means unknown learners, too; --create-learners makes them",
            file=sys.stderr,
        )
    if report.interrupted:
        return 130
    return 0 if report.complete else 1


if __name__ == "__main__":
    sys.exit(main())
