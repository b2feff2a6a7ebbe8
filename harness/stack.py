"""The four services as real processes on this machine, started, stopped and killed together.

Independent of what they do. `make run`, tests and benchmarks share it:

with private_stack(env={"EDGE_PING_S": "1"}) as stack: stack.kill("brain") # SIGKILL
stack.start("brain") # again, on the same port and data; returns when it is ready
stack.restart("edge") # SIGTERM, as a deploy does, then start

All calls block, for at most the timeouts named; inside an event loop use `await
asyncio.to_thread(stack.restart, "brain")`.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.environment import Environments, inherited
from harness.files import make_private, write_secret_once
from harness.layout import SERVICES, Layout, service_of
from harness.ports import Ports, reserve
from harness.postgres import Postgres
from harness.readiness import edge_is_ready, edge_reaches_all, health_stub, serves
from harness.root import ROOT
from harness.supervisor import Child, ProcessDiedError, Spawner, StartTimeoutError
from harness.valkey import Valkey

__all__ = ["SERVICES", "ProcessDiedError", "Stack", "StartTimeoutError", "private_stack"]

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 35.0
"""An edge may take 30 s to send its sockets away."""

_MODULES = {
    "metrics": "metrics_service",
    "auth": "auth_service",
    "brain": "brain_service",
    "edge": "edge",
}


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
        `edges`, which share one port, or `brains`, which notify each other through a Valkey, each
        further one needs a block of ports in `more`; they are named "edge-2", "brain-2".

        `env` adds to or replaces what the processes find in their environment (an empty value
        removes a variable); every process sees the variables of its own prefix only. `cores` pins
        processes by name to a processor core.
        """
        given = dict(env or {})
        self.directory = directory.resolve()
        self.layout = Layout(
            given.pop("HOST", "") or "127.0.0.1", ports, more, edges=edges, brains=brains
        )
        self.credential_file = self.directory / "service-credential"
        self.logs = self.directory / "logs"
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
        self._environments = Environments(
            self.layout,
            self.directory,
            self.credential_file,
            given,
            postgres=self.postgres,
            valkey=self.valkey,
        )
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
    def ports(self) -> Ports:
        """Its first block of ports."""
        return self.layout.ports

    @property
    def services(self) -> list[str]:
        """The names of all processes of the services, in the order of starting."""
        return self.layout.services

    def named(self, service: str) -> list[str]:
        """Return the names of one service's processes."""
        return self.layout.named(service)

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
        self._environments.add(name, env)
        self.children[name] = self._process(name, self._command(name), self.environment(name))

    @staticmethod
    def _command(name: str) -> list[str]:
        return [sys.executable, "-m", _MODULES[service_of(name)]]

    def add(self, name: str, command: Sequence[str]) -> Child:
        """Prepare a further process, of the same directory and fate; the caller starts it, `stop`
        stops it first.
        """
        self.children[name] = self._process(name, command, inherited())
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
        return self.layout.http_url

    @property
    def ws_url(self) -> str:
        """Where the socket is."""
        return self.layout.ws_url

    def address(self, name: str) -> str:
        """Return "host:port" of a process."""
        return self.layout.address(name)

    def exposition(self, name: str) -> str:
        """Return "host:port" where Prometheus scrapes a process."""
        return self.layout.exposition(name)

    def database(self, name: str) -> Path:
        """Return the SQLite file of a gRPC service, where it has one."""
        return self._environments.database(name)

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment of a process; `python -m <module>` with it is the very same
        process.
        """
        return self._environments.of(name)

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
                child.wait_until(partial(self._edge_ready, name), timeout_s=timeout_s)
            else:
                with health_stub(self.address(name)) as stub:
                    child.wait_until(partial(serves, stub), timeout_s=timeout_s)

    def _edge_ready(self, name: str) -> bool:
        if self.layout.has_one_edge:
            return edge_is_ready(self.http_url)
        return edge_reaches_all(self.exposition(name))


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


PRIVATE = {"AUTH_ARGON2_MEMORY_KIB": "64", "AUTH_ARGON2_TIME_COST": "1"}
"""What makes a stack of tests quick; never for people's real passwords."""
