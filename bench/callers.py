"""Who sends requests on one socket and times the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from bench.measure import Figures, Meter
from bench.target import ANSWER_TIMEOUT_S, LoadError, Target
from harness import traffic
from harness.websocket import Socket, ignore

_CHECKED_EVERY: Final = 256

OnText = Callable[[bytes], None]


class Caller:
    """One socket that sends numbered requests and times their answers; in a closed loop each answer
    brings the next.
    """

    __slots__ = (
        "_answer",
        "_check",
        "_frame",
        "_meter",
        "_number",
        "_sent",
        "_socket",
        "closed_loop",
    )

    def __init__(
        self,
        socket: Socket,
        meter: Meter,
        frame: Callable[[int], bytes],
        answer: bytes,
        check: OnText = ignore,
    ) -> None:
        self._socket, self._meter, self._frame, self._answer, self._check = (
            socket,
            meter,
            frame,
            answer,
            check,
        )
        self._number = 0
        self._sent: dict[int, float] = {}
        self.closed_loop = False
        socket.on_text = self._on_text
        socket.on_lost = self._on_lost

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self._sent)

    def send(self, intended: float | None = None) -> None:
        """Send the next request; its latency counts from `intended` (perf_counter), or from now."""
        self._number = number = self._number + 1
        frame = self._frame(number)
        self._sent[number] = intended or time.perf_counter()
        self._socket.transport.write(frame)

    def _on_text(self, payload: bytes) -> None:
        if payload.startswith(self._answer):
            now = time.perf_counter()
            number = traffic.answered_number(payload)
            self._meter.done(now - self._sent.pop(number))
            if number % _CHECKED_EVERY == 1:
                self._look_at(payload)
            if self.closed_loop:
                self.send()
        elif payload.startswith(b'{"type":"error"'):
            self._meter.failed(payload.decode())
            self._sent.clear()  # the run is void: nobody need wait for the rest

    def _look_at(self, payload: bytes) -> None:
        try:
            self._check(payload)
        except (traffic.WrongAnswerError, ValueError, KeyError, TypeError) as error:
            self._meter.failed(f"{error!r} in {payload.decode()}")

    def _on_lost(self, socket: Socket) -> None:
        self._meter.failed(f"a socket was closed with {socket.close_code}")


def caller_of(
    target: Target, socket: Socket, number: int, meter: Meter, *, ping: bool = False
) -> Caller:
    """Return what sends the interactions of socket `number`, or its pings."""
    if ping:
        return Caller(socket, meter, traffic.ping, traffic.PONG)
    frame = traffic.Interactions(target.learner(number)).frame
    return Caller(socket, meter, frame, traffic.RESPONSE, traffic.check_response)


async def all_answered(target: Target, callers: Sequence[Caller]) -> None:
    """Wait until no request is without an answer. Raises LoadError."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while waiting := sum(caller.waiting for caller in callers):
        if time.monotonic() > deadline:
            raise LoadError(f"{target.name} left {waiting} requests without an answer")
        await asyncio.sleep(0.02)


def checked(target: Target, meter: Meter, figures: Figures) -> Figures:
    """Return the figures, unless something went wrong while they were made: such figures mean
    nothing.
    """
    if meter.errors:
        raise LoadError(f"{target.name}: {meter.errors} errors, the first: {meter.error_text}")
    return figures
