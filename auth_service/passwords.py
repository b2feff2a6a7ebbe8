"""Password hashes (argon2id), made and checked in threads, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

R = TypeVar("R")

GIVES_WAY = 2
"""Extra niceness of hashing threads, so that lessons go first. Not more: each hash must still
finish during a flood.
"""

GIVES_MORE_WAY = 10
"""Further niceness for work that can wait."""


class TooManyHashesError(Exception):
    """Too many passwords wait to be checked; try again in a moment."""

    trailing_metadata = (("retry-after-ms", "1000"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """argon2id parameters; the defaults are the low-memory recommendation of RFC 9106 §4."""

    time: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class Passwords:
    """Hashes and verifies with a bounded number of threads, and so a bounded amount of memory."""

    def __init__(self, cost: Cost, *, threads: int = 2, max_waiting: int = 128) -> None:
        """Prepare; each thread uses `cost.memory_kib` while it works, and `max_waiting` calls may
        wait for one.
        """
        self._hasher = PasswordHasher(
            time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="argon2", initializer=_give_way, initargs=(GIVES_WAY,)
        )
        self._room = threads + max_waiting
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password. Raises TooManyHashesError."""
        return await self._run(partial(self._hash, password))

    async def verify(self, password: str, encoded: str | None, *, can_wait: bool = False) -> bool:
        """Return whether `password` matches `encoded`; `can_wait` lets other work go first. Raises
        TooManyHashesError.

        Pass None for an unknown user: the answer is False after the same work, so that the time
        taken does not reveal who has an account.
        """
        work = partial(self._verify, password, encoded)
        return await self._run(partial(_patiently, work) if can_wait else work)

    def outdated(self, encoded: str) -> bool:
        """Return whether a hash has outdated parameters and should be made anew."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Stop the threads; calls that still wait are cancelled."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], R]) -> R:
        if self._room == 0:
            raise TooManyHashesError("too many sign-ins at once; try again in a moment")
        self._room -= 1
        future = self._threads.submit(work)
        # Not when the caller gives up: a thread at work still holds its memory.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _call_soon(loop, self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._room += 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normalised(password))

    def _verify(self, password: str, encoded: str | None) -> bool:
        matches = False
        with contextlib.suppress(VerificationError, InvalidHashError):
            matches = self._hasher.verify(encoded or self._nobody, _normalised(password))
        return matches and encoded is not None


def _give_way(by: int) -> None:
    """Lower the thread's priority: a hash takes long on purpose."""
    if hasattr(os, "setpriority"):
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + by
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))


def _patiently(work: Callable[[], R]) -> R:
    """Work in a new thread, because niceness only grows."""
    with ThreadPoolExecutor(1, initializer=_give_way, initargs=(GIVES_MORE_WAY,)) as own:
        return own.submit(work).result()


def _normalised(password: str) -> bytes:
    # The same password from another keyboard may have other code points (NIST SP 800-63B §3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile
        loop.call_soon_threadsafe(callback)
