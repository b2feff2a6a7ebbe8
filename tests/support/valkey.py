"""A Valkey for a test, on a port of loopback, which can be killed, paused and started again."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.supervisor import ProcessDiedError, Spawner, StartTimeoutError
from harness.valkey import NoValkeyError, Valkey


@contextlib.contextmanager
def running_valkey(*settings: str) -> Iterator[Valkey]:
    """Run a server of one's own; skips the test where none can."""
    with tempfile.TemporaryDirectory(prefix="aivo-valkey-") as folder:
        spawner = Spawner()
        try:
            server = Valkey(Path(folder), spawner=spawner, settings=settings)
            server.start()
        except (NoValkeyError, ProcessDiedError, StartTimeoutError) as error:
            spawner.close()
            pytest.skip(f"no Valkey: {error}")
        try:
            yield server
        finally:
            server.stop()
            spawner.close()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server without a password, on a socket."""
    with running_valkey() as server:
        yield server


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
