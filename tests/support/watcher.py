"""A watcher that comes back whatever happens to the edge, resumes where it was, and notes any
broken promise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from harness.client import DisconnectedError, Frame, Socket, TokenSource, open_socket

BACK_S = 0.1


class Watcher:
    """Watches learners in one mode over as many connections as it takes."""

    def __init__(
        self, url: str, tokens: TokenSource, learners: Sequence[str], *, mode: str
    ) -> None:
        """Prepare; `watching` makes it watch."""
        self._url = url
        self._tokens = tokens
        self._learners = learners
        self.mode = mode
        self._news = asyncio.Condition()
        self.epoch = ""
        self.newest: dict[str, int] = dict.fromkeys(learners, 0)
        """Revision of what was shown last, by learner."""
        self.shown: dict[str, list[int]] = {learner: [] for learner in learners}
        """Revisions of all updates, by learner."""
        self.states: dict[str, Any] = {}
        """What was shown last, by learner."""
        self.broken: list[str] = []
        """Promises that were not kept."""
        self.connections = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher]:
        """Watch while the block runs; it begins when all subscriptions stand."""
        task = asyncio.create_task(self._run())
        try:
            await self._until(lambda: len(self.states) == len(self._learners), task)
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, newest: dict[str, int], *, within_s: float) -> None:
        """Wait until everything up to these revisions has been shown."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(
                lambda: all(self.newest[one] >= newest[one] for one in newest)
            )

    async def _until(self, met: Any, task: asyncio.Task[None]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: task.done() or met())
        if task.done():
            task.result()

    async def _run(self) -> None:
        while True:
            try:
                async with await open_socket(self._url, self._tokens) as socket:
                    self.connections += 1
                    await self._watch(socket)
            except DisconnectedError as gone:
                await asyncio.sleep(BACK_S if gone.retry_after_s is None else gone.retry_after_s)

    async def _watch(self, socket: Socket) -> None:
        waiting = set(self._learners)
        for learner in self._learners:
            await self._subscribe(socket, learner)
        while True:
            frame = await socket.receive()
            if frame["type"] == "error":
                if not frame["retryable"]:
                    self.broken.append(f"refused: {frame}")
                # Only the refused one: another may be on its way, and what follows it would come
                # twice.
                if (learner := frame.get("id")) in waiting:
                    await asyncio.sleep(BACK_S)
                    await self._subscribe(socket, learner)
            elif frame["type"] in ("subscribed", "state_update"):
                waiting.discard(frame["learner_id"])
                await self._take(frame)
            elif frame["type"] == "unsubscribed":
                self.broken.append(f"unsubscribed: {frame}")

    async def _subscribe(self, socket: Socket, learner: str) -> None:
        frame: Frame = {"type": "subscribe_learner", "learner_id": learner, "mode": self.mode}
        frame["id"] = learner
        if self.epoch:
            frame["resume"] = {"epoch": self.epoch, "revision": self.newest[learner]}
        await socket.send(frame)

    async def _take(self, frame: Frame) -> None:
        learner, revision = frame["learner_id"], frame["revision"]
        last = self.newest[learner]
        if self.epoch not in ("", frame["epoch"]):
            self.broken.append(f"{learner}: another epoch")
        if frame["type"] == "state_update":
            if revision <= last:
                self.broken.append(f"{learner}: {revision} after {last}")
            if self.mode == "every" and revision != last + 1:
                self.broken.append(
                    f"{learner}: {revision} after {last}, though every one was asked for"
                )
            if self.mode == "latest" and revision != last + 1 + frame["coalesced"]:
                self.broken.append(
                    f"{learner}: {revision} after {last} tells {frame['coalesced']} skipped"
                )
            self.shown[learner].append(revision)
        elif revision < last or (self.mode == "every" and self.epoch and revision != last):
            self.broken.append(f"{learner}: subscribed at {revision} after {last}")
        async with self._news:
            self.epoch = frame["epoch"]
            self.newest[learner] = revision
            self.states[learner] = frame["state"]
            self._news.notify_all()
