"""Interactions wait here until the server has committed or refused them. Each is always sent under
the same `interaction_id`: nothing is lost or counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

from aivo_client.errors import AivoError
from aivo_client.frames import Frame
from aivo_client.step import Step
from aivo_client.values import Remove, Save, Settled, Waiting

_WAITED_S = 1.0
"""After this long an interaction is sent with its time."""


class Outbox:
    """All waiting interactions, oldest first."""

    def __init__(self) -> None:
        """Begin empty."""
        self._items: dict[str, Waiting] = {}
        """In the order of submission."""
        self._sent: dict[str, float] = {}
        """When each one in flight was sent on this connection (monotonic), in that order."""
        self._paused_until = 0.0
        self._in_flight_max: float = float("inf")

    def __len__(self) -> int:
        """How many wait."""
        return len(self._items)

    def add(self, step: Step, item: Waiting) -> None:
        """Add one, which is stored before it is sent; harmless twice."""
        if item.id in self._items:
            return
        if len(self._items) >= step.config.queue_items:
            error = AivoError("queue_full", "Too many interactions wait already.", id=item.id)
            step.effects.append(Settled(item.id, error))
            return
        self._items[item.id] = item
        step.effects.append(Save(item))

    def load(self, items: Iterable[Waiting]) -> None:
        """Add what an earlier process left."""
        for item in items:
            self._items.setdefault(item.id, item)
        self._items = dict(sorted(self._items.items(), key=lambda pair: pair[1].queued_at))

    def acknowledged(self, step: Step, frame: Frame) -> None:
        """The server has committed one."""
        self._settle(step, frame.get("interaction_id") or frame.get("id") or "", frame)

    def refused(self, step: Step, frame: Frame, error: AivoError) -> bool:
        """The server refuses one, for now or for good; returns whether it is one of these."""
        item = self._items.get(frame.get("id") or "")
        if item is None:
            return False
        if error.retryable or error.code == "unauthenticated":
            self._sent.pop(item.id, None)
            wait_ms = frame.get("retry_after_ms")
            self.pause(step, step.backoff(2) if wait_ms is None else wait_ms / 1000)
        else:
            self._settle(step, item.id, error)
        return True

    def allow(self, in_flight: float | None) -> None:
        """Obey the server's limit of interactions in flight. One place stays free: an answered one
        may count a moment longer than its answer travels.
        """
        self._in_flight_max = max(1, in_flight - 1) if in_flight else float("inf")

    def pause(self, step: Step, seconds: float) -> None:
        """Send none for a while."""
        self._paused_until = max(self._paused_until, step.now + seconds)

    def forget_sent(self) -> None:
        """The connection is lost: nothing counts as sent."""
        self._paused_until = 0.0
        self._sent.clear()

    def give_up_largest(self, step: Step) -> None:
        """A frame was too big: drop the largest one in flight."""
        sent = [self._items[id] for id in self._sent]
        if sent:
            worst = max(sent, key=lambda item: len(json.dumps(item.data)))
            self._settle(step, worst.id, AivoError("too_big", id=worst.id))

    def pump(self, step: Step, skew_s: float) -> float:
        """Send what is due; returns the seconds until there may be more to do."""
        self._expire(step)
        self._give_up_waiting(step)
        waits = len(self._items) > len(self._sent)
        if waits and self._paused_until > step.now:
            return self._paused_until - step.now
        if waits:
            self._send(step, skew_s)
        if len(self._items) > len(self._sent) and step.budget < 1.0:
            return 0.0
        if not self._sent:
            return float("inf")
        return next(iter(self._sent.values())) + step.config.answer_s - step.now

    def _give_up_waiting(self, step: Step) -> None:
        """Unanswered ones count as not sent after a while."""
        overdue = step.now - step.config.answer_s
        while self._sent:
            id, at = next(iter(self._sent.items()))
            if at > overdue:
                return
            del self._sent[id]

    def _send(self, step: Step, skew_s: float) -> None:
        most = min(step.config.max_in_flight, self._in_flight_max)
        places = max(0, min(int(most) - len(self._sent), int(step.budget)))
        unsent = (item for id, item in self._items.items() if id not in self._sent)
        for item in list(islice(unsent, places)):
            step.send(_frame(item, step.wall, skew_s))
            self._sent[item.id] = step.now

    def _expire(self, step: Step) -> None:
        oldest = step.wall - step.config.queue_age_s
        while self._items:
            item = next(iter(self._items.values()))
            if item.queued_at >= oldest:
                return
            self._settle(step, item.id, AivoError("expired", id=item.id))

    def _settle(self, step: Step, id: str, answer: Frame | AivoError) -> None:
        self._sent.pop(id, None)
        if self._items.pop(id, None) is not None:
            step.effects += [Remove(id), Settled(id, answer)]


def _frame(item: Waiting, wall: float, skew_s: float) -> Frame:
    """Return the frame; one that waited carries its time by the server's clock."""
    data = dict(item.data)
    if "occurred_at" not in data and wall - item.queued_at >= _WAITED_S:
        happened = datetime.fromtimestamp(item.queued_at + skew_s, UTC)
        data["occurred_at"] = happened.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": "virtual_brain_interact", "id": item.id, "data": data}
