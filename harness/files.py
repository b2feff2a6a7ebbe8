"""Secrets in files, and directories that belong to one program at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LONGEST_SOCKET = 90
"""Bytes of the path of a socket's folder; the kernel takes 107 with the socket's own name."""


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    with _prepared(path, text) as temporary:
        temporary.replace(path)


def write_secret_once(path: Path, text: str) -> None:
    """Write such a file unless it exists; of several callers at once one wins, and all find its
    text.
    """
    with _prepared(path, text) as temporary, contextlib.suppress(FileExistsError):
        os.link(temporary, path)


def make_private(directory: Path) -> None:
    """Make a private directory, if there is none."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)


def socket_folder(directory: Path, prefix: str) -> Path:
    """Return where a server whose files are in `directory` has its socket: there, or in a new
    folder where that path is longer than the kernel takes.
    """
    long = len(os.fsencode(directory)) > _LONGEST_SOCKET
    return Path(tempfile.mkdtemp(prefix=prefix)) if long else directory


class DirectoryHeldError(Exception):
    """Another program holds the directory."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory, made if missing, while the block runs; the hold ends with the program.

    Raises DirectoryHeldError when another one holds it.
    """
    make_private(directory)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryHeldError(str(directory)) from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _prepared(path: Path, text: str) -> Iterator[Path]:
    # mkstemp makes files of mode 600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
