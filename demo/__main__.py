"""`make run`: the four services with a simulated class on this machine, until Ctrl-C.

The one module of the demo that reads the environment: PORT, DEMO (0: no class), LEARNERS (how many
there are, 12 by default), EDGES and BRAINS (how many processes of each, on one port and on one
database), DEBUG (1: show all logs), AIVO_DIR (where the data are, `.aivo` by default), DATABASE
(sqlite, or postgres for a server of its own), and the services' own settings, which it passes on to
them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from demo.console import Follower
from demo.people import FEWEST_LEARNERS, MOST_LEARNERS, demo_school, seed
from demo.users import LOAD_TEST, Person, UsersFileError, read_users
from harness.files import DirectoryHeldError, held, make_private, write_secret_once
from harness.ports import COUNT, Ports, block, taken
from harness.postgres import NoPostgresError
from harness.proxies import spare_loopback
from harness.registry import Registry, SeedingError
from harness.root import ROOT
from harness.stack import ProcessDiedError, Stack, StartTimeoutError
from harness.valkey import NoValkeyError
from service_runtime.addresses import is_address
from service_runtime.version import told

WATCH_S = 0.2
_STEADY_S = 10.0
"""What ends again within this time ends the run."""
PAST_DAYS = 3
"""So many days the class has worked already, so that there is something usual to compare with."""
MOST_PROCESSES = 64
"""Edges or brains on one machine: more would only be a mistake."""
ADMINISTRATOR = "admin@school.example"
FAILURES = (
    NoPostgresError,
    NoValkeyError,
    ProcessDiedError,
    StartTimeoutError,
    SeedingError,
    UsersFileError,
)
OURS = {"service-credential", "admin-password", "logs", "postgres"}
"""What each folder of ours holds sooner or later."""
SETTINGS = ("EDGE_", "BRAIN_", "AUTH_", "METRICS_")
BESIDE = (
    "a second one of this checkout needs data of its own: make run PORT=9000 AIVO_DIR=.aivo/second"
)


def main(environ: Mapping[str, str]) -> int:
    """Run until Ctrl-C or SIGTERM (0) or until a process dies that is alone of its kind (1); return
    2 when it cannot start.
    """
    spare_loopback(os.environ)
    port = environ.get("PORT") or "8000"
    try:
        if not port.isdecimal():
            raise ValueError(f"PORT must be a number, not {port!r}")
        edges, brains = (_count(environ, name) for name in ("EDGES", "BRAINS"))
        blocks = [block(int(port) + COUNT * place) for place in range(max(edges, brains))]
        learners = _learners(environ) if _on(environ, "DEMO", "1") else 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if used := [each for ports in blocks for each in taken(ports.edge)]:
        print(
            f"port {used[0]} is in use (by another `make run`?). All {COUNT * len(blocks)} ports"
            " can be moved:"
            f" make run PORT=9000;\n{BESIDE}",
            file=sys.stderr,
        )
        return 2
    given = environ.get("AIVO_DIR")
    directory = Path(given or ROOT / ".aivo")
    try:
        if given and _of_others(directory):
            print(
                f"{given} holds other things; AIVO_DIR names a folder of its own", file=sys.stderr
            )
            return 2
        with held(directory):
            return _work(directory, blocks, environ, learners)
    except OSError as error:
        if error.filename is None:
            raise
        why = f"{error.filename}: {error.strerror}"
        print(f"{why}; AIVO_DIR=/some/folder keeps the data elsewhere", file=sys.stderr)
        return 2
    except DirectoryHeldError:
        place = _short(directory.resolve())
        print(f"another `make run` is working with the data in {place};\n{BESIDE}", file=sys.stderr)
        return 2


def _of_others(directory: Path) -> bool:
    """Whether a folder was somebody else's before: it would be closed to them."""
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    return bool(names) and not names & OURS


def _work(
    directory: Path, blocks: Sequence[Ports], environ: Mapping[str, str], learners: int
) -> int:
    """Run on the data in a directory that nobody else uses: their logs would mix, each learner be
    simulated twice.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        database = environ.get("DATABASE") or "sqlite"
        stack = Stack(
            directory,
            ports=blocks[0],
            more=blocks[1:],
            env=_passed_on(environ),
            database=database,
            edges=_count(environ, "EDGES"),
            brains=_count(environ, "BRAINS"),
        )
    except (ValueError, NoPostgresError, NoValkeyError) as error:
        print(error, file=sys.stderr)
        return 2
    _keep_old_logs(stack.logs)
    try:
        return _run(stack, learners, everything=_on(environ, "DEBUG", "0"))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: _end_at_once(stack))
        began = time.monotonic()
        print("\nstopping … (Ctrl-C again ends everything at once)", file=sys.stderr)
        for name in stack.stop():
            print(f"{name} did not stop and was killed", file=sys.stderr)
        stack.close()
        print(
            f"stopped in {time.monotonic() - began:.1f} s; the data stay in"
            f" {_short(stack.directory)}",
            file=sys.stderr,
        )


def _end_at_once(stack: Stack) -> None:
    """A second signal ends at once; nothing acknowledged is lost."""
    stack.kill()
    os._exit(0)


def _run(stack: Stack, learners: int, *, everything: bool) -> int:
    console = Follower({}, sys.stderr, everything=everything)
    try:
        began = time.monotonic()
        print("starting …", file=sys.stderr)
        if everything:
            _follow(console, stack)
        people = _start(stack, learners)
        # What was said before is about things not being there yet; the files have it.
        _follow(console, stack)
        _greet(stack, people, lively=learners > 0, seconds=time.monotonic() - began)
        replaced: dict[str, float] = {}
        while True:
            replace(stack, replaced)
            console.show()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return 0
    except FAILURES as failure:
        console.show()
        print(f"\n{failure}\n\nending, because not everything runs", file=sys.stderr)
        return 1
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            console.close()


def replace(stack: Stack, replaced: dict[str, float]) -> None:
    """Start an edge or brain again that ended beside others of its kind, which serve meanwhile.

    Raises ProcessDiedError when anything else ended, or one that was just started again.
    """
    for kind in ("edge", "brain"):
        children = [stack.children[name] for name in stack.named(kind)]
        if not any(child.running for child in children):
            continue
        for child in children:
            now = time.monotonic()
            lately = now - replaced.get(child.name, -_STEADY_S) < _STEADY_S
            if child.running or lately:
                continue
            replaced[child.name] = now
            print(f"{child.ending()}; starting it again", file=sys.stderr)
            child.start()
    stack.check()


def _start(stack: Stack, learners: int) -> list[Person]:
    """Start everything, the edge when its people can log in: who sees it ready may. Without
    learners there is no demonstration.
    """
    if not learners:
        if not _users_file(stack).exists():
            _make_administrator(stack)
        stack.start()
        return read_users(_users_file(stack)) or [_administrator(stack)]
    stack.start(*(name for name in stack.services if name not in stack.named("edge")))
    people = _seed(stack, learners)
    stack.start(*stack.named("edge"))
    _start_class(stack)
    return people


def _make_administrator(stack: Stack) -> None:
    """Have the auth service make the first administrator, as in production."""
    make_private(stack.directory)
    write_secret_once(_password_file(stack), secrets.token_urlsafe(12) + "\n")
    stack.set(
        "auth",
        {
            "AUTH_BOOTSTRAP_ADMIN_EMAIL": ADMINISTRATOR,
            "AUTH_BOOTSTRAP_ADMIN_PASSWORD_FILE": str(_password_file(stack)),
        },
    )


def _administrator(stack: Stack) -> Person:
    password = _password_file(stack).read_text(encoding="utf-8").strip()
    return Person(email=ADMINISTRATOR, password=password, role="admin", user_id="", learners=())


def _password_file(stack: Stack) -> Path:
    return stack.directory / "admin-password"


def _seed(stack: Stack, learners: int) -> list[Person]:
    with grpc.insecure_channel(stack.address("auth")) as channel:
        return seed(Registry(channel, stack.metadata), demo_school(learners), _users_file(stack))


def _follow(console: Follower, stack: Stack) -> None:
    for name, child in stack.children.items():
        console.follow(name, child.log)


def _start_class(stack: Stack) -> None:
    command = [
        sys.executable,
        "-m",
        "demo.classroom",
        "--url",
        stack.http_url,
        "--users",
        str(_users_file(stack)),
        "--past-days",
        str(PAST_DAYS),
    ]
    stack.add("class", command).start()


def _count(environ: Mapping[str, str], name: str) -> int:
    """Return how many processes of a kind are wanted. Raises ValueError."""
    text = environ.get(name) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise ValueError(f"{name} must be from 1 to {MOST_PROCESSES}, not {text!r}")
    return int(text)


def _users_file(stack: Stack) -> Path:
    return stack.directory / "demo-users.json"


def _greet(stack: Stack, people: list[Person], *, lively: bool, seconds: float) -> None:
    some = {person.role: person for person in reversed(people) if person.email != LOAD_TEST}
    logins = "\n".join(
        f"    {role:<9} {some[role].email:<26} {some[role].password}"
        for role in ("teacher", "guardian", "learner", "admin")
        if role in some
    )
    file = _users_file(stack) if _users_file(stack).exists() else _password_file(stack)
    page = (ROOT / "web/dist/page/index.html").exists()
    print(
        f"""
  ready after {seconds:.1f} s

  page      {stack.http_url if page else "not built: " + _why_no_page()}
  socket    {stack.ws_url}
  API       {stack.http_url}/docs
  gRPC      brain {", ".join(map(stack.address, stack.named("brain")))},
            auth {stack.address("auth")}, metrics {stack.address("metrics")}
            (credential: {_short(stack.credential_file)})
  logs      {_short(stack.logs)}

  log in (everybody is in {_short(file)}):
{logins}

  {"a class of simulated learners is at work" if lively else "no simulated class (DEMO=0)"};
  Ctrl-C stops everything
""",
        flush=True,
    )


def _why_no_page() -> str:
    return "see .aivo/web.log" if shutil.which("npm") else "npm is not installed"


def _keep_old_logs(logs: Path) -> None:
    """Put the logs of the last run aside, so that each file tells of one run."""
    for log in logs.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    passed = {
        key: value
        for key, value in environ.items()
        if key.startswith(SETTINGS) or key in ("HOST", "DEBUG")
    }
    # So that trying a platform needs no setting.
    passed.setdefault("EDGE_XAPI_HOMEPAGES", "*")
    if not is_address(passed.get("HOST", "localhost")):
        print(f"HOST={passed.pop('HOST')} is not an address and is ignored", file=sys.stderr)
    return passed


def _learners(environ: Mapping[str, str]) -> int:
    text = environ.get("LEARNERS") or str(FEWEST_LEARNERS)
    if not text.isdecimal() or not FEWEST_LEARNERS <= int(text) <= MOST_LEARNERS:
        raise ValueError(
            f"LEARNERS must be a number from {FEWEST_LEARNERS} to {MOST_LEARNERS}, not {text!r}"
        )
    return int(text)


def _on(environ: Mapping[str, str], name: str, default: str) -> bool:
    return environ.get(name, default).lower() not in ("", "0", "false", "no", "off")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        if sys.argv[1] in ("-h", "--help"):
            print(__doc__)
            sys.exit(0)
        if sys.argv[1] == "--version":
            print(told("demo"))
            sys.exit(0)
        print(
            f"{sys.argv[1]!r} is unknown: settings are environment variables, see --help",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(main(os.environ))
