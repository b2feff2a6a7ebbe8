"""A machine and all that is around it, played by hand: the application, the server, the clocks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from aivo_client import AivoError, Config, Waiting
from aivo_client.machine import Machine
from aivo_client.values import (
    Effect,
    GetToken,
    Open,
    Send,
    Wake,
)

WALL = 1_800_000_000.0


def stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(WALL + seconds, UTC).isoformat()


class World:
    """A machine, a clock, and a server that the test plays."""

    def __init__(self, **config: Any) -> None:
        self.now = 0.0
        self.machine = Machine(Config(**config), random.Random(1).random)
        self.effects: list[Effect] = []
        self.timers: dict[str, float] = {}
        self.socket = 0

    def do(self, effects: Iterable[Effect]) -> list[Effect]:
        new = list(effects)
        self.effects += new
        for one in new:
            if isinstance(one, Wake):
                self.timers[one.timer] = self.now + one.after_s
            elif isinstance(one, Open):
                self.socket = one.socket
        return new

    def at(self) -> tuple[float, float]:
        return self.now, WALL + self.now

    def frames(self, effects: Iterable[Effect]) -> list[dict[str, Any]]:
        return [one.frame for one in effects if isinstance(one, Send)]

    def of(self, kind: type, effects: Iterable[Effect] | None = None) -> list[Any]:
        return [one for one in (effects or self.effects) if isinstance(one, kind)]

    def give_token(self, token: str = "token", error: AivoError | None = None) -> list[Effect]:
        request, given = self.of(GetToken)[-1].request, "" if error else token
        return self.do(self.machine.token(request, given, *self.at(), error=error))

    def establish(self, **limits: float) -> list[Effect]:
        self.do(self.machine.opened(self.socket, *self.at()))
        told = {"frames_per_second": 50, "burst": 100, "frame_bytes": 65_536} | limits
        return self.tell(
            "connection_established",
            user={"id": "u", "role": "teacher"},
            expires_at=stamp(self.now + 900),
            limits=told,
        )

    def connect(self, **limits: float) -> list[Effect]:
        self.do(self.machine.connect(*self.at()))
        self.give_token()
        return self.establish(**limits)

    def tell(self, type: str, **fields: Any) -> list[Effect]:
        frame = {"type": type, "timestamp": stamp(self.now), **fields}
        return self.do(self.machine.received(self.socket, frame, *self.at()))

    def close(self, code: int) -> list[Effect]:
        return self.do(self.machine.closed(self.socket, code, *self.at()))

    def wake(self, timer: str) -> list[Effect]:
        self.now = max(self.now, self.timers.pop(timer))
        return self.do(self.machine.woken(timer, *self.at()))

    def interact(self, id: str) -> list[Effect]:
        item = Waiting(data={"learner_id": "ada", "interaction_id": id}, queued_at=WALL + self.now)
        return self.do(self.machine.interact(item, *self.at()))

    def acknowledge(self, id: str, revision: int = 1) -> list[Effect]:
        return self.tell("virtual_brain_response", id=id, interaction_id=id, revision=revision)
