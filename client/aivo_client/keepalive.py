"""Keeps an open connection healthy: pings, a new token in time, and the clocks' difference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aivo_client.frames import Frame
from aivo_client.step import Step


class Keepalive:
    """The timers `heartbeat`, `pong` and `refresh` of the machine."""

    def __init__(self, next_id: Callable[[str], str]) -> None:
        """`next_id` names requests."""
        self.skew_s = 0.0
        """The server's clock minus ours."""
        self._next_id = next_id
        self._heard_at = 0.0
        self._ping = ""
        self._ping_sent = 0.0
        self._expires_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether a ping has no answer yet."""
        return bool(self._ping)

    def heard(self, now: float) -> None:
        """Data arrived from the server."""
        self._heard_at = now

    def begin(self, step: Step, established: Frame) -> None:
        """The connection is open."""
        self._ping = ""
        self._compare_clocks(step, established, 0.0)
        self.expect_expiry(step, established)
        self._arm(step)
        self._send_ping(step)

    def end(self) -> None:
        """The connection is gone, and its open requests."""
        self._ping = ""

    def due(self, step: Step) -> None:
        """Ping if nothing arrived lately."""
        if step.now - self._heard_at >= step.config.heartbeat_s:
            self._send_ping(step)
        self._arm(step)

    def pong(self, step: Step, frame: Frame) -> None:
        """A ping was answered."""
        if self._ping and frame.get("id") == self._ping:
            self._ping = ""
            self._compare_clocks(step, frame, (step.now - self._ping_sent) / 2)

    def expect_expiry(self, step: Step, frame: Frame) -> None:
        """Plan to replace the token before it expires, by two times of the server's clock."""
        until, now = _seconds(frame.get("expires_at")), _seconds(frame.get("timestamp"))
        if until is None or now is None or until <= now:
            return
        left_s = until - now
        self._expires_at = step.now + left_s
        margin_s = min(step.config.refresh_margin_s, left_s * 0.2)
        step.wake("refresh", max(1.0, left_s - margin_s * (1.0 + 0.5 * step.random())))

    def refresh_later(self, step: Step, after_s: float) -> None:
        """There is no other token yet; try again after half of the old one's remaining time."""
        step.wake("refresh", max(10.0, after_s, (self._expires_at - step.now) / 2))

    def _compare_clocks(self, step: Step, frame: Frame, travel_s: float) -> None:
        told = _seconds(frame.get("timestamp"))
        if told is not None:
            self.skew_s = told + travel_s - step.wall

    def _arm(self, step: Step) -> None:
        silent_s = step.now - self._heard_at
        step.wake("heartbeat", max(1.0, step.config.heartbeat_s - silent_s))

    def _send_ping(self, step: Step) -> None:
        if not self._ping:
            self._ping, self._ping_sent = self._next_id("ping"), step.now
            step.send({"type": "ping", "id": self._ping})
            step.wake("pong", step.config.pong_s)


def _seconds(moment: Any) -> float | None:
    """Return a time of the protocol as Unix seconds; None for an invalid one."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (TypeError, ValueError):
        return None
