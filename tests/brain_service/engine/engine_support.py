"""What the tests of the durable core share: submissions, a store with faults on demand, an engine
on a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from brain_service.bus.local import LocalBus
from brain_service.engine import privacy
from brain_service.engine.engine import (
    Applied,
    Engine,
    EngineOptions,
    Failed,
    FailureCode,
    Submission,
)
from brain_service.engine.notices import Notice, Notifier
from brain_service.engine.publication import Publication
from brain_service.engine.storage import Row, StoreUnavailableError
from brain_service.engine.teaching import TeachingOptions
from brain_service.model import Assessment
from brain_service.model.increments import BankIncrements
from brain_service.model.interaction import Interaction, interaction_from_context
from brain_service.model.teaching import Allowance
from brain_service.store import SqlStore
from service_runtime import validation
from tests.support.brain_log import read_log

NOW_S = 1_700_000_000.0


@contextmanager
def as_older_versions() -> Iterator[None]:
    """Take any context while the block runs, as versions did that are in databases still."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(validation, "check_object", lambda *_, **__: None)
        yield


def interaction(content: str = "2 + 2?", **context: object) -> Interaction:
    fields = {
        "correct": True,
        "difficulty": 3,
        "skill": "sums",
        "time_taken": 4.0,
        "subject": "maths",
    } | context
    return interaction_from_context("question_response", content, fields)


def submission(learner_id: str, interaction_id: str, **fields: Any) -> Submission:
    fields.setdefault("interaction", interaction())
    return Submission(learner_id=learner_id, interaction_id=interaction_id, **fields)


class FaultyStore(SqlStore):
    """A real store whose commits can be held, refused, or lost after they happened."""

    refusals = 0
    """How many of the next commits fail before anything is written."""
    lost_answers = 0
    """How many of the next commits are written but reported as failed."""
    gate: asyncio.Event | None = None
    """When set, commits wait for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sizes: list[int] = []
        self.entered = asyncio.Event()
        self.loads = 0
        self.at_once = 0
        self.poison: Callable[[Row], bool] = lambda _row: False

    async def load(self, learner_ids: Sequence[str], *, to_write: bool = False) -> Any:
        self.loads += 1
        return await super().load(learner_ids, to_write=to_write)

    async def commit(
        self,
        rows: Sequence[Row],
        increments: BankIncrements,
        notices: Sequence[Notice] = (),
        recorded: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailableError("the disk is on holiday")
        if any(map(self.poison, rows)):
            raise TypeError("a row that the driver chokes on")
        keys = await super().commit(rows, increments, notices, recorded)
        self.sizes.append(len(rows))
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailableError("the answer got lost")
        return keys

    def commit_at_once(self, row: Row) -> bool:
        if self.gate is not None or self.refusals or self.poison(row):
            return False  # `commit` is where these faults show
        written = super().commit_at_once(row)
        if written:
            self.at_once += 1
            self.sizes.append(1)
            if self.lost_answers:
                self.lost_answers -= 1
                raise StoreUnavailableError("the answer got lost")
        return written


class Brain:
    """An engine on a file, with everything it published."""

    def __init__(self, engine: Engine, store: FaultyStore, bus: LocalBus, path: Path) -> None:
        self.engine = engine
        self.store = store
        self.path = path
        self.published: list[Publication] = []
        self.bus_subscribe = bus.subscribe
        bus.subscribe(self.published.extend)

    async def apply(self, *submissions: Submission) -> list[Applied | Failed]:
        return await self.engine.submit(submissions)


class Clock:
    """A clock that stands still until told otherwise."""

    def __init__(self, now: float = NOW_S) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


APART = TeachingOptions(allowance=Allowance(lessons=0))


@asynccontextmanager
async def running(
    path: Path | str,
    *,
    clock: Callable[[], float] | None = None,
    notifier: Notifier | None = None,
    **options: Any,
) -> AsyncIterator[Brain]:
    """Run a brain on a database of its own. Its learners do not meet in what all of them share,
    unless `teaching` says so.
    """
    options.setdefault("teaching", APART)
    store = await FaultyStore.open(path)
    assert isinstance(store, FaultyStore)
    bus = LocalBus()
    engine = Engine(
        store=store,
        bus=bus,
        clock=clock or Clock(),
        options=EngineOptions(**options),
        notifier=notifier,
    )
    await engine.start()
    try:
        yield Brain(engine, store, bus, Path(path))
    finally:
        await engine.stop()
        await store.close()


def logged(path: Path) -> list[tuple[int, int, str]]:
    """Read (learner key, revision, interaction id) of all rows, past all code of ours."""
    return [(owner, row.revision, row.interaction_id) for owner, row in read_log(path)]


def revisions(results: Sequence[Applied | Failed]) -> list[tuple[int, bool]]:
    """Shorten results to (revision, duplicate); fails on anything not applied."""
    shortened = []
    for result in results:
        assert isinstance(result, Applied), result
        shortened.append((result.revision, result.duplicate))
    return shortened


def codes(results: Sequence[Applied | Failed]) -> list[FailureCode | None]:
    """Shorten results to why they were refused; None for what was applied."""
    return [result.code if isinstance(result, Failed) else None for result in results]


def plain(value: object) -> Any:
    """Spell the model's values as JSON does."""
    return json.loads(json.dumps(privacy.plain(value)))


def meant(assessment: Assessment) -> dict[str, Any] | None:
    """Spell what an assessment means for the learner, nothing packed; None where it says
    nothing.
    """
    meaning = assessment.meaning
    if meaning is None:
        return None
    found = {
        "bands": list(meaning.bands),
        "answers": meaning.habit_answers,
        "comparison": meaning.comparison(assessment.estimates)._asdict(),
        "struggle": meaning.struggle,
        "rate": meaning.rate,
        "because": [one._asdict() for one in meaning.because()],
        "attention": meaning.attention,
        "code": meaning.code,
        "reason": meaning.reason,
        "since": meaning.since,
        "too_early": meaning.too_early,
    }
    return dict(plain(found))
