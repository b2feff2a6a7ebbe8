"""A plain client of the socket for tests: it sends frames, keeps every frame it gets, waits for
what matches.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

WAIT_S = 15.0
"""How long a frame may take before a test fails; generous, because machines that run tests are
busy.
"""

Frame = dict[str, Any]


class Socket:
    """An open socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._news = asyncio.Condition()
        self._ids = itertools.count(1)
        self.frames: list[Frame] = []
        """Everything received, in order."""
        self.close_code: int | None = None
        self.closed_cleanly = False
        """Whether both close frames were exchanged and the stream ended, as a browser's `wasClean`
        tells.
        """
        self._reading = asyncio.Event()
        self._reading.set()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                message = await self._connection.recv()
                async with self._news:
                    self.frames.append(json.loads(message))
                    self._news.notify_all()
        except ConnectionClosed as closed:
            self.closed_cleanly = (
                closed.rcvd is not None and closed.sent is not None and closed.__cause__ is None
            )
        async with self._news:
            self.close_code = self._connection.close_code
            self._news.notify_all()

    def stop_reading(self) -> None:
        """Take nothing from the connection, as a client that hangs: first its own buffers fill,
        then the edge's.
        """
        self._reading.clear()

    def go_on_reading(self) -> None:
        """Take everything again."""
        self._reading.set()

    async def send(self, frame: Frame | str | bytes) -> None:
        """Send a frame, or anything else."""
        await self._connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def ask(self, type: str, **fields: Any) -> Frame:
        """Send a frame with an id and return the frame that answers it."""
        id = f"q{next(self._ids)}"
        await self.send({"type": type, "id": id, **fields})
        return await self.expect(id=id)

    async def send_answers(self, learner_id: str, count: int, **data: Any) -> list[str]:
        """Send answers, half of them wrong, without waiting for any; return the ids that the
        responses will echo.
        """
        ids = []
        for number in range(count):
            ids.append(f"q{next(self._ids)}")
            data_of_one = answer(learner_id, correct=number // 4 % 2 == 0, **data)
            await self.send({"type": "virtual_brain_interact", "id": ids[-1], "data": data_of_one})
        return ids

    async def responses(self, ids: list[str]) -> list[Frame]:
        """Return what answers these requests, in their order, once all are answered."""
        return [await self.expect(id=id) for id in ids]

    async def interact(self, learner_id: str, *, correct: bool = True, **data: Any) -> Frame:
        """Send an answer of a learner and return what the edge says."""
        return await self.ask(
            "virtual_brain_interact", data=answer(learner_id, correct=correct, **data)
        )

    async def expect(self, _after: int = 0, **fields: Any) -> Frame:
        """Return the first frame, received or yet to come, whose fields are these. Fails after
        WAIT_S.
        """
        position = _after
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                for frame in self.frames[position:]:
                    if all(frame.get(name) == value for name, value in fields.items()):
                        return frame
                position = len(self.frames)
                if self.close_code is not None:
                    raise AssertionError(
                        f"closed with {self.close_code} while waiting for {fields}"
                    )
                await self._news.wait()

    async def until(self, met: Callable[[], bool], what: str) -> None:
        """Wait until a condition on the frames received is met."""
        async with asyncio.timeout(WAIT_S), self._news:
            while not met():
                assert self.close_code is None, (
                    f"closed with {self.close_code} while waiting for {what}"
                )
                await self._news.wait()

    async def until_revision(self, learner_id: str, revision: int) -> list[Frame]:
        """Return the learner's updates once one of at least `revision` has come."""
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                updates = self.updates(learner_id)
                if updates and updates[-1]["revision"] >= revision:
                    return updates
                assert self.close_code is None, f"closed with {self.close_code}"
                await self._news.wait()

    async def until_closed(self) -> int:
        """Return the close code once the socket is closed."""
        async with asyncio.timeout(WAIT_S), self._news:
            while self.close_code is None:
                await self._news.wait()
            return self.close_code

    def updates(self, learner_id: str) -> list[Frame]:
        """Return the state updates received for a learner."""
        return [
            frame
            for frame in self.frames
            if frame["type"] == "state_update" and frame["learner_id"] == learner_id
        ]

    async def close(self) -> None:
        """Close the socket."""
        self._reading.set()
        await self._connection.close()
        await self._reader


def answer(learner_id: str, *, correct: bool = True, **data: Any) -> Frame:
    """Return the data of an interaction: an answer to a question."""
    context = {
        "correct": correct,
        "difficulty": 3,
        "subject": "math",
        "skill": "add",
        "time_taken": 8.5,
    }
    return {
        "learner_id": learner_id,
        "type": "question_response",
        "content": "What is 2 + 2?",
        "response": "4",
        "context": context,
        "interaction_id": str(uuid.uuid4()),
        **data,
    }


@contextlib.asynccontextmanager
async def open_socket(url: str, token: str | None = None, **options: Any) -> AsyncIterator[Socket]:
    """Connect, authenticate by the first frame when a token is given, and close at the end."""
    async with connect(url, compression=None, **options) as connection:
        socket = Socket(connection)
        if token is not None:
            await socket.send({"type": "authenticate", "token": token})
            await socket.expect(type="connection_established")
        try:
            yield socket
        finally:
            await socket.close()
