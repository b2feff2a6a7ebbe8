"""A server that breaks the protocol's promises, and the load test run against it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.load import command

LEARNER = "ada"


class Liar:
    """A server of the protocol with one learner, in a thread; `lie` says what it does wrong, every
    fifth time.
    """

    def __init__(
        self, lie: str = "", *, limits: dict[str, float] | None = None, delay_s: float = 0.0
    ) -> None:
        self.lie = lie
        self.limits = limits or {"frames_per_second": 0, "in_flight": 64}
        self.delay_s = delay_s
        self.busy = threading.Event()
        """Set when fifty requests were answered."""
        self.most_in_flight = 0
        self._in_flight = 0
        self._count = 0
        self._chances = 0
        self._revision = 0
        self._held: list[dict[str, Any]] = []
        self._watchers: set[ServerConnection] = set()

    async def talk(self, socket: ServerConnection) -> None:
        try:
            async with asyncio.TaskGroup() as answers:
                while True:
                    frame = json.loads(await socket.recv())
                    if self.delay_s:
                        answers.create_task(self._later(socket, frame))
                    else:
                        await self._take(socket, frame)
        except* ConnectionClosed:  # the load test does not say goodbye
            self._watchers.discard(socket)

    async def _later(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        writes = frame["type"] == "virtual_brain_interact"
        self._in_flight += writes
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(self.delay_s)
        self._in_flight -= writes
        await self._take(socket, frame)

    async def _take(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        say = self._say
        match frame["type"]:
            case "authenticate" if self.lie == "refuses":
                await say(socket, "error", code="unauthenticated", error="no")
                await socket.close(4401)
            case "authenticate":
                greeting = {
                    "user": {"id": "u", "role": "admin"},
                    "expires_at": "2999-01-01T00:00:00.000Z",
                }
                await say(socket, "connection_established", limits=self.limits, **greeting)
            case "subscribe_learner":
                self._watchers.add(socket)
                await say(
                    socket,
                    "subscribed",
                    learner_id=LEARNER,
                    epoch="e",
                    revision=self._revision,
                    id=frame["id"],
                )
            case "ping":
                await self._answer(socket, "pong", frame)
            case "get_state":
                stale = self._lies("stale state") and self._revision
                await self._answer(
                    socket, "state_response", frame, revision=0 if stale else self._revision
                )
            case "virtual_brain_interact":
                self._revision += 0 if self._lies("reuses a revision") and self._revision else 1
                self._revision += self._lies("applies twice")
                await self._answer(socket, "virtual_brain_response", frame, revision=self._revision)
                for watcher in list(self._watchers):
                    await self._update(watcher)

    async def _answer(
        self, socket: ServerConnection, type: str, frame: dict[str, Any], **fields: Any
    ) -> None:
        self._count += 1
        if self._count == 50:
            self.busy.set()
            if self.lie == "stalls":
                await asyncio.sleep(0.6)
        if self._lies("drops answers"):
            return
        if self._lies("answers with something else"):
            type = "state_response" if type == "pong" else "pong"
        id = "999999999" if self._lies("answers nobody") else frame["id"]
        for _ in range(1 + self._lies("answers twice")):
            await self._say(socket, type, id=id, learner_id=LEARNER, **fields)

    async def _update(self, socket: ServerConnection) -> None:
        update = {"learner_id": LEARNER, "epoch": "e", "revision": self._revision, "coalesced": 0}
        if self.lie == "drops the last updates" and self._revision > 5:
            return
        if self._lies("drops updates"):
            return
        if self._lies("reorders updates"):
            self._held.append(update)
            return
        for _ in range(1 + self._lies("doubles updates")):
            await self._say(socket, "state_update", **update)
        while self._held:
            await self._say(socket, "state_update", **self._held.pop())

    def _lies(self, lie: str) -> bool:
        if self.lie != lie:
            return False
        self._chances += 1
        return self._chances % 5 == 0

    async def _say(self, socket: ServerConnection, type: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": type} | fields))


@contextlib.contextmanager
def serving(liar: Liar) -> Iterator[str]:
    """Run it on a port of its own and yield the URL."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    ready, over = threading.Event(), asyncio.Event()

    async def work() -> None:
        async with serve(liar.talk, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    try:
        assert ready.wait(10)
        yield f"ws://127.0.0.1:{ports[0]}/ws"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def load(
    url: str, *arguments: str, connections: int = 2, duration: float = 0.4, rate: float = 300
) -> int:
    """Run the load test against a server with one learner and return the exit code."""
    numbers = (
        "--connections",
        str(connections),
        "--duration",
        str(duration),
        "--rate",
        str(rate),
        "--ramp",
        "0.01",
    )
    return command.main(["--url", url, "--token", "t", "--learner", LEARNER, *numbers, *arguments])


def figures(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what the last run with --json printed."""
    return dict(json.loads(capsys.readouterr().out))
