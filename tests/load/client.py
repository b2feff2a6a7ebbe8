"""One client of the load test: sends numbered requests within the told limits, matches answers,
comes back when cut.

What it sees goes to the tally (times and counts) and to the verdict (promises). It decides nothing
about load.
"""

from __future__ import annotations

import asyncio
import random
import socket as sockets
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from edge.admission.limits import TokenBucket
from harness import traffic
from harness.wire import HandshakeError, Socket, ignore, json_frame, log_in
from tests.load.tally import INTERACT, PING, READ, SelfCheck, Tally
from tests.load.verdict import DUPLICATED, LOST, Verdict, View, Writes

GREETING_TIMEOUT_S: Final = 15.0
_MARGIN: Final = 0.9
"""Part of a told limit that is used, because frames do not arrive as evenly as they are sent."""
_SMALL_BUFFER: Final = 4096
_LARGE_BUFFER: Final = 1 << 20
_BACKOFF_MAX_S: Final = 5.0
_STAY_CLOSED: Final = frozenset({1000, 4400, 4401, 4403})
_ANSWERS: Final = {"pong": PING, "virtual_brain_response": INTERACT, "state_response": READ}


class RefusedError(Exception):
    """The server would not have this client; the message says why."""


class Frame(msgspec.Struct):
    """What the load test reads of any frame from the server."""

    type: str
    id: str | int | None = None
    learner_id: str = ""
    epoch: str = ""
    revision: int = -1
    coalesced: int = 0
    code: str = ""
    error: str = ""
    expires_at: str = ""
    user: dict[str, Any] = {}
    limits: dict[str, float] = {}
    reconnect_after_ms: float = 0.0


_decode = msgspec.json.Decoder(Frame).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the socket is."""

    host: str
    """An address, so that every connection goes where the first went."""
    port: int
    name: str
    """The server's, in requests and certificates."""
    path: str = "/ws"
    tls: ssl.SSLContext | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """What all clients of one run share."""

    target: Target
    tally: Tally = field(default_factory=Tally)
    verdict: Verdict = field(default_factory=Verdict)
    self_check: SelfCheck = field(default_factory=SelfCheck)
    writes: Writes = field(init=False)
    over: bool = False
    """True when nobody need come back."""

    def __post_init__(self) -> None:
        """Let writes be judged by the same verdict."""
        self.writes = Writes(self.verdict)


@dataclass(slots=True, eq=False)
class Request:
    """A request that is due, sent or not."""

    kind: str
    due: float
    number: int = 0
    frame: bytes = b""
    revision: asyncio.Future[int | None] | None = None
    """Of a read that is no part of the load: gets the answer, None for an error."""


class Client:
    """One client. It acts for `drives`, if any, and watches the learners of `watches` (True: every
    revision).
    """

    def __init__(
        self,
        run: Run,
        number: int,
        *,
        token: str,
        drives: str | None,
        watches: dict[str, bool],
        slow: bool = False,
    ) -> None:
        self.number = number
        self.drives = drives
        self.slow = slow
        self.greeting: Frame | None = None
        """The last `connection_established`; None while not connected."""
        self.stayed_away = False
        """True when the server does not want this client back."""
        self._run = run
        self._token = token
        self._watches = watches
        name = f"client {number}"
        seen = watches if drives is None else {drives: False} | watches
        self._views = {
            one: View(run.verdict, name, one, every=every) for one, every in seen.items()
        }
        self._frames = traffic.Interactions(drives) if drives is not None else None
        self._socket: Socket | None = None
        self._numbers = 0
        self._pending: dict[int, Request] = {}
        self._in_flight = 0
        self._backlog: deque[Request] = deque()
        self._subscribing: dict[int, str] = {}
        self._bucket = TokenBucket(rate=0, burst=1, now=0)
        self._in_flight_max = 1
        self._reconnect_after_s = 0.0
        self._coming_back: asyncio.Task[None] | None = None

    # Connecting

    async def open(self) -> None:
        """Connect, authenticate and subscribe. Raises RefusedError."""
        target = self._run.target
        try:
            self._socket, greeting = await log_in(
                target.host,
                target.port,
                self._token,
                self._on_text,
                self._on_lost,
                path=target.path,
                name=target.name,
                tls=target.tls,
                timeout_s=GREETING_TIMEOUT_S,
            )
        except (OSError, HandshakeError, TimeoutError) as error:
            self._drop()
            raise RefusedError(_reason(error)) from error
        self._obey(msgspec.convert(greeting, Frame))
        for learner_id, every in self._watches.items():
            self._subscribe(learner_id, every)
        self.pump()

    def _obey(self, greeting: Frame) -> None:
        limits = greeting.limits
        self._bucket = TokenBucket(
            rate=limits.get("frames_per_second", 0) * _MARGIN,
            burst=max(1.0, limits.get("burst", 1) * _MARGIN - 1),
            now=time.monotonic(),
        )
        self._in_flight_max = max(1, int(limits.get("in_flight", 64)) - 1)
        self.greeting = greeting

    def _subscribe(self, learner_id: str, every: bool) -> None:
        self._numbers = number = self._numbers + 1
        self._subscribing[number] = learner_id
        self._bucket.take(time.monotonic())
        message = {"type": "subscribe_learner", "learner_id": learner_id, "id": str(number)}
        if every:
            message["mode"] = "every"
        if resume := self._views[learner_id].resume:
            message["resume"] = resume  # type: ignore[assignment]
        assert self._socket is not None
        self._socket.transport.write(json_frame(message))

    def cut(self) -> None:
        """Lose the socket on purpose and come back at once; what was under way is sent again."""
        if self.greeting is not None:
            self._run.tally.cuts += 1
            self._drop()
            self._come_back(0.0)

    def _drop(self) -> None:
        lost, self._socket, self.greeting = self._socket, None, None
        if lost is not None:
            lost.on_text, lost.on_lost = ignore, None
            lost.transport.abort()
        again = [self._pending[number] for number in sorted(self._pending)]
        self._backlog.extendleft(reversed(again))
        self._pending.clear()
        self._subscribing.clear()
        self._in_flight = 0
        for view in self._views.values():
            view.reconnected()

    def _on_lost(self, lost: Socket) -> None:
        if self.greeting is None:
            return
        self._drop()
        self._run.tally.closes[str(lost.close_code)] += 1
        if lost.close_code in _STAY_CLOSED:
            self.stayed_away = True
        else:
            self._come_back(self._reconnect_after_s or random.uniform(0.0, 0.5))

    def _come_back(self, after_s: float) -> None:
        if not self._run.over:
            self._coming_back = asyncio.create_task(self._keep_trying(after_s))

    async def _keep_trying(self, after_s: float) -> None:
        lost_at = time.perf_counter()
        backoff = 0.25
        while not self._run.over:
            await asyncio.sleep(after_s)
            try:
                await self.open()
            except RefusedError as refused:
                self._run.tally.errors[f"reconnect: {refused}"] += 1
                after_s = random.uniform(backoff / 2, backoff)
                backoff = min(_BACKOFF_MAX_S, backoff * 2)
            else:
                self._run.tally.reconnect.record(time.perf_counter() - lost_at)
                return

    # Requests

    def request(self, kind: str, due: float) -> None:
        """Send a request that is due (perf_counter), as soon as socket and limits allow."""
        self._run.tally.requested += 1
        self._backlog.append(Request(kind, due))
        self.pump()
        if self._backlog:
            if self.greeting is not None:
                self._run.tally.held_back += 1
        else:
            self._run.self_check.late.record(time.perf_counter() - due)

    def ask_revision(self) -> asyncio.Future[int | None]:
        """Read where the own learner stands, outside of the load; None when the server gives an
        error.
        """
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._backlog.append(Request(READ, time.perf_counter(), revision=answer))
        self.pump()
        return answer

    def pump(self) -> None:
        """Send what waits, within the limits that the server told."""
        while self._backlog and self.greeting is not None:
            request = self._backlog[0]
            if request.kind == INTERACT and self._in_flight >= self._in_flight_max:
                return
            if self._bucket.take(time.monotonic()):
                return
            self._backlog.popleft()
            self._send(request)

    def _send(self, request: Request) -> None:
        tally = self._run.tally
        if request.frame:
            tally.resent += 1
        else:
            tally.sent += request.revision is None
            self._numbers = request.number = self._numbers + 1
            request.frame = self._frame(request)
        self._pending[request.number] = request
        self._in_flight += request.kind == INTERACT
        assert self._socket is not None
        self._socket.transport.write(request.frame)

    def _frame(self, request: Request) -> bytes:
        if request.kind == PING:
            return traffic.ping(request.number)
        if request.kind == READ:
            return json_frame({"type": READ, "learner_id": self.drives, "id": str(request.number)})
        assert self._frames is not None
        return self._frames.frame(request.number)

    # Frames

    def _on_text(self, payload: bytes) -> None:
        now = time.perf_counter()
        try:
            frame = _decode(payload)
        except msgspec.DecodeError:
            self._run.tally.errors["not a frame of the protocol"] += 1
            return
        kind = frame.type
        if kind == "state_update":
            self._on_update(frame, now)
        elif kind in _ANSWERS:
            self._on_answer(frame, now)
        elif kind == "subscribed":
            self._on_subscribed(frame)
        elif kind == "error":
            self._on_error(frame)
        elif kind == "server_draining":
            self._reconnect_after_s = frame.reconnect_after_ms / 1000
        elif kind == "unsubscribed":
            self._run.tally.errors[f"unsubscribed: {frame.code}"] += 1

    def _on_answer(self, frame: Frame, now: float) -> None:
        request = self._answered(frame)
        if request is None:
            example = (
                f"client {self.number}: {frame.type} with id {frame.id!r}, which is not (or no"
                " more) asked"
            )
            self._run.verdict.found(DUPLICATED, example)
            return
        if _ANSWERS[frame.type] != request.kind:
            example = (
                f"client {self.number}: {request.kind} {request.number} was answered by"
                f" {frame.type}"
            )
            self._run.verdict.found(LOST, example)
            return
        if request.revision is None:
            self._run.tally.in_time(request.kind, now - request.due)
        elif not request.revision.done():
            request.revision.set_result(frame.revision)
        view = self._views.get(frame.learner_id)
        if request.kind == READ and view is not None:
            view.read(frame.revision)
        elif request.kind == INTERACT and view is not None:
            view.acknowledged(frame.revision)
            self._run.writes.acknowledged(frame.learner_id, frame.revision)
            self._run.tally.deliveries.caused(frame.learner_id, frame.revision, request.due)
        self.pump()

    def _answered(self, frame: Frame) -> Request | None:
        try:
            request = self._pending.pop(int(frame.id), None)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        if request is not None:
            self._in_flight -= request.kind == INTERACT
        return request

    def _on_update(self, frame: Frame, now: float) -> None:
        tally = self._run.tally
        tally.updates += 1
        tally.coalesced += frame.coalesced
        view = self._views.get(frame.learner_id)
        if view is None:
            tally.errors["update of a learner who is not watched"] += 1
            return
        view.updated(frame.revision, frame.coalesced)
        if not self.slow:
            tally.deliveries.arrived(frame.learner_id, frame.revision, now)

    def _on_subscribed(self, frame: Frame) -> None:
        view = self._views.get(frame.learner_id)
        if view is not None:
            view.subscribed(frame.epoch, frame.revision)
        self._subscribing = {
            number: one for number, one in self._subscribing.items() if one != frame.learner_id
        }

    def _on_error(self, frame: Frame) -> None:
        self._run.tally.errors[frame.code] += 1
        request = self._answered(frame)
        if request is None and str(frame.id).isdecimal():
            self._subscribing.pop(int(str(frame.id)), None)
        elif request is not None and request.revision is not None and not request.revision.done():
            request.revision.set_result(None)
        self.pump()

    # Slow readers, and the end

    def read(self, yes: bool) -> None:
        """Take frames from the socket, or leave them there."""
        if self._socket is None or self.greeting is None:
            return
        transport = self._socket.transport
        # While nothing is read, little may wait here: the server is what should notice.
        size = _LARGE_BUFFER if yes else _SMALL_BUFFER
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, size)
        (transport.resume_reading if yes else transport.pause_reading)()

    def settled(self, newest: dict[str, int]) -> bool:
        """Tell whether everything is answered and every watched learner is shown as it was
        acknowledged last.
        """
        if self.stayed_away:
            return True
        if self._backlog or self._pending or self._subscribing or self.greeting is None:
            return False
        return all(self._views[one].revision >= newest.get(one, 0) for one in self._watches)

    def end(self) -> None:
        """Judge what is still missing and leave."""
        tally, verdict = self._run.tally, self._run.verdict
        for request in [*self._pending.values(), *self._backlog]:
            if request.frame:
                verdict.found(
                    LOST,
                    f"client {self.number}: {request.kind} {request.number} was never answered",
                )
            else:
                tally.never_sent += 1
        for learner_id in self._watches if not self.stayed_away else ():
            self._views[learner_id].end(self._run.writes.newest.get(learner_id, 0))
        self._backlog.clear()
        self._pending.clear()
        if self._coming_back is not None:
            self._coming_back.cancel()
        self._drop()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
