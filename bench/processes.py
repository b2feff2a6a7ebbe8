"""Starts server processes on one core and tells what they cost."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, GENERATOR_CORE = 0, 1


class StartFailed(Exception):
    """A server did not come up; the message has the end of its log."""


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run on one core only, as do the processes started meanwhile; where there is one core, it is
    that one.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def core_busy_s(core: int) -> float:
    """Seconds since boot that this core was busy, whoever used it."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, ticks)
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


def free_port() -> int:
    """Return a loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def allow_sockets(wanted: int) -> int:
    """Raise the limit of open files, for this process and those it starts; return how many sockets
    it allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = 200
    target = wanted + spare
    if hard != resource.RLIM_INFINITY and hard < target:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, target))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < target:
        soft = target if hard == resource.RLIM_INFINITY else min(target, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - spare


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One running server process."""

    name: str
    pid: int

    def cpu_s(self) -> float:
        """Processor time of all its threads so far, seconds."""
        # The clock of another process, as clock_getcpuclockid(3) makes it; /proc/<pid>/stat has
        # ticks of 10 ms only.
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory_kb(self) -> float:
        """Resident memory that is its own, KiB: private pages, so that shared libraries do not
        count.
        """
        total = 0
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1])
        return float(total)


class Child:
    """A server process that we started; its output goes to a temporary file."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 – closed by stop
        self._popen = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto" / "gen"))),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
        )

    @property
    def process(self) -> Process:
        """What to measure."""
        return Process(name=self.name, pid=self._popen.pid)

    def wait_listening(self, port: int, *, timeout_s: float = 30.0) -> None:
        """Return once the port accepts connections; raises StartFailed."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self._popen.poll() is not None:
                raise StartFailed(
                    f"{self.name} ended with exit code {self._popen.returncode}:\n{self.log_end()}"
                )
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1.0),
            ):
                return
            if time.monotonic() > deadline:
                raise StartFailed(f"{self.name} does not listen on port {port}:\n{self.log_end()}")
            time.sleep(0.02)

    def stop(self, *, number: signal.Signals = signal.SIGTERM, timeout_s: float = 15.0) -> None:
        """Ask it to end, and end it by force when it does not."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
            try:
                self._popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._log.close()

    def log_end(self, size: int = 3000) -> str:
        """The last `size` bytes of its output."""
        length = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, length - size))
        return self._log.read().decode("utf-8", "replace")
