"""A school day: learners answer and watchers watch while something happens to the system; at its
end all is accounted for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le
from typing import Any

from harness.client import Account
from tests.replay.lane import Pace, Tally
from tests.replay.log import Entry, rfc3339
from tests.replay.report import Report
from tests.replay.run import replay
from tests.support.eventually import eventually
from tests.support.ledger import assert_in_log_exactly_once
from tests.support.school import PASSWORD, School
from tests.support.socket import answer
from tests.support.watcher import Watcher

RECOVERY_S = 60.0
"""How long a whole recovery may take before a test fails; generous, because machines that run tests
are busy.
"""
RESENT_EACH = 20

Trouble = Callable[[Tally], Awaitable[None]]
"""What happens meanwhile; it sees how far the learners are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What became of a day."""

    learners: Sequence[str]
    tally: Tally
    report: Report
    again: Tally
    """Of answers that were sent once more at the end, all of them acknowledged before."""
    newest: dict[str, int]
    """Revision of each learner's last answer, of a log that has each acknowledged one once."""
    latest: Watcher
    every: Watcher

    def assert_nothing_lost_or_doubled(self, *, by_edges: bool = False) -> None:
        """Check that all that was sent was acknowledged, stored and shown, once. `by_edges` tells
        that edges, too, may have sent something again, to another brain.
        """
        assert self.tally.errors == {}, self.tally.examples
        assert set(self.tally.retryable) <= {"unavailable", "overloaded"}
        counts = self.tally.sent, self.tally.acknowledged, sum(self.newest.values())
        assert len(set(counts)) == 1, f"sent, acknowledged, stored: {counts}"
        assert by_edges or self.tally.resent >= self.tally.duplicates
        assert self.again.duplicates == self.again.acknowledged == self.again.sent > 0
        for watcher in (self.latest, self.every):
            assert watcher.broken == []
            told = {one: self.report.states[one]["state"] for one in self.learners}
            assert {one: watcher.states[one] for one in told} == told, _differences(
                watcher.states, told
            )
        assert self.every.shown == {
            one: list(range(1, self.newest[one] + 1)) for one in self.learners
        }


async def school_day(
    school: School,
    learners: Sequence[str],
    trouble: Trouble,
    *,
    interactions: int,
    began_s: float = 1_700_000_000,
    per_second: float | None = None,
) -> Day:
    """Let learners answer, in turns, while there is trouble, and return what became of it.

    Without `per_second` they answer as fast as they may, all of it; with it at that pace together,
    until the trouble is over.
    """
    entries = [
        _interaction(line, learners[line % len(learners)], began_s + line / (per_second or 1))
        for line in range(interactions)
    ]
    stack, tally, again, stop = school.stack, Tally(), Tally(), asyncio.Event()
    accounts = {one: Account(stack.http_url, f"{one}@school.example", PASSWORD) for one in learners}
    send = partial(replay, ws_url=stack.ws_url, tokens=dict(accounts))

    async def all_trouble() -> None:
        await trouble(tally)
        if per_second is not None:
            stop.set()

    async with contextlib.AsyncExitStack() as open_ones:
        latest, every = [
            await open_ones.enter_async_context(_watcher(school, learners, mode).watching())
            for mode in ("latest", "every")
        ]
        async with asyncio.TaskGroup() as group:
            group.create_task(all_trouble())
            pace = Pace(None if per_second is None else 1.0)
            sending = group.create_task(
                send(entries, pace=pace, tally=tally, stop=stop, grace_s=RECOVERY_S)
            )
        assert per_second is None or stop.is_set(), "the trouble took longer than the answers"
        told = [entry for entry in entries if entry.interaction_id in tally.revisions]
        await send(told[: RESENT_EACH * len(learners)], tally=again)
        acknowledged: dict[str, dict[str, int]] = {one: {} for one in learners}
        for entry in told:
            revision = tally.revisions[entry.interaction_id]
            acknowledged[entry.learner_id][entry.interaction_id] = revision
        admin = await asyncio.to_thread(school.token, "admin")
        newest = await assert_in_log_exactly_once(school, admin, acknowledged)
        for watcher in (latest, every):
            await watcher.until(newest, within_s=RECOVERY_S)
    return Day(
        learners=learners,
        tally=tally,
        report=sending.result(),
        again=again,
        newest=newest,
        latest=latest,
        every=every,
    )


async def until_acknowledged(tally: Tally, count: int) -> None:
    """Wait until so many answers are acknowledged."""

    async def look() -> int:
        return tally.acknowledged

    await eventually(look, partial(le, count), within_s=RECOVERY_S)


def some_minutes_ago(minutes: float = 20) -> float:
    """Return a time that a system takes answers of, in seconds since 1970."""
    return time.time() - 60 * minutes


def _watcher(school: School, learners: Sequence[str], mode: str) -> Watcher:
    teacher = Account(school.stack.http_url, "teacher@school.example", PASSWORD)
    return Watcher(school.stack.ws_url, teacher, learners, mode=mode)


def _interaction(line: int, learner: str, at_s: float) -> Entry:
    id = str(uuid.uuid4())
    data = answer(learner, correct=line // 20 % 2 == 0, interaction_id=id)
    return Entry(
        line=line,
        at_s=at_s,
        learner_id=learner,
        interaction_id=id,
        data=data | {"occurred_at": rfc3339(at_s)},
    )


def _differences(shown: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    return [
        f"{one} {name}: shown {shown[one].get(name)}, told {value}"
        for one, state in told.items()
        for name, value in state.items()
        if shown[one].get(name) != value
    ]
