"""Interactions wait here from the moment they are given until the server has committed or refused
them. Each is always sent under the same `interaction_id`: nothing is lost or counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from aivo_client.errors import AivoError
from aivo_client.frames import Frame
from aivo_client.step import Step
from aivo_client.values import Remove, Save, Settled, Waiting

_WAITED_S = 1.0
"""After so long an interaction says when it happened."""


class Outbox:
    """All that wait, the oldest first."""

    def __init__(self) -> None:
        """Begin empty."""
        self._items: dict[str, Waiting] = {}
        self._paused_until = 0.0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._items)

    def add(self, step: Step, item: Waiting) -> None:
        """Take one in, which is kept before it is sent; again is harmless."""
        if item.id in self._items:
            return
        if len(self._items) >= step.config.queue_items:
            error = AivoError("queue_full", "Too many interactions wait already.", id=item.id)
            step.effects.append(Settled(item.id, error))
            return
        self._items[item.id] = item
        step.effects.append(Save(item))

    def load(self, items: Iterable[Waiting]) -> None:
        """Take in what an earlier process left."""
        for item in items:
            self._items.setdefault(item.id, item.sent(None))
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
            self._items[item.id] = item.sent(None)
            wait_ms = frame.get("retry_after_ms")
            self.pause(step, step.backoff(2) if wait_ms is None else wait_ms / 1000)
        else:
            self._settle(step, item.id, error)
        return True

    def pause(self, step: Step, seconds: float) -> None:
        """Send none for a while."""
        self._paused_until = max(self._paused_until, step.now + seconds)

    def forget_sent(self) -> None:
        """The connection is lost: nothing counts as sent."""
        self._paused_until = 0.0
        self._items = {id: item.sent(None) for id, item in self._items.items()}

    def give_up_largest(self, step: Step) -> None:
        """A frame was too big: of those under way the largest is the culprit."""
        sent = [item for item in self._items.values() if item.sent_at is not None]
        if sent:
            worst = max(sent, key=lambda item: len(json.dumps(item.data)))
            self._settle(step, worst.id, AivoError("too_big", id=worst.id))

    def pump(self, step: Step, skew_s: float) -> float:
        """Send what is due; returns after how many seconds there may be more to do."""
        self._expire(step)
        resend_s = step.config.answer_s
        due = [
            item
            for item in self._items.values()
            if item.sent_at is None or item.sent_at + resend_s <= step.now
        ]
        if due and self._paused_until > step.now:
            return self._paused_until - step.now
        places = step.config.max_in_flight - (len(self._items) - len(due))
        for item in due[: max(0, min(places, int(step.budget)))]:
            step.send(_frame(item, step.wall, skew_s))
            self._items[item.id] = item.sent(step.now)
        if any(item.sent_at is None for item in self._items.values()) and step.budget < 1.0:
            return 0.0
        waits = [
            item.sent_at + resend_s - step.now
            for item in self._items.values()
            if item.sent_at is not None
        ]
        return min(waits, default=float("inf"))

    def _expire(self, step: Step) -> None:
        oldest = step.wall - step.config.queue_age_s
        for item in [one for one in self._items.values() if one.queued_at < oldest]:
            self._settle(step, item.id, AivoError("expired", id=item.id))

    def _settle(self, step: Step, id: str, answer: Frame | AivoError) -> None:
        if self._items.pop(id, None) is not None:
            step.effects += [Remove(id), Settled(id, answer)]


def _frame(item: Waiting, wall: float, skew_s: float) -> Frame:
    """Return the frame; one that waited says when it happened, by the server's clock."""
    data = dict(item.data)
    if "occurred_at" not in data and wall - item.queued_at >= _WAITED_S:
        happened = datetime.fromtimestamp(item.queued_at + skew_s, UTC)
        data["occurred_at"] = happened.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": "virtual_brain_interact", "id": item.id, "data": data}
