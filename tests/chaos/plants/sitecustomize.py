"""Puts a fault into a brain, to show that it is found: CHAOS_PLANT says which. On the path of no
other process than those of `python -m tests.chaos --plant`.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def forget() -> None:
    """Acknowledge what is written a second later, if ever."""
    import asyncio

    from brain_service.store.sql_store import SqlStore

    commit = SqlStore.commit

    async def at_leisure(store: SqlStore, *what: Any) -> dict[str, int]:
        keys = await commit(store, *what) if any(not row.learner_key for row in what[0]) else {}
        if not keys:

            async def later() -> None:
                await asyncio.sleep(1.0)
                await commit(store, *what)

            store.later = asyncio.ensure_future(later())  # type: ignore[attr-defined]
        return keys

    SqlStore.commit = at_leisure  # type: ignore[method-assign]
    SqlStore.commit_at_once = lambda *_: False  # type: ignore[method-assign]


def repeat() -> None:
    """Take what is sent again for something new."""
    import itertools

    from brain_service.servicer import convert

    submission, count = convert.submission, itertools.count()

    def anew(message: Any) -> Any:
        one = submission(message)
        return one._replace(interaction_id=f"{one.interaction_id[:-6]}{next(count):06}")

    convert.submission = anew


def miscount() -> None:
    """Tell one answer in twenty under the revision before."""
    import itertools

    from brain_service.engine import group

    made, count = group._applied, itertools.count(1)

    def wrong(values: tuple[Any, ...]) -> Any:
        if values[0] > 1 and next(count) % 20 == 0:
            values = (values[0] - 1, *values[1:])
        return made(values)

    group._applied = wrong


PLANTS = {"forget": forget, "repeat": repeat, "miscount": miscount}
if "brain_service" in sys.orig_argv and (name := os.environ.get("CHAOS_PLANT")):
    PLANTS[name]()
