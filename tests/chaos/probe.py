"""Clients that use the same learners at the same time, each through a socket of its own, and note
what they did and were told.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from harness.client import DisconnectedError, Frame, Socket, TokenSource, open_socket, uuid7
from tests.chaos.history import Operation
from tests.support.socket import answer

READS = 0.3
"""Share of operations that only read."""
PAUSE_S = 0.03
ANSWER_S = 12.0
BACK_S = 0.1


class Probe:
    """One client. What it gets no answer to, it asks again under the same id until it does."""

    def __init__(
        self, name: str, url: str, tokens: TokenSource, learners: Sequence[str], seed: str
    ) -> None:
        """`seed` decides what it does; when is up to the system."""
        self.name = name
        self.operations: list[Operation] = []
        self.refused: list[str] = []
        """Answers that no retry would have changed."""
        self.told: Counter[str] = Counter()
        """Answers that asked to try again, by code."""
        self._url = url
        self._tokens = tokens
        self._learners = learners
        self._chance = random.Random(seed)
        self._epoch = 0.0
        self.longest_s = 0.0
        """How long an operation took at most, all attempts included."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do one operation after the other; the one under way at `stop` is finished."""
        pending: tuple[str, str, float] | None = None
        while pending or not stop.is_set():
            try:
                async with await open_socket(self._url, self._tokens) as socket:
                    while pending or not stop.is_set():
                        pending = pending or self._next()
                        if await self._do(socket, *pending):
                            pending = None
                            await asyncio.sleep(PAUSE_S * self._chance.random())
            except (DisconnectedError, TimeoutError):
                await asyncio.sleep(BACK_S)

    def _next(self) -> tuple[str, str, float]:
        learner = self._chance.choice(self._learners)
        return learner, "" if self._chance.random() < READS else uuid7(), time.monotonic()

    async def _do(self, socket: Socket, learner: str, id: str, began: float) -> bool:
        """Try an operation once; False when it must be tried again."""
        request_id = uuid7()
        frame: Frame = {"type": "get_state", "learner_id": learner, "id": request_id}
        if id:
            data = answer(learner, correct=self._chance.random() < 0.6, interaction_id=id)
            frame = {"type": "virtual_brain_interact", "data": data, "id": request_id}
        async with asyncio.timeout(ANSWER_S):
            await socket.send(frame)
            while (told := await socket.receive()).get("id") != request_id:
                pass
        if told["type"] == "error":
            if not told["retryable"]:
                self.refused.append(f"{told['code']}: {told['error']}")
                return True
            self.told[told["code"]] += 1
            await asyncio.sleep(min(1.0, told.get("retry_after_ms", 100) / 1000))
            return False
        ended = time.monotonic()
        self.longest_s = max(self.longest_s, ended - began)
        self.operations.append(Operation(self.name, learner, id, began, ended, told["revision"]))
        return True
