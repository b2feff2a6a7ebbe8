"""One step of the machine: the time, randomness, and the effects so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aivo_client.frames import Frame
from aivo_client.values import Config, Effect, Send, Wake


@dataclass(slots=True)
class Step:
    """A step in progress. Changes nothing outside itself."""

    config: Config
    now: float
    """Monotonic seconds."""
    wall: float
    """Unix seconds by this machine's clock, which may be wrong."""
    random: Callable[[], float]
    """Draws from [0, 1)."""
    budget: float = 0.0
    """Frames that may be sent now."""
    effects: list[Effect] = field(default_factory=list)

    def send(self, frame: Frame) -> None:
        """Send a frame, at the cost of one."""
        self.budget -= 1.0
        self.effects.append(Send({key: one for key, one in frame.items() if one is not None}))

    def wake(self, timer: str, after_s: float) -> None:
        """Come back then."""
        self.effects.append(Wake(timer, max(0.0, after_s)))

    def backoff(self, attempt: int) -> float:
        """Return a wait: full jitter above a floor, under a ceiling that doubles.

        Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        least, most = self.config.min_delay_s, self.config.max_delay_s
        ceiling = max(least, min(most, least * 2.0 ** min(attempt + 1, 30)))
        return least + self.random() * (ceiling - least)
