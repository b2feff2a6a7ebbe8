"""The four services as real processes on this machine: their environment, their order, when they
are ready.

It knows how each is configured from outside and nothing of what they do. `make run`, tests and
benchmarks share it:

    with private_stack(env={"EDGE_PING_S": "1"}) as stack:
        stack.kill("brain")      # SIGKILL
        stack.start("brain")     # again, on the same port and data; returns when it is ready
        stack.restart("edge")    # SIGTERM, as a deploy does, then start

All calls block, for at most the timeouts named; inside an event loop use
`await asyncio.to_thread(stack.restart, "brain")`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.files import make_private, write_secret_once
from harness.ports import Ports, reserve
from harness.postgres import Postgres
from harness.supervisor import Child, ProcessDiedError, Spawner, StartTimeoutError
from harness.valkey import Valkey

__all__ = ["ROOT", "SERVICES", "ProcessDiedError", "Stack", "StartTimeoutError", "private_stack"]

ROOT = Path(__file__).resolve().parents[1]

OUR_PATH = {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "proto/gen", "client"))}
"""What a Python process must find in its environment to import us."""

SERVICES = ("metrics", "auth", "brain", "edge")
"""In the order of starting: nobody starts before those it calls. Stopping goes the other way."""

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 35.0
"""An edge may take 30 s to send its sockets away."""

_MODULES = {
    "metrics": "metrics_service",
    "auth": "auth_service",
    "brain": "brain_service",
    "edge": "edge",
}
_OURS = ("EDGE_", "BRAIN_", "AUTH_", "METRICS_")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks this machine, whatever proxy the environment names."""
_EDGE_OWN = ("HOST", "PORT", "DEBUG")


class Stack:
    """Four processes and the directory with their data, credential and logs."""

    def __init__(
        self,
        directory: Path,
        *,
        ports: Ports,
        env: Mapping[str, str] | None = None,
        cores: Mapping[str, int] | None = None,
        database: str = "sqlite",
        edges: int = 1,
        brains: int = 1,
        more: Sequence[Ports] = (),
    ) -> None:
        """Prepare processes; nothing runs before `start`.

        `database` is "sqlite", files in the directory, or "postgres", a server in it. With several
        `edges`, which share one port, or `brains`, which hear of each other by a Valkey, each
        further one needs a block of ports in `more`; they are named "edge-2", "brain-2".

        `env` adds to or replaces what the processes find in their environment (an empty value
        removes a variable); every process sees the variables of its own prefix only. `cores` pins
        processes by name to a processor core.
        """
        self.directory = directory.resolve()
        self.ports = ports
        self._blocks = (ports, *more)
        self._counts = {"edge": edges, "brain": brains}
        self.credential_file = self.directory / "service-credential"
        self.logs = self.directory / "logs"
        self._env = dict(env or {})
        self._further: dict[str, dict[str, str]] = {}
        self.host = self._env.pop("HOST", "") or "127.0.0.1"
        """Where the edge listens; the services always listen on loopback."""
        self._spawner = Spawner()
        self.postgres: Postgres | None = None
        if database == "postgres":
            self.postgres = Postgres(
                self.directory / "postgres",
                spawner=self._spawner,
                core=(cores or {}).get("postgres"),
            )
        elif database != "sqlite":
            raise ValueError(f"DATABASE must be sqlite or postgres, not {database!r}")
        self.valkey: Valkey | None = None
        if brains > 1:
            self.valkey = Valkey(self.directory / "valkey", spawner=self._spawner)
        self.children = {
            name: self._process(
                name,
                self._command(name),
                self.environment(name),
                core=(cores or {}).get(name),
            )
            for name in self.services
        }

    @property
    def services(self) -> list[str]:
        """The names of all processes of the services, in the order of starting."""
        return [name for service in SERVICES for name in self.named(service)]

    def named(self, service: str) -> list[str]:
        """Return the names of one service's processes."""
        further = range(2, self._counts.get(service, 1) + 1)
        return [service, *(f"{service}-{number}" for number in further)]

    def start(self, *names: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start these processes (all, when none is named) and wait until each answers that it is
        ready.

        Raises ProcessDiedError or StartTimeoutError with the last log lines; what was started goes
        on running.
        """
        self._make_directory()
        if self.postgres and not self.postgres.child.running:
            self.postgres.start()
            self._migrate(self.postgres)
        if self.valkey and not self.valkey.child.running:
            self.valkey.start()
        wanted = [name for name in self.services if not names or name in names]
        # Edges come last: the others start side by side.
        for are_edges in (False, True):
            these = [name for name in wanted if (service_of(name) == "edge") is are_edges]
            for name in these:
                self.children[name].start()
            self._await_ready(these, timeout_s)

    def stop(self, *names: str, grace_s: float = STOP_GRACE_S) -> list[str]:
        """Ask these processes (all) to end, the edge first; return the names of those that had to
        be killed.
        """
        chosen = [name for name in reversed(self.children) if not names or name in names]
        callers = [name for name in chosen if service_of(name) in ("edge", "")]
        killed = [name for name in callers if not self.children[name].stop(grace_s=grace_s)]
        # Nobody calls the others now, and they don't call each other: they end side by side.
        called = [name for name in chosen if name not in callers]
        for name in called:
            self.children[name].ask()
        return killed + [name for name in called if not self.children[name].finish(grace_s=grace_s)]

    def kill(self, *names: str) -> None:
        """End these processes (all) by SIGKILL, at the same time."""
        chosen = [self.children[name] for name in names or self.children]
        for child in chosen:
            child.signal(signal.SIGKILL)
        for child in chosen:
            child.kill()
        for server in (self.postgres, self.valkey):
            if server and not names:
                server.child.kill()

    def restart(self, name: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Stop a process gracefully and start it again, on the same port and data."""
        self.stop(name)
        self.start(name, timeout_s=timeout_s)

    def check(self) -> None:
        """Raise ProcessDiedError when any process that was started has ended, on purpose or not."""
        for child in self.children.values():
            if child.exit_code is not None:
                child.check()
        for server in (self.postgres, self.valkey):
            if server and server.child.exit_code is not None:
                server.child.check()

    def set(self, name: str, env: Mapping[str, str]) -> None:
        """Add variables to a process's environment; what was given at the beginning goes first."""
        self._further[name] = {**self._further.get(name, {}), **env}
        self.children[name] = self._process(name, self._command(name), self.environment(name))

    @staticmethod
    def _command(name: str) -> list[str]:
        return [sys.executable, "-m", _MODULES[service_of(name)]]

    def add(self, name: str, command: Sequence[str]) -> Child:
        """Prepare a further process, of the same directory and fate; the caller starts it, `stop`
        stops it first.
        """
        self.children[name] = self._process(name, command, self._inherited())
        return self.children[name]

    def close(self) -> None:
        """Stop all processes and give up the thread behind them; the directory stays."""
        self.stop()
        if self.postgres:
            self.postgres.close()
        if self.valkey:
            self.valkey.stop()
        self._spawner.close()

    def pid(self, name: str) -> int:
        """Return the process id; raises ProcessDiedError when it does not run."""
        child = self.children[name]
        child.check()
        pid = child.pid
        if pid is None:
            raise ProcessDiedError(f"{name} has just ended")
        return pid

    @property
    def credential(self) -> str:
        """The secret that callers of the gRPC services send; made at the first start."""
        return self.credential_file.read_text(encoding="utf-8").strip()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that every gRPC call must carry."""
        return (("authorization", f"Bearer {self.credential}"),)

    @property
    def http_url(self) -> str:
        """Where the page and `/api` are."""
        return f"http://{self._reached}:{self.ports.edge}"

    @property
    def ws_url(self) -> str:
        """Where the socket is."""
        return f"ws://{self._reached}:{self.ports.edge}/ws"

    @property
    def _reached(self) -> str:
        """The host to ask for the edge; one that listens everywhere is asked on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"[{host}]" if ":" in host else host

    def address(self, name: str) -> str:
        """Return "host:port" of a process."""
        return f"127.0.0.1:{getattr(self._block(name), service_of(name))}"

    def exposition(self, name: str) -> str:
        """Return "host:port" where Prometheus scrapes a process."""
        return f"127.0.0.1:{self._block(name).expositions[service_of(name)]}"

    def _block(self, name: str) -> Ports:
        return self._blocks[int(name.partition("-")[2] or 1) - 1]

    def database(self, name: str) -> Path:
        """Return the SQLite file of a gRPC service, where it has one."""
        return self.directory / f"{name}.sqlite3"

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment of a process; `python -m <module>` with it is the very same
        process.
        """
        service = service_of(name)
        others = tuple(prefix for prefix in _OURS if prefix != f"{service.upper()}_")
        given = {
            key: value
            for key, value in self._env.items()
            if not key.startswith(others) and (service == "edge" or key not in _EDGE_OWN)
        }
        return {
            key: value
            for key, value in (
                self._inherited() | self._settings(name) | dict(self._further.get(name, {})) | given
            ).items()
            if value
        }

    def _inherited(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(_OURS) and key not in _EDGE_OWN
        }
        return kept | OUR_PATH

    def _settings(self, name: str) -> dict[str, str]:
        service = service_of(name)
        prefix = service.upper()
        settings = {
            f"{prefix}_CREDENTIAL_FILE": str(self.credential_file),
            f"{prefix}_EXPOSITION_LISTEN": self.exposition(name),
        }
        if service == "edge":
            return settings | {
                "HOST": self.host,
                "PORT": str(self.ports.edge),
                # One page, whatever this machine is called in the address bar.
                "EDGE_ALLOWED_ORIGINS": ",".join(
                    f"http://{name}:{self.ports.edge}"
                    for name in ("localhost", "127.0.0.1", "[::1]")
                ),
                # Nobody balances these edges: there is nothing that needs time to notice.
                "EDGE_DRAIN_NOTICE_S": "0",
                "EDGE_REUSE_PORT": "1" if self._counts["edge"] > 1 else "",
                "EDGE_BRAIN_ADDRESSES": ",".join(map(self.address, self.named("brain"))),
                "EDGE_AUTH_ADDRESS": self.address("auth"),
                "EDGE_METRICS_ADDRESS": self.address("metrics"),
            }
        settings |= {
            f"{prefix}_LISTEN": self.address(name),
            f"{prefix}_DATABASE_URL": self.postgres.address(service)
            if self.postgres
            else str(self.database(service)),  # as a URL, `?` and `%` in it would mean something
        }
        if service == "brain" and self.valkey:
            settings["BRAIN_BUS_URL"] = self.valkey.url
        if name == "auth":
            settings["AUTH_KEY_FILE"] = str(self.directory / "auth-keys.json")
        return settings

    def _migrate(self, postgres: Postgres) -> None:
        """Give each service a database of today's schema, as an operator does."""
        for name in _MODULES:
            if name != "edge":
                postgres.make(name)
        running = {
            name: subprocess.Popen(  # noqa: S603 - the command is ours
                [*self._command(name), "migrate"],
                env=self.environment(name),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in _MODULES
            if name != "edge"
        }
        for name, process in running.items():
            _, told = process.communicate()
            if process.returncode:
                raise ProcessDiedError(
                    f"{name} could not bring its database up to date: {told.strip()}"
                )

    def _process(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        core: int | None = None,
    ) -> Child:
        return Child(
            name,
            command,
            spawner=self._spawner,
            environ=environ,
            directory=ROOT,
            log=self.logs / f"{name}.log",
            core=core,
        )

    def _make_directory(self) -> None:
        make_private(self.directory)
        make_private(self.logs)
        if not self.credential_file.exists():
            write_secret_once(self.credential_file, secrets.token_urlsafe(32) + "\n")

    def _await_ready(self, names: Iterable[str], timeout_s: float) -> None:
        for name in names:
            child = self.children[name]
            if service_of(name) == "edge":
                ready = self._edge_ready if self._counts["edge"] == 1 else self._reaches(name)
                child.wait_until(ready, timeout_s=timeout_s)
            else:
                with _health_stub(self.address(name)) as stub:
                    child.wait_until(lambda stub=stub: _serving(stub), timeout_s=timeout_s)  # type: ignore[misc]

    def _reaches(self, name: str) -> Callable[[], bool]:
        """Return what tells whether one edge among several reaches all services: by their common
        port another may answer.
        """

        def look() -> bool:
            try:
                with _DIRECT.open(f"http://{self.exposition(name)}/metrics", timeout=1) as answer:
                    lines = answer.read().decode().splitlines()
            except (urllib.error.URLError, OSError):
                return False
            reached = [line for line in lines if line.startswith("aivo_edge_upstream_up{")]
            return bool(reached) and all(line.endswith(" 1.0") for line in reached)

        return look

    def _edge_ready(self) -> bool:
        try:
            with _DIRECT.open(f"{self.http_url}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def private_stack(
    *,
    env: Mapping[str, str] | None = None,
    cores: Mapping[str, int] | None = None,
    services: Iterable[str] | None = None,
    directory: Path | None = None,
    database: str = "sqlite",
    edges: int = 1,
    brains: int = 1,
) -> Iterator[Stack]:
    """Run a stack of one's own on free ports, with its data in a directory that is removed at the
    end.

    Password hashing is made cheap. `services` (all) are started; the rest can be, later. A given
    `directory` is kept.
    """
    claims = contextlib.ExitStack()
    ports, *more = [_claimed(claims) for _ in range(max(edges, brains))]
    place = directory or Path(tempfile.mkdtemp(prefix="aivo-stack-"))
    stack = Stack(
        place,
        ports=ports,
        env=PRIVATE | dict(env or {}),
        cores=cores,
        database=database,
        edges=edges,
        brains=brains,
        more=more,
    )
    try:
        started = stack.services if services is None else tuple(services)
        if started:
            stack.start(*started)
        yield stack
    finally:
        stack.close()
        claims.close()
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)


def _claimed(claims: contextlib.ExitStack) -> Ports:
    ports, claim = reserve()
    claims.enter_context(claim)
    return ports


def service_of(name: str) -> str:
    """Return the service that a process of this name runs; empty for other processes."""
    service, _, number = name.partition("-")
    return service if service in SERVICES and (not number or number.isdecimal()) else ""


PRIVATE = {"AUTH_ARGON2_MEMORY_KIB": "64", "AUTH_ARGON2_TIME_COST": "1"}
"""What makes a stack of tests quick; never for people's real passwords."""


@contextlib.contextmanager
def _health_stub(address: str) -> Iterator[health_pb2_grpc.HealthStub]:
    options = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))
    with grpc.insecure_channel(address, options=options) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def _serving(stub: health_pb2_grpc.HealthStub) -> bool:
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
