"""An asynchronous iterator over one learner's updates, for readers of any speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aivo_client.flow import Flow
from aivo_client.frames import Frame, StateUpdate
from aivo_client.values import Mode

MOST_WAITING: Final = 256
"""Most waiting updates in `every` mode; further ones wait in the server's log."""


class Watch(Flow[StateUpdate]):
    """An asynchronous iterator over a learner's updates, from `AivoClient.watch`.

    Close it, or leave it as an asynchronous context manager, to stop watching.
    """

    def __init__(
        self,
        learner_id: str,
        mode: Mode,
        *,
        hold: Callable[[Watch], None],
        go_on: Callable[[Watch], None],
        end: Callable[[Watch], None],
    ) -> None:
        super().__init__(end)
        self.learner_id = learner_id
        self.mode = mode
        self._hold, self._go_on = hold, go_on
        self._held = False

    def take(self, frame: Frame) -> None:
        """Add an update; in `latest` mode only the newest waits."""
        if self._held or self._ended:
            return
        if self.mode == "latest":
            self._waiting.clear()
        super().take(frame)
        if len(self._waiting) >= MOST_WAITING:
            self._held = True
            self._hold(self)

    def _drained(self) -> None:
        if self._held:
            self._held = False
            self._go_on(self)
