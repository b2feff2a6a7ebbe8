"""The connection without any I/O: timed events in, effects out.

`idle` (not asked for) → `token` (waiting for the application's) → `opening` → `authenticating` →
`open`; from any of them to `waiting` (for the next attempt) or `closed` (for good). It behaves as
the browser's client does (`web/src/core/machine`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from aivo_client import errors
from aivo_client.errors import AivoError, ClosedError
from aivo_client.frames import Frame
from aivo_client.keepalive import Keepalive
from aivo_client.outbox import Outbox
from aivo_client.step import Step
from aivo_client.values import (
    CancelTimers,
    Close,
    Config,
    Effect,
    GetToken,
    Lost,
    Mode,
    Open,
    Opened,
    Received,
    RefuseToken,
    Settled,
    Waiting,
)
from aivo_client.wishes import Wishes

_OWN_PACE = 40.0
"""Frames a second where the server tells no limit."""


class Machine:
    """One client's connection, its wishes, and what waits to be sent."""

    def __init__(self, config: Config, chance: Callable[[], float] = random.random) -> None:
        """Begin idle; `chance` draws from [0, 1)."""
        self.phase = "idle"
        self.outbox = Outbox()
        self.wishes = Wishes()
        self._keepalive = Keepalive(self._next_id)
        self._config = config
        self._chance = chance
        self._socket = 0
        self._request = 0
        self._serial = 0
        self._requests: deque[Frame] = deque()
        """Frames of the application that wait for the server's pace."""
        self._asked: set[str] = set()
        """Requests that wait for their answer on this connection."""
        self._attempt = 0
        self._not_before = 0.0
        self._draining = False
        self._opened_at = 0.0
        self._token = ""
        self._refused_token = ""
        self._rate, self._burst = _OWN_PACE, 2 * _OWN_PACE
        self._budget, self._budget_at = 0.0, 0.0

    @property
    def is_open(self) -> bool:
        """Whether frames reach the server."""
        return self.phase == "open"

    @property
    def skew_s(self) -> float:
        """The server's clock minus ours."""
        return self._keepalive.skew_s

    # What the application wants

    def connect(self, now: float, wall: float) -> list[Effect]:
        """Connect, and stay connected."""
        step = self._step(now, wall)
        if self.phase in ("idle", "closed", "waiting"):
            self._attempt, self._not_before, self._refused_token = 0, 0.0, ""
            self._begin(step)
        return self._done(step)

    def disconnect(self, now: float, wall: float) -> list[Effect]:
        """Close; wishes and waiting interactions are kept for the next `connect`."""
        step = self._step(now, wall)
        if self.phase not in ("idle", "closed"):
            step.effects.append(Close(1000))
        self._forget(step)
        self.phase = "idle"
        return self._done(step)

    def interact(self, item: Waiting, now: float, wall: float) -> list[Effect]:
        """Take an interaction in and send it as soon as possible."""
        step = self._step(now, wall)
        self.outbox.add(step, item)
        return self._done(step)

    def load(self, items: Iterable[Waiting], now: float, wall: float) -> list[Effect]:
        """Take in interactions that an earlier process left."""
        step = self._step(now, wall)
        self.outbox.load(items)
        return self._done(step)

    def want(
        self,
        kind: str,
        key: str,
        now: float,
        wall: float,
        *,
        mode: Mode = "latest",
        min_interval_s: float = 0.0,
    ) -> list[Effect]:
        """Want to watch a learner, or to be in a room, from now on."""
        step = self._step(now, wall)
        self.wishes.want(kind, key, mode, min_interval_s)
        return self._done(step)

    def unwant(self, kind: str, key: str, now: float, wall: float) -> list[Effect]:
        """Want it no more."""
        step = self._step(now, wall)
        self.wishes.unwant(step, kind, key, is_open=self.is_open)
        return self._done(step)

    def hold(self, learner_id: str, now: float, wall: float) -> list[Effect]:
        """Let a learner's updates wait in the server's log."""
        step = self._step(now, wall)
        self.wishes.hold(step, learner_id, is_open=self.is_open)
        return self._done(step)

    def go_on(self, learner_id: str, now: float, wall: float) -> list[Effect]:
        """Ask for the updates that waited."""
        step = self._step(now, wall)
        self.wishes.go_on(learner_id)
        return self._done(step)

    def send(self, frame: Frame, now: float, wall: float) -> list[Effect]:
        """Send a frame as soon as the server's pace allows, ahead of waiting interactions. Nothing
        is sent when not open; check `is_open`.
        """
        step = self._step(now, wall)
        if self.is_open:
            self._requests.append(frame)
            if id := frame.get("id"):
                self._asked.add(id)
        return self._done(step)

    def token_changed(self, now: float, wall: float) -> list[Effect]:
        """There is another token: use it, in place when connected."""
        step = self._step(now, wall)
        if self.is_open:
            self._ask_token(step)
        return self._done(step)

    # What happens

    def token(
        self, request: int, token: str, now: float, wall: float, *, error: AivoError | None = None
    ) -> list[Effect]:
        """A token arrived; empty when there is none, with `error` if known. A refused one is never
        sent twice.
        """
        step = self._step(now, wall)
        if request != self._request:
            return []
        after_s = (error and error.retry_after_s) or 0.0
        if self.phase == "token":
            if isinstance(error, ClosedError):
                self._forget(step)
                self._stay_closed(step, error)
            elif not token or token == self._refused_token:
                self._not_before = max(self._not_before, now + after_s)
                self._retry(step, ClosedError("no_token", "There is no (other) token."))
            else:
                self.phase, self._token = "opening", token
                self._socket += 1
                step.effects.append(Open(self._socket))
        elif self.is_open:
            if not token or token == self._token:
                self._keepalive.refresh_later(step, after_s)
            else:
                self._token = token
                step.send({"type": "authenticate", "token": token, "id": self._next_id("auth")})
        return self._done(step)

    def opened(self, socket: int, now: float, wall: float) -> list[Effect]:
        """The socket is open: authenticate."""
        step = self._step(now, wall)
        if socket != self._socket or self.phase != "opening":
            return []
        self.phase = "authenticating"
        self._keepalive.heard(now)
        step.send({"type": "authenticate", "token": self._token})
        return self._done(step)

    def closed(self, socket: int, code: int, now: float, wall: float) -> list[Effect]:
        """The socket is closed, or could not be opened."""
        step = self._step(now, wall)
        if socket != self._socket or self.phase in ("idle", "closed", "waiting", "token"):
            return []
        self._on_closed(step, code)
        return self._done(step)

    def received(self, socket: int, frame: Frame, now: float, wall: float) -> list[Effect]:
        """A frame arrived."""
        step = self._step(now, wall)
        if socket != self._socket or self.phase not in ("authenticating", "open"):
            return []
        self._keepalive.heard(now)
        handler = _HANDLERS.get(frame.get("type", ""))
        if handler is not None:
            handler(self, step, frame)
        step.effects.append(Received(frame))
        if frame.get("id") in self._asked:
            self._asked.discard(frame["id"])
            step.effects.append(Settled(frame["id"], frame))
        return self._done(step)

    def woken(self, timer: str, now: float, wall: float) -> list[Effect]:
        """A timer fired."""
        step = self._step(now, wall)
        if timer == "reconnect" and self.phase == "waiting":
            self._begin(step)
        elif timer == "attempt" and self.phase in ("token", "opening", "authenticating"):
            self._dead(step)
        elif timer == "heartbeat" and self.is_open:
            self._keepalive.due(step)
        elif timer == "pong" and self.is_open and self._keepalive.waits:
            self._dead(step)
        elif timer == "refresh" and self.is_open:
            self._ask_token(step)
        elif timer == "drain" and self._draining and self.is_open:
            step.effects.append(Close(1000))
            self._on_closed(step, 1012)
        return self._done(step)

    # The connection's life

    def _begin(self, step: Step) -> None:
        self.phase = "token"
        step.wake("attempt", self._config.attempt_s)
        self._ask_token(step)

    def _ask_token(self, step: Step) -> None:
        self._request += 1
        step.effects.append(GetToken(self._request))

    def _dead(self, step: Step) -> None:
        """Close the socket and treat it as lost: a dead one may take minutes to report that."""
        step.effects.append(Close(errors.DEAD))
        self._on_closed(step, errors.DEAD)

    def _on_closed(self, step: Step, code: int) -> None:
        if code == errors.BAD_TOKEN:
            self._refused_token = self._token
            step.effects.append(RefuseToken())
        if code == errors.TOO_BIG:
            self.outbox.give_up_largest(step)
        if self.is_open and step.now - self._opened_at >= self._config.stable_s:
            self._attempt = 0
        drained = self._draining
        self._forget(step)
        if code in errors.STAY_CLOSED:
            said = f"The server closed the connection for good ({code})."
            self._stay_closed(step, ClosedError("closed", said, close_code=code))
            return
        said = f"The connection was lost ({code})."
        error = ClosedError("connection_lost", said, close_code=code)
        self._retry(step, error, drained=drained)

    def _retry(self, step: Step, error: ClosedError, *, drained: bool = False) -> None:
        most = self._config.max_attempts
        if most is not None and self._attempt >= most:
            self._stay_closed(step, error)
            return
        # The server has jittered the delay that it names when it drains.
        extra_s = 0.0 if drained else step.backoff(self._attempt)
        self._attempt += 1
        self.phase = "waiting"
        step.effects.append(Lost(error.close_code, None))
        step.wake("reconnect", max(0.0, self._not_before - step.now) + extra_s)

    def _stay_closed(self, step: Step, error: ClosedError) -> None:
        self.phase = "closed"
        step.effects.append(Lost(error.close_code, error))

    def _forget(self, step: Step) -> None:
        """Reset the state of the last connection."""
        step.effects.append(CancelTimers())
        self._socket += 1
        self._request += 1
        self._draining = False
        self._keepalive.end()
        lost = AivoError("connection_lost", "The connection was lost.", retryable=True)
        step.effects += [Settled(id, lost) for id in sorted(self._asked)]
        self._asked.clear()
        self._requests.clear()
        self.outbox.forget_sent()
        self.wishes.forget_asked()

    # Frames

    def _established(self, step: Step, frame: Frame) -> None:
        if self.phase != "authenticating":
            return
        limits = frame.get("limits") or {}
        rate = float(limits.get("frames_per_second") or 0.0) * self._config.pace
        self._rate = rate or _OWN_PACE
        self._burst = max(1.0, float(limits.get("burst") or 0) * self._config.pace)
        if not rate:
            self._rate, self._burst = 1e6, 1e6  # no limit
        self.outbox.allow(limits.get("in_flight"))
        self.phase, self._opened_at, self._not_before = "open", step.now, 0.0
        self._refused_token = ""
        step.budget = self._burst
        self._keepalive.begin(step, frame)
        step.effects.append(Opened(frame))

    def _authenticated(self, step: Step, frame: Frame) -> None:
        self._keepalive.expect_expiry(step, frame)

    def _pong(self, step: Step, frame: Frame) -> None:
        self._keepalive.pong(step, frame)

    def _drain(self, step: Step, frame: Frame) -> None:
        after_s = float(frame.get("reconnect_after_ms") or 0) / 1000
        self._draining, self._not_before = True, step.now + after_s
        step.wake("drain", after_s)

    def _response(self, step: Step, frame: Frame) -> None:
        self.outbox.acknowledged(step, frame)

    def _error(self, step: Step, frame: Frame) -> None:
        wait_s = (frame.get("retry_after_ms") or 0) / 1000
        error = AivoError(
            frame.get("code") or "internal",
            frame.get("error") or "",
            retryable=bool(frame.get("retryable")),
            retry_after_s=wait_s or None,
            id=str(frame.get("id") or ""),
        )
        if wait_s:
            # If a close follows, this is also the time to wait before reconnecting.
            self._not_before = step.now + wait_s
            if not error.id:
                self.outbox.pause(step, wait_s)
        if self.outbox.refused(step, frame, error) or self.wishes.refused(step, frame, error):
            return
        if self.is_open and error.code == "unauthenticated":
            step.effects.append(RefuseToken())
            self._ask_token(step)
        elif self.is_open and frame.get("message_type") == "authenticate":
            # The new token is somebody else's, say: not on this socket.
            step.effects.append(Close(1000))
            self._on_closed(step, 1012)
        if error.id in self._asked:
            self._asked.discard(error.id)
            step.effects.append(Settled(error.id, error))

    def _subscribed(self, step: Step, frame: Frame) -> None:
        self.wishes.subscribed(step, frame)

    def _updated(self, step: Step, frame: Frame) -> None:
        self.wishes.updated(step, frame)

    def _unsubscribed(self, step: Step, frame: Frame) -> None:
        self.wishes.unsubscribed(step, frame)

    def _joined(self, step: Step, frame: Frame) -> None:
        self.wishes.joined(frame)

    # Steps

    def _step(self, now: float, wall: float) -> Step:
        earned = max(0.0, now - self._budget_at) * self._rate
        budget = min(self._burst, self._budget + earned)
        return Step(self._config, now, wall, self._chance, budget)

    def _done(self, step: Step) -> list[Effect]:
        """Send everything due and return the effects."""
        if self.is_open:
            soonest = min(
                self._pump(step), self.wishes.pump(step), self.outbox.pump(step, self.skew_s)
            )
            if soonest < float("inf"):
                step.wake("pump", max(soonest, 1.0 / self._rate))
        self._budget, self._budget_at = step.budget, step.now
        return step.effects

    def _pump(self, step: Step) -> float:
        """Send the application's requests; returns after how many seconds there may be more."""
        while self._requests and step.budget >= 1.0:
            step.send(self._requests.popleft())
        return 0.0 if self._requests else float("inf")

    def _next_id(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}{self._serial}"


_HANDLERS: dict[str, Callable[[Machine, Step, Frame], None]] = {
    "connection_established": Machine._established,
    "authenticated": Machine._authenticated,
    "subscribed": Machine._subscribed,
    "unsubscribed": Machine._unsubscribed,
    "state_update": Machine._updated,
    "virtual_brain_response": Machine._response,
    "room_joined": Machine._joined,
    "pong": Machine._pong,
    "server_draining": Machine._drain,
    "error": Machine._error,
}
