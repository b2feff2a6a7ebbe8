"""Two brains on one database: no lost update, no duplicate, strict order, whoever gets what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_service.bus.local import LocalBus
from brain_service.engine.engine import Applied, Engine, EngineOptions, Failed
from brain_service.model.bank import Bank
from brain_service.store import SCHEMA, SqlStore
from tests.brain_service.engine.engine_support import Clock, interaction, submission
from tests.support.postgres import migrated

LEARNERS = [f"learner-{number}" for number in range(6)]


@asynccontextmanager
async def brains(address: str, count: int) -> AsyncIterator[list[Engine]]:
    """Run brains that share nothing but the database."""
    stores = [await SqlStore.open(address) for _ in range(count)]
    options = EngineOptions(bank_flush_s=0.01)
    engines = [
        Engine(store=store, bus=LocalBus(), bank=Bank(capacity=100), clock=Clock(), options=options)
        for store in stores
    ]
    for engine in engines:
        await engine.start()
    try:
        yield engines
    finally:
        for engine in engines:
            await engine.stop()
        for store in stores:
            await store.close()


async def until_applied(engine: Engine, ask: Any) -> Applied:
    """Ask again, as an edge does, while the answer is that somebody else was faster."""
    while True:
        (result,) = await engine.submit([ask])
        if isinstance(result, Applied):
            return result
        assert isinstance(result, Failed)
        assert "try again" in result.message, result


work = st.lists(
    st.tuples(st.sampled_from(LEARNERS), st.integers(0, 7), st.booleans(), st.booleans()),
    min_size=20,
    max_size=60,
)


@pytest.mark.timeout(300)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(work)
def test_edges_that_disagree_about_the_owner_lose_and_double_nothing(
    address: str, work: list[tuple[str, int, bool, bool]]
) -> None:
    """Each interaction goes to one of two brains, some to both at once; runs of the same database
    go on where the last one ended.
    """
    migrated(address, SCHEMA)
    asyncio.run(_disagree(address, work))


async def _disagree(address: str, work: list[tuple[str, int, bool, bool]]) -> None:
    told: dict[tuple[str, str], set[int]] = {}
    async with brains(address, 2) as engines:
        before = await engines[0].store.revisions(LEARNERS)

        async def ask(place: int, learner: str, item: int, first: bool, both: bool) -> None:
            # An id of its own in each run, for runs share the database.
            name = f"{before.get(learner, 0)}-{place}"
            asked = submission(learner, name, interaction=interaction(item_id=f"i{item}"))
            chosen = engines if both else [engines[first]]
            results = await asyncio.gather(*(until_applied(each, asked) for each in chosen))
            told[learner, name] = {result.revision for result in results}
            assert sum(not result.duplicate for result in results) == 1

        await asyncio.gather(*(ask(place, *each) for place, each in enumerate(work)))
        for learner in LEARNERS:
            mine = {name: revisions for (who, name), revisions in told.items() if who == learner}
            rows = await engines[0].store.history(
                learner, after_revision=before.get(learner, 0), limit=1000, newest=False
            )
            first = before.get(learner, 0) + 1
            assert [row.revision for row in rows] == list(range(first, first + len(mine)))
            assert {row.interaction_id: {row.revision} for row in rows} == mine
