"""How much one learner may do in a day of what is bounded: fill the log, teach the bank.

It keeps a learner, or whoever pretends to be one, from filling the disk and from bending what all
share. It is no account of what was done: counted in memory, and so anew after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_DAY_S: Final = 86_400.0
_MAX_LEARNERS: Final = 100_000


class Allowances:
    """What each learner has left today, of the learners who came last. The day is that of the
    caller's clock, in UTC, not of the interaction, which may be dated back.
    """

    def __init__(self, *amounts: int) -> None:
        """Everybody has the same amounts, one for each thing that is bounded."""
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
