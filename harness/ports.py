"""Which port each listener of a stack has: eight in a row, given or found free. It starts
nothing.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COUNT = 8
_LOWEST, _HIGHEST = 10_000, 32_000
"""Below the ports that Linux gives to outgoing connections, any of which could take one of ours
between two starts.
"""


class PortsTakenError(Exception):
    """Some port of the block is in use; the message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one stack; the first is the edge's."""

    edge: int
    brain: int
    auth: int
    metrics: int
    expositions: dict[str, int]
    """Where Prometheus scrapes each process."""


def block(first: int) -> Ports:
    """Return the block that begins with the edge's port."""
    if not 1 <= first <= 65_535 - COUNT + 1:
        raise ValueError(
            f"PORT must be from 1 to {65_535 - COUNT + 1}, so that {COUNT} ports in a row exist"
        )
    names = ("edge", "brain", "auth", "metrics")
    serving = {name: first + offset for offset, name in enumerate(names)}
    return Ports(
        **serving, expositions={name: first + 4 + offset for offset, name in enumerate(names)}
    )


def taken(first: int, host: str = "127.0.0.1") -> list[int]:
    """Return the ports of a block that something listens on."""
    return [port for port in range(first, first + COUNT) if not _can_bind(host, port)]


def listens(port: int) -> bool:
    """Return whether something on this machine accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def reserve() -> tuple[Ports, IO[str]]:
    """Find a free block; while the returned file is open no other call on this machine returns the
    same block.
    """
    folder = Path(tempfile.gettempdir(), f"aivo-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    # Not the shared generator: tests that seed it would all look at the same blocks first.
    generator = random.SystemRandom()
    for _ in range(200):
        first = generator.randrange(_LOWEST, _HIGHEST, COUNT)
        claim = (folder / str(first)).open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            claim.close()
            continue
        if not taken(first):
            return block(first), claim
        claim.close()
    raise PortsTakenError(f"no {COUNT} free ports in a row between {_LOWEST} and {_HIGHEST}")


def _can_bind(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
