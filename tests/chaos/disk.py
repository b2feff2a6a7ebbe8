"""A disk for a database server that is small enough to be filled: a file system in memory. Mounting
it takes the rights of root; without them no disk is filled.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.stack import Stack

_MEGABYTES: Final = 320
_BALLAST: Final = "ballast"


def can_mount() -> bool:
    """Tell whether this process may mount anything."""
    try:
        tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    except OSError:
        return False
    return tried.returncode == 0


class Disk:
    """Where all files of the server are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room for as long as the block runs."""
        ballast = self._folder / _BALLAST
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                room = os.statvfs(self._folder)
                os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize))
                while True:
                    file.write(bytes(4096))
            yield
        finally:
            ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(stack: Stack) -> Iterator[Disk | None]:
    """Put the data of a stack's server, which does not run yet, on a small disk; None where there
    is no server or nothing can be mounted.
    """
    if stack.postgres is None or not can_mount():
        yield None
        return
    folder = stack.directory / "postgres"
    options = f"size={_MEGABYTES}m,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "aivo-chaos", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield Disk(folder)
    finally:
        stack.stop()
        stack.postgres.stop()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
