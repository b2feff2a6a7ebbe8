"""What the application wants while connected: learners to watch, rooms to be in. It survives every
reconnect; subscriptions resume where the last update left off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aivo_client.errors import AivoError
from aivo_client.frames import Frame
from aivo_client.step import Step
from aivo_client.values import Denied, Mode, Shown

LEARNER, ROOM = "learner", "room"

PENDING, ASKED, ACTIVE, REFUSED, HELD = "pending", "asked", "active", "refused", "held"


@dataclass(slots=True)
class Wish:
    """One learner to watch, or one room to be in."""

    kind: str
    key: str
    mode: Mode = "latest"
    min_interval_s: float = 0.0
    status: str = PENDING
    asked_as: str = ""
    asked_at: float = 0.0
    not_before: float = 0.0


@dataclass(slots=True)
class Seen:
    """The position of the updates shown for a learner."""

    epoch: str
    revision: int


class Wishes:
    """All wishes, and the position of each learner."""

    def __init__(self) -> None:
        """Begin with none."""
        self._wishes: dict[tuple[str, str], Wish] = {}
        self._seen: dict[str, Seen] = {}
        self._serial = 0
        self._calm = True
        """Whether nothing is to be requested: nearly always."""

    def want(self, kind: str, key: str, mode: Mode = "latest", min_interval_s: float = 0.0) -> None:
        """Want this; requested again if it is wanted differently or was refused before."""
        old = self._wishes.get((kind, key))
        if (
            old is None
            or (old.mode, old.min_interval_s) != (mode, min_interval_s)
            or old.status == REFUSED
        ):
            self._wishes[kind, key] = Wish(kind, key, mode, min_interval_s)
            self._calm = False

    def unwant(self, step: Step, kind: str, key: str, *, is_open: bool) -> None:
        """Want it no more."""
        wish = self._wishes.pop((kind, key), None)
        if kind == LEARNER:
            self._seen.pop(key, None)
        if wish is not None and is_open and wish.status in (ASKED, ACTIVE):
            step.send(self._leave(wish))

    def hold(self, step: Step, learner_id: str, *, is_open: bool) -> None:
        """Let updates of a learner wait in the server's log: the reader is behind."""
        wish = self._wishes.get((LEARNER, learner_id))
        if wish is not None and wish.status in (ASKED, ACTIVE):
            if is_open:
                step.send(self._leave(wish))
            wish.status = HELD

    def go_on(self, learner_id: str) -> None:
        """Ask for what waited."""
        wish = self._wishes.get((LEARNER, learner_id))
        if wish is not None and wish.status == HELD:
            wish.status, wish.not_before = PENDING, 0.0
            self._calm = False

    def forget_asked(self) -> None:
        """The connection is lost: nothing was asked for."""
        for wish in self._wishes.values():
            if wish.status != HELD:
                wish.status = PENDING
            wish.asked_as, wish.not_before = "", 0.0
        self._calm = False

    # Frames

    def subscribed(self, step: Step, frame: Frame) -> None:
        """A subscription is granted; the frame carries the present state, if there is one."""
        wish = self._wishes.get((LEARNER, frame["learner_id"]))
        if wish is None or wish.status == HELD or frame.get("id") not in (None, wish.asked_as):
            return
        wish.status, wish.asked_as = ACTIVE, ""
        self._show(step, frame)

    def updated(self, step: Step, frame: Frame) -> None:
        """A state has moved. In `every` mode a gap means that something was lost: request again."""
        wish = self._wishes.get((LEARNER, frame["learner_id"]))
        if wish is None or wish.status == HELD:
            return
        seen = self._seen.get(frame["learner_id"])
        expected = None if seen is None or seen.epoch != frame["epoch"] else seen.revision + 1
        if wish.mode == "every" and expected is not None and frame["revision"] > expected:
            if wish.status == ACTIVE:
                wish.status, wish.not_before = PENDING, 0.0
                self._calm = False
            return
        self._show(step, frame)

    def unsubscribed(self, step: Step, frame: Frame) -> None:
        """Only one with a code is the server's doing."""
        wish = self._wishes.get((LEARNER, frame["learner_id"]))
        if wish is not None and frame.get("code"):
            error = AivoError(frame["code"], retryable=bool(frame.get("retryable")))
            self._end(step, wish, error, None)

    def joined(self, frame: Frame) -> None:
        """We are in a room."""
        wish = self._wishes.get((ROOM, frame["room_id"]))
        if wish is not None:
            wish.status, wish.asked_as = ACTIVE, ""

    def refused(self, step: Step, frame: Frame, error: AivoError) -> bool:
        """An error may answer a wish: request again later, or not at all. Returns whether it
        does.
        """
        id = frame.get("id")
        for wish in self._wishes.values():
            if id and wish.asked_as == id:
                self._end(step, wish, error, frame.get("retry_after_ms"))
                return True
        return False

    def pump(self, step: Step) -> float:
        """Request what is due; returns the seconds until there may be more to do."""
        soonest = float("inf")
        if self._calm:
            return soonest
        for wish in self._wishes.values():
            if wish.status not in (PENDING, ASKED):
                continue
            asked = wish.status == ASKED
            due = wish.asked_at + step.config.answer_s if asked else wish.not_before
            if due > step.now:
                soonest = min(soonest, due - step.now)
            elif step.budget < 1.0:
                return 0.0
            else:
                step.send(self._ask(wish))
                wish.status, wish.asked_at = ASKED, step.now
                soonest = min(soonest, step.config.answer_s)
        self._calm = soonest == float("inf")
        return soonest

    def __iter__(self) -> Iterator[Wish]:
        """Go over all that is wanted."""
        return iter(self._wishes.values())

    def _ask(self, wish: Wish) -> Frame:
        wish.asked_as = self._next_id()
        if wish.kind == ROOM:
            return {"type": "join_room", "room_id": wish.key, "id": wish.asked_as}
        seen = self._seen.get(wish.key)
        return {
            "type": "subscribe_learner",
            "learner_id": wish.key,
            "id": wish.asked_as,
            "resume": seen and {"epoch": seen.epoch, "revision": seen.revision},
            "mode": None if wish.mode == "latest" else wish.mode,
            "min_interval_ms": round(wish.min_interval_s * 1000) or None,
        }

    def _leave(self, wish: Wish) -> Frame:
        if wish.kind == ROOM:
            return {"type": "leave_room", "room_id": wish.key, "id": self._next_id()}
        return {"type": "unsubscribe_learner", "learner_id": wish.key, "id": self._next_id()}

    def _next_id(self) -> str:
        self._serial += 1
        return f"w{self._serial}"

    def _show(self, step: Step, frame: Frame) -> None:
        """Show it unless something as new was shown already."""
        learner_id, state = frame["learner_id"], frame.get("state")
        epoch, revision = frame.get("epoch") or "", frame.get("revision") or 0
        seen = self._seen.get(learner_id)
        if seen is not None and seen.epoch == epoch and revision <= seen.revision:
            return
        self._seen[learner_id] = Seen(epoch, revision)
        if state is not None:
            step.effects.append(Shown(learner_id, frame))

    def _end(self, step: Step, wish: Wish, error: AivoError, after_ms: Any) -> None:
        wish.asked_as = ""
        if error.retryable:
            wish.status = PENDING
            self._calm = False
            wish.not_before = step.now + (step.backoff(2) if after_ms is None else after_ms / 1000)
        else:
            wish.status = REFUSED
            step.effects.append(Denied(wish.kind, wish.key, error))
