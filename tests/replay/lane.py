"""Sends a queue of interactions through one socket, in order, pipelined within the told limits,
until all are answered.

Nothing is lost and nothing applied twice: what was in flight when a connection broke is sent again
under the same ids, and before anything is sent again all answers under way are waited for, so that
the order per learner holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.client import (
    DisconnectedError,
    RefusedError,
    Socket,
    TokenSource,
    backoff_s,
    open_socket,
    uuid7,
)
from tests.replay.log import Entry

ANSWER_TIMEOUT_S = 30.0
"""After so long without any answer the connection counts as dead."""
RENEW_BEFORE_S = 60.0
MAX_EXAMPLES = 20


class GaveUpError(Exception):
    """The system could not be reached, or did not get on, for longer than the patience."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the interactions of one or more lanes; lanes add to it."""

    sent: int = 0
    """Interactions sent for the first time."""
    resent: int = 0
    acknowledged: int = 0
    duplicates: int = 0
    """Applied as having been applied before."""
    reconnects: int = 0
    trouble: str = ""
    """Why a socket could not be had or was lost last; empty once there are answers again."""
    retryable: dict[str, int] = field(default_factory=dict)
    """Answers that were errors and led to sending again, by code."""
    without_pause: int = 0
    """Those of them that did not tell when to come back."""
    errors: dict[str, int] = field(default_factory=dict)
    """Interactions refused for good, by code."""
    examples: list[str] = field(default_factory=list)
    """Some of the refusals in words."""
    latencies_s: list[float] = field(default_factory=list)
    revisions: dict[str, int] = field(default_factory=dict)
    """Revision of each acknowledged interaction, by id."""
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The newest answer per learner."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When an interaction may be sent: `None` for as fast as allowed."""

    speed: float | None
    longest_pause_s: float | None = None

    def offsets(self, entries: Iterable[Entry]) -> dict[int, float]:
        """Return seconds from the start by line; a log that jumps back in time (the next learner)
        does not wait.
        """
        if self.speed is None:
            return {}
        offsets: dict[int, float] = {}
        offset = 0.0
        previous: float | None = None
        for entry in entries:
            gap = 0.0 if previous is None else max(0.0, entry.at_s - previous)
            if self.longest_pause_s is not None:
                gap = min(gap, self.longest_pause_s)
            offset += gap / self.speed
            offsets[entry.line] = offset
            previous = entry.at_s
        return offsets


class Bucket:
    """Keeps a sender below a rate that the receiver measures with a clock of its own."""

    def __init__(self, limits: Mapping[str, float], clock: Callable[[], float]) -> None:
        """Take `frames_per_second` (absent or 0: no limit) and `burst` from the told limits, with a
        margin.
        """
        self._rate = 0.98 * float(limits.get("frames_per_second") or 0)
        # Frames sent evenly may arrive in a bunch, so half of the burst stays in hand.
        self._size = max(1.0, float(limits.get("burst") or 1) / 2)
        self._clock = clock
        self._level = self._size
        self._at = clock()

    def delay_s(self) -> float:
        """Return how long to wait before the next frame; 0 when it may go now."""
        if self._rate == 0:
            return 0.0
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1 - self._level) / self._rate)

    def take(self) -> None:
        """Count one frame."""
        self._level -= 1


class Lane:
    """One socket's share of a replay."""

    def __init__(
        self,
        *,
        url: str,
        tokens: TokenSource,
        entries: Iterable[Entry],
        offsets: dict[int, float],
        tally: Tally,
        started: float,
        patience_s: float,
        stop: asyncio.Event,
    ) -> None:
        """`offsets` are seconds after `started` (monotonic) by line; after `stop` nothing is sent
        that was not sent before.
        """
        self._url = url
        self._tokens = tokens
        self._offsets = offsets
        self._tally = tally
        self._started = started
        self._patience_s = patience_s
        self._stop = stop
        self._queue = deque(entries)
        self._place = {entry.line: place for place, entry in enumerate(self._queue)}
        self._in_flight: dict[str, tuple[Entry, float]] = {}
        self._again: list[Entry] = []
        self._hold_until = 0.0
        self._changed = asyncio.Event()
        self._progress_at = time.monotonic()
        self._known: set[int] = set()

    async def run(self) -> None:
        """Send until all is answered, or all that was sent once `stop` is set; raises RefusedError
        or GaveUpError.
        """
        attempt = 0
        while self._unfinished():
            before = self._tally.acknowledged
            try:
                async with await open_socket(self._url, self._tokens) as socket:
                    self._progress_at = time.monotonic()
                    await self._drive(socket)
            except DisconnectedError as gone:
                self._take_back()
                if self._tally.acknowledged > before:
                    attempt = 0
                if time.monotonic() - self._progress_at > self._patience_s:
                    raise GaveUpError(
                        f"no answer for {self._patience_s:g} s; at last: {gone}"
                    ) from gone
                self._tally.reconnects += 1
                self._tally.trouble = str(gone)
                await asyncio.sleep(
                    backoff_s(attempt) if gone.retry_after_s is None else gone.retry_after_s
                )
                attempt += 1

    def _unfinished(self) -> bool:
        return bool(self._in_flight or self._again or self._has_next())

    def _has_next(self) -> bool:
        """Tell whether something waits to be sent; what was sent before comes first and is sent
        again even after `stop`, for it may be stored without its answer having come.
        """
        return bool(self._queue) and not (
            self._stop.is_set() and self._queue[0].line not in self._known
        )

    async def _drive(self, socket: Socket) -> None:
        bucket = Bucket(socket.limits, time.monotonic)
        window = max(1, int(socket.limits.get("in_flight") or 32))
        renew_at = time.monotonic() + _lifetime_s(socket) - RENEW_BEFORE_S
        receiver = asyncio.create_task(self._receive(socket))
        receiver.add_done_callback(lambda _: self._changed.set())
        try:
            while self._unfinished():
                self._changed.clear()
                if receiver.done():
                    receiver.result()
                if time.monotonic() > renew_at:
                    renew_at += _lifetime_s(socket)
                    await socket.send(
                        {"type": "authenticate", "id": uuid7(), "token": await self._tokens.token()}
                    )
                wait_s = await self._send_some(socket, bucket, window)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                if self._in_flight and time.monotonic() - self._progress_at > ANSWER_TIMEOUT_S:
                    raise DisconnectedError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
        finally:
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError, DisconnectedError, RefusedError):
                await receiver

    async def _send_some(self, socket: Socket, bucket: Bucket, window: int) -> float:
        """Send what may be sent now; return how long to wait when nothing else happens."""
        while True:
            if self._again:
                if self._in_flight:
                    return 1.0
                self._queue_again(self._again)
                self._again.clear()
            if not self._has_next() or len(self._in_flight) >= window:
                return 1.0
            entry = self._queue[0]
            now = time.monotonic()
            due = self._started + self._offsets.get(entry.line, 0.0)
            wait_s = max(bucket.delay_s(), self._hold_until - now, due - now)
            if wait_s > 0:
                return min(wait_s, 1.0)
            self._queue.popleft()
            bucket.take()
            if not self._in_flight:
                self._progress_at = now
            self._in_flight[entry.interaction_id] = (entry, time.monotonic())
            self._count_sending(entry)
            await socket.send(
                {"type": "virtual_brain_interact", "id": entry.interaction_id, "data": entry.data}
            )

    def _count_sending(self, entry: Entry) -> None:
        if entry.line in self._known:
            self._tally.resent += 1
        else:
            self._known.add(entry.line)
            self._tally.sent += 1

    async def _receive(self, socket: Socket) -> None:
        while True:
            frame = await socket.receive()
            kind = frame.get("type")
            if kind == "server_draining":
                raise DisconnectedError(
                    "the server is going away", float(frame.get("reconnect_after_ms", 0)) / 1000
                )
            if kind not in ("virtual_brain_response", "error"):
                continue
            entry, sent_at = self._in_flight.pop(str(frame.get("id")), (None, 0.0))
            if entry is None:
                if kind == "error" and frame.get("id") is None:
                    raise DisconnectedError(f"{frame.get('code')}: {frame.get('error')}")
                continue
            self._progress_at = time.monotonic()
            if kind == "virtual_brain_response":
                self._acknowledge(entry, frame, self._progress_at - sent_at)
            else:
                self._fail(entry, frame)
            self._changed.set()

    def _acknowledge(self, entry: Entry, frame: dict[str, Any], latency_s: float) -> None:
        tally = self._tally
        tally.acknowledged += 1
        tally.trouble = ""
        tally.duplicates += bool(frame.get("duplicate"))
        tally.latencies_s.append(latency_s)
        tally.revisions[entry.interaction_id] = frame["revision"]
        if frame["revision"] >= tally.last.get(entry.learner_id, frame)["revision"]:
            tally.last[entry.learner_id] = frame

    def _fail(self, entry: Entry, frame: dict[str, Any]) -> None:
        code = str(frame.get("code"))
        if frame.get("retryable"):
            self._tally.retryable[code] = self._tally.retryable.get(code, 0) + 1
            self._tally.without_pause += "retry_after_ms" not in frame
            self._again.append(entry)
            pause_s = max(float(frame.get("retry_after_ms") or 0) / 1000, 0.05)
            self._hold_until = time.monotonic() + pause_s
            return
        self._tally.errors[code] = self._tally.errors.get(code, 0) + 1
        if len(self._tally.examples) < MAX_EXAMPLES:
            self._tally.examples.append(
                f"line {entry.line} ({entry.learner_id}): {code}: {frame.get('error')}"
            )

    def _take_back(self) -> None:
        """Queue again what no answer came for."""
        self._queue_again([entry for entry, _ in self._in_flight.values()] + self._again)
        self._in_flight.clear()
        self._again.clear()

    def _queue_again(self, entries: Iterable[Entry]) -> None:
        self._queue.extendleft(
            sorted(entries, key=lambda entry: self._place[entry.line], reverse=True)
        )


def _lifetime_s(socket: Socket) -> float:
    until = datetime.fromisoformat(socket.established["expires_at"])
    return max(RENEW_BEFORE_S + 1, (until - datetime.now(UTC)).total_seconds())
