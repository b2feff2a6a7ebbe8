"""Whatever happens while rows leave: all but what left is as it was."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_service.engine import retention
from brain_service.store import SCHEMA, shortening
from harness.postgres import Postgres
from tests.brain_service.engine.retention_support import NAMES, Scene, pages
from tests.support.postgres import migrated

_numbers = itertools.count()


STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.tuples(*[st.integers(0, 9)] * 3)),
        st.tuples(st.just("answer"), st.just((130, 0, 1))),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 4.0, 11.0])),
        st.tuples(st.just("shorten"), st.integers(1, 30)),
        st.tuples(st.just("rebuild"), st.none()),
        st.tuples(st.just("erase"), st.sampled_from(NAMES)),
    ),
    min_size=3,
    max_size=14,
)


async def play(address: str, steps: list[tuple[str, Any]]) -> None:
    scene = Scene(address)
    for step in steps:
        await scene.do(step)
    await scene.check()
    await scene.do(("wait", 11.0))
    await scene.do(("shorten", 10_000))
    await scene.check()
    async with scene.brain() as brain:
        for learner in scene.told:
            assert await pages(brain, learner) == []
    await scene.do(("answer", (1, 1, 1)))
    await scene.do(("rebuild", None))
    await scene.check()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, size=st.sampled_from([1, 7, 200]), shells=st.sampled_from([0, 20, 16_384]))
def test_all_but_what_left_is_as_it_was_on_sqlite(
    steps: list[tuple[str, Any]],
    size: int,
    shells: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("retention") / "brain.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_SLICE", size)
        patch.setattr(shortening, "_SHELLS", shells)
        asyncio.run(play(str(path), steps))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, size=st.sampled_from([1, 7, 200]))
def test_all_but_what_left_is_as_it_was_on_postgres(
    steps: list[tuple[str, Any]], size: int, postgres: Postgres
) -> None:
    address = migrated(postgres.make(f"retention_{next(_numbers)}"), SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_SLICE", size)
        asyncio.run(play(address, steps))
