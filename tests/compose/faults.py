"""What happens to containers of deploy/compose.scale.yaml: they are killed, paused, cut off and
replaced, and lose room on their disk or the right time.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tests.compose.engine import Deployment

DISK: Final = "tests/compose/disk.yaml"
CLOCKS: Final = "tests/compose/clocks.yaml"
BRAIN_AWAY: Final = ("brain paused 4 s", "brain cut off 4 s")
_AHEAD_S: Final = 600
_SET: Final = ("edge", "brain", "auth")
"""Services whose clocks can be set, where CLOCKS was deployed."""
_SLOW_US: Final = 100_000
"""What PostgreSQL waits before it syncs its log, microseconds: the most that it takes."""


def prepare_clocks(scaled: Deployment, faketime: Path) -> None:
    """Lay down what CLOCKS names, before anything runs."""
    folder = scaled.folder / "clocks"
    folder.mkdir(mode=0o755)
    shutil.copy(faketime, folder / "libfaketimeMT.so.1")
    for service in _SET:
        _set_clock(scaled, service, 0)


class Faults:
    """Everything that may happen to a deployment, by name."""

    def __init__(self, scaled: Deployment, services: Iterable[str]) -> None:
        """`services` are those that are started again when they are found dead."""
        self._scaled = scaled
        self._services = tuple(services)
        self.known: dict[str, Callable[[], object]] = {
            "brain killed": self._docker("kill", "brain"),
            "brain restarted": self._docker("restart", "brain"),
            "brain paused 4 s": partial(self._pause, "brain"),
            "brain cut off 4 s": partial(self._cut, "brain"),
            "edge killed": self._docker("kill", "edge"),
            "edge drained and restarted": self._docker("restart", "edge"),
            "auth killed": self._docker("kill", "auth"),
            "metrics killed": self._docker("kill", "metrics"),
            "Valkey paused 4 s": partial(self._pause, "valkey"),
            "Valkey killed": self._docker("kill", "valkey"),
            "Valkey flushed": self._flush,
            "PostgreSQL restarted": self._docker("restart", "postgres"),
            "PostgreSQL killed": self._docker("kill", "postgres"),
            "PostgreSQL's disk full 4 s": self._fill,
            "PostgreSQL's disk slow 4 s": self._slow,
            "brain and edge more, and fewer": self._scale_up_and_down,
            "upgrade": self._upgrade,
        }
        if (scaled.folder / "clocks").exists():
            for service in _SET:
                for way, seconds in (("ahead", _AHEAD_S), ("behind", -_AHEAD_S)):
                    self.known[f"{service}'s clock {way} 4 s"] = partial(
                        self._step, service, seconds
                    )

    def let(self, name: str) -> None:
        """Let something happen, and what it killed be started again."""
        self.known[name]()
        # The engine takes a container that was killed by hand for stopped on purpose.
        for service in self._services:
            for one in self._scaled.containers(service):
                if one["State"]["Status"] == "exited":
                    self._scaled.run("docker", "start", one["Id"])

    def _docker(self, what: str, service: str) -> Callable[[], object]:
        return lambda: self._scaled.run("docker", what, self._first(service))

    def _first(self, service: str) -> str:
        return str(self._scaled.containers(service)[0]["Id"])

    def _wait(self) -> None:
        self._scaled.run("sleep", "4")

    def _cut(self, service: str) -> None:
        """Take one container off the network for 4 s."""
        one = self._scaled.containers(service)[0]
        (network,) = (
            name for name in one["NetworkSettings"]["Networks"] if name.endswith("_services")
        )
        self._scaled.run("docker", "network", "disconnect", network, one["Id"])
        self._wait()
        self._scaled.run("docker", "network", "connect", "--alias", service, network, one["Id"])

    def _pause(self, service: str) -> None:
        """Let one container stand still for 4 s."""
        one = self._first(service)
        self._scaled.until(lambda: self._is_frozen(one), f"{service} is paused")
        self._wait()
        self._scaled.run("docker", "unpause", one)

    def _is_frozen(self, container: str) -> bool:
        """Freeze all processes of a container, if none of them is where it cannot be frozen: as the
        one that has just begun a health check.
        """
        done = subprocess.run(
            ["docker", "pause", container], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 or "unable to freeze" in done.stderr, done.stderr
        return done.returncode == 0

    def _flush(self) -> None:
        words = 'valkey-cli -a "$(cat /run/secrets/valkey-password)" flushall'
        told = self._scaled.compose("exec", "-T", "valkey", "sh", "-c", words)
        assert "OK" in told, told

    def _fill(self) -> None:
        """Leave no room where PostgreSQL's data are, for 4 s."""
        inside = ("exec", "-T", "disk", "sh", "-c")
        fill = "dd if=/dev/zero of=/disk/ballast bs=64k 2>&1; df /disk | grep 100%"
        try:
            self._scaled.compose(*inside, fill)
            self._wait()
        finally:
            self._scaled.compose(*inside, "rm -f /disk/ballast")

    def _slow(self) -> None:
        """Let every sync of PostgreSQL's log take a tenth of a second longer, for 4 s."""
        with self._set(commit_delay=_SLOW_US, commit_siblings=0):
            self._wait()

    @contextlib.contextmanager
    def _set(self, **settings: int) -> Iterator[None]:
        try:
            self._sql(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in settings.items()))
            yield
        finally:
            self._sql(*(f"ALTER SYSTEM RESET {name}" for name in settings))

    def _sql(self, *statements: str) -> None:
        words = (word for one in (*statements, "SELECT pg_reload_conf()") for word in ("-c", one))
        self._scaled.compose(
            *("exec", "-T", "postgres", "psql", "-U", "aivo", "-d", "brain", "-q", *words)
        )

    def _step(self, service: str, ahead_s: int) -> None:
        """Set the clocks of a service's containers, and after 4 s right again."""
        _set_clock(self._scaled, service, ahead_s)
        try:
            self._wait()
        finally:
            _set_clock(self._scaled, service, 0)

    def _scale_up_and_down(self) -> None:
        up = ("docker", "compose", "up", "--detach", "--no-build", "--wait")
        self._scaled.run(*up, "--scale", "brain=3", "--scale", "edge=4")
        self._scaled.run(*up)

    def _upgrade(self) -> None:
        """Build another image and replace containers by it, one at a time."""
        dockerfile = self._scaled.folder / "deploy" / "Dockerfile"
        with dockerfile.open("a", encoding="utf-8") as file:
            file.write(f"LABEL version={uuid.uuid4().hex}\n")
        self._scaled.run("make", "upgrade")


def _set_clock(scaled: Deployment, service: str, ahead_s: int) -> None:
    """Let the clocks of a service be so many seconds ahead of the system's, from now on."""
    folder = scaled.folder / "clocks"
    whole = folder / f"{service}.new"
    whole.write_text(f"{ahead_s:+d}\n", encoding="ascii")
    whole.chmod(0o644)
    whole.replace(folder / service)
