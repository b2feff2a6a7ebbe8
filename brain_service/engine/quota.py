"""How many interactions one learner may add to the log in a day.

Counted in memory and so anew after a restart: it keeps a learner, or whoever pretends to be one,
from filling the disk, and is no account of what was done.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

DAY_MS: Final = 86_400_000


class Quota:
    """Counts by learner and day (UTC)."""

    def __init__(self, per_day: int) -> None:
        """A quota of 0 means none."""
        self._per_day = per_day
        self._day = -1
        self._used: defaultdict[str, int] = defaultdict(int)

    def take(self, learner_id: str, now_ms: int) -> bool:
        """Count one interaction; False when the day's are used up."""
        if not self._per_day:
            return True
        day = now_ms // DAY_MS
        if day != self._day:
            self._day = day
            self._used.clear()
        used = self._used[learner_id]
        if used >= self._per_day:
            return False
        self._used[learner_id] = used + 1
        return True
