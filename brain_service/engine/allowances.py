"""Daily limits per learner: interactions in the log, lessons for the bank.

They keep a learner, or somebody with a learner's token, from filling the disk and from bending what
all share. They are counted in memory and start anew after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_DAY_S: Final = 86_400.0
_MAX_LEARNERS: Final = 100_000


class Allowances:
    """What each recent learner has left today. The day is the caller's clock in UTC, not the
    interaction's time, which may be in the past.
    """

    def __init__(self, *amounts: int) -> None:
        """Everybody has the same amounts, one per limit."""
        self._amounts = amounts
        self._day = -1.0
        self._left: OrderedDict[str, list[int]] = OrderedDict()

    def left(self, learner_id: str, now_s: float) -> list[int]:
        """Return what a learner has left of each; the caller counts down."""
        day = now_s // _DAY_S
        if day != self._day:
            self._day = day
            self._left.clear()
        left = self._left.get(learner_id)
        if left is None:
            left = self._left[learner_id] = [*self._amounts]
            if len(self._left) > _MAX_LEARNERS:
                self._left.popitem(last=False)
        return left
