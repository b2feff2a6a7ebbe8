"""Cores and limits of this machine, and what a running process costs."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, GENERATOR_CORE = 0, 1


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
    """Seconds since boot that this core was busy, by any process."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, ticks)
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


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
