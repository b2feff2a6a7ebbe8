"""Child processes that are started, watched, stopped and killed, and never outlive their parent.
Knows no service.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
_POLL_S = 0.05


class ProcessDiedError(Exception):
    """A process ended that should be running; the message ends with its last log lines."""


class StartTimeoutError(Exception):
    """A process did not become ready in time; the message ends with its last log lines."""


class Spawner:
    """Starts processes that the kernel kills when this program ends, however it ends (on Linux).

    All are started by one thread that lives as long as this object: the kernel's notion of a parent
    is the thread that started a process, so a child started by a passing thread would die with that
    thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

    def spawn(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path,
        log: Path,
        core: int | None,
    ) -> subprocess.Popen[bytes]:
        """Start `command` in its own session, so that Ctrl-C in a terminal reaches its
        parent only.
        """
        leashed = [
            sys.executable,
            "-S",
            "-E",
            str(_LEASH),
            str(os.getpid()),
            "-" if core is None else str(core),
        ]

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(  # noqa: S603 - the command is ours
                    [*leashed, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environ),
                    cwd=directory,
                    start_new_session=True,
                )

        return self._thread.submit(start).result()

    def close(self) -> None:
        """End the thread; children that still run are killed by the kernel."""
        self._thread.shutdown()


class Child:
    """One process that can be started again and again; its output goes to `log`, one file for all
    its lives.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        spawner: Spawner,
        environ: Mapping[str, str],
        directory: Path,
        log: Path,
        core: int | None = None,
    ) -> None:
        """Describe the process; `core` pins it to one processor core."""
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._spawner = spawner
        self._environ = dict(environ)
        self._directory = directory
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How its last life ended: the exit code, or the negative number of the signal; None while
        it runs.
        """
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it; nothing happens when it runs already."""
        if not self.running:
            self._process = self._spawner.spawn(
                self._command,
                environ=self._environ,
                directory=self._directory,
                log=self.log,
                core=self._core,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has ended in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, *, grace_s: float) -> bool:
        """Ask it to end, kill it after `grace_s`; return whether it ended by itself."""
        self.ask()
        return self.finish(grace_s=grace_s)

    def ask(self) -> None:
        """Ask it to end (SIGTERM). Ask once: our processes end at once when asked again."""
        if self.running:
            self.signal(signal.SIGTERM)

    def finish(self, *, grace_s: float) -> bool:
        """Wait for its end, kill it after `grace_s`; return whether it ended by itself."""
        if self.wait(grace_s):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait for it."""
        self.signal(signal.SIGKILL)
        if not self.wait(10):
            raise ProcessDiedError(f"{self.name} (pid {self.pid}) does not end even when killed")

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `ready`, which must return within a second or so, says yes.

        Raises ProcessDiedError or StartTimeoutError.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            if ready():
                return
            if time.monotonic() > deadline:
                raise StartTimeoutError(
                    f"{self.name} was not ready after {timeout_s:g} s{self._last_words()}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise ProcessDiedError when it does not run."""
        if self.running:
            return
        if self._process is None:
            raise ProcessDiedError(f"{self.name} was never started")
        raise ProcessDiedError(f"{self.ending()}{self._last_words()}")

    def ending(self) -> str:
        """Say how its last life ended."""
        code = self.exit_code
        if code is None:
            return f"{self.name} has not ended"
        if code < 0:
            return f"{self.name} was ended by {signal.Signals(-code).name}"
        return f"{self.name} ended with exit code {code}"

    def log_tail(self, lines: int = 20) -> list[str]:
        """Return the last lines that it wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 65_536))
                return file.read().decode("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def _last_words(self) -> str:
        tail = self.log_tail()
        if not tail:
            return f" and wrote nothing to {self.log}"
        return f"; the last lines of {self.log}:\n" + "\n".join(f"  {line}" for line in tail)


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    ready: Callable[[], bool],
    environ: Mapping[str, str],
    directory: Path,
    log: Path,
    core: int | None = None,
    timeout_s: float = 60.0,
    grace_s: float = 35.0,
) -> Iterator[Child]:
    """Run one process while the block runs, which begins when it is `ready`.

    Raises ProcessDiedError or StartTimeoutError.
    """
    spawner = Spawner()
    child = Child(
        name, command, spawner=spawner, environ=environ, directory=directory, log=log, core=core
    )
    try:
        child.start()
        child.wait_until(ready, timeout_s=timeout_s)
        yield child
    finally:
        child.stop(grace_s=grace_s)
        spawner.close()
