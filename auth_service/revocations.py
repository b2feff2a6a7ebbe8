"""Passes changes to every open revocation stream, and cuts streams that do not keep up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from auth_service.domain import Change


class WatchCutError(Exception):
    """This stream may have missed changes: open a new one and drop all cached decisions."""


class Watch:
    """One stream's queue of changes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: list[Change] = []
        self._wake = asyncio.Event()
        self._cut = False

    async def batches(self, heartbeat_s: float) -> AsyncIterator[tuple[Change, ...]]:
        """Yield what changed, in order; an empty batch after `heartbeat_s` seconds without any.

        Raises WatchCutError when changes were dropped for it.
        """
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._wake.wait()
            except TimeoutError:
                yield ()
                continue
            self._wake.clear()
            if self._cut:
                raise WatchCutError(
                    "this stream may have missed changes; open a new one and drop all cached"
                    " decisions"
                )
            if batch := self.take():
                yield batch

    def take(self) -> tuple[Change, ...]:
        """Return and empty the queue."""
        batch, self._pending = tuple(self._pending), []
        return batch

    def offer(self, changes: Iterable[Change]) -> bool:
        """Queue changes; False when that makes the queue too long: the stream is cut and the queue
        dropped.
        """
        if self._cut:
            return True
        self._pending.extend(changes)
        if len(self._pending) > self._limit:
            self.cut()
        self._wake.set()
        return not self._cut

    def cut(self) -> bool:
        """Make the stream fail and drop its queue; False when that was done before."""
        was_cut, self._cut = self._cut, True
        self._pending.clear()
        self._wake.set()
        return not was_cut


class Broadcaster:
    """All open streams of this process."""

    def __init__(self, limit: int) -> None:
        """Let each stream queue up to `limit` changes."""
        self._limit = limit
        self._watches: set[Watch] = set()
        self.published = 0
        """Changes ever published."""
        self.streams_cut = 0
        """Streams ever ended because they may have missed changes."""

    def __len__(self) -> int:
        return len(self._watches)

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Yield a new stream that gets everything published until the block ends."""
        watch = Watch(self._limit)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def publish(self, changes: Iterable[Change]) -> None:
        """Queue changes for every stream, without waiting."""
        batch = tuple(changes)
        self.published += len(batch)
        for watch in self._watches if batch else ():
            if not watch.offer(batch):
                self.streams_cut += 1

    def cut_all(self) -> None:
        """Make every stream fail, because single changes are no longer known."""
        for watch in self._watches:
            self.streams_cut += watch.cut()
