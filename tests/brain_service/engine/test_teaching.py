"""The shared bank under attack as claims: one pupil cannot bend what others are told."""

from __future__ import annotations

import asyncio
from math import exp
from pathlib import Path
from typing import Any

import pytest

from brain_service import model
from brain_service.engine.engine import Applied
from brain_service.engine.teaching import TeachingOptions
from brain_service.model import Statistics
from brain_service.model.interaction import Interaction
from brain_service.model.params import CUT_GAIN, MAX_ITEMS
from brain_service.model.population import step
from brain_service.model.teaching import Allowance, Teachers
from tests.brain_service.engine.engine_support import (
    Brain,
    Clock,
    interaction,
    running,
    submission,
)

LIMIT_S = 30


def about(item: str, *, correct: bool = True, **context: object) -> Interaction:
    return interaction("", item_id=item, correct=correct, **context)


async def answer(brain: Brain, learner: str, *interactions: Interaction) -> list[Applied]:
    """Let a learner answer, twenty at a time, under new ids."""
    applied: list[Applied] = []
    counts = brain.__dict__.setdefault("answers", {})
    for start in range(0, len(interactions), 20):
        some = interactions[start : start + 20]
        first = counts.get(learner, 0)
        counts[learner] = first + len(some)
        results = await brain.apply(
            *[submission(learner, f"i{first + n}", interaction=each) for n, each in enumerate(some)]
        )
        assert all(isinstance(result, Applied) for result in results), results
        applied += results  # type: ignore[arg-type]
    return applied


async def learned(brain: Brain, item: str, subject: str = "maths") -> Statistics:
    """What the bank knows, once the log was asked about all that was in doubt."""
    async with asyncio.timeout(LIMIT_S):
        await brain.engine.settle_teaching()
    probe = about(item, subject=subject)
    await brain.engine.bank.prepare([probe])
    return brain.engine.bank.lookup(probe)


async def a_class_knows(brain: Brain, item: str, learners: int = 40) -> float:
    """Let a class answer an item, mostly right, and return what the next one is told."""
    for n in range(learners):
        await answer(brain, f"pupil-{n}", about(item, correct=n % 7 != 0, time_taken=20.0))
    return await told(brain, item, "before")


async def told(brain: Brain, item: str, learner: str) -> float:
    """What somebody new is predicted on an item."""
    [applied] = await answer(brain, f"new-{learner}", about(item))
    assert applied.assessment.predicted_correct is not None
    return applied.assessment.predicted_correct


FILLERS = [about(f"filler-{n}") for n in range(MAX_ITEMS + 1)]
"""More items than a state remembers."""


@pytest.mark.parametrize(
    ("attack", "most"),
    [
        pytest.param([about("item", correct=False)] * 300, 0.03, id="wrong, again and again"),
        pytest.param(
            [about("item", correct=False), *FILLERS] * 4, 0.03, id="until the state has forgotten"
        ),
        pytest.param([*FILLERS, about("item", correct=False)] * 4, 0.03, id="and never at first"),
        pytest.param(
            [about("item", correct=False, attempts=9, hints=3, skill=f"s{n}") for n in range(99)],
            0.03,
            id="under other skills",
        ),
        pytest.param(
            [Interaction("assessment", "item", correct=False)] * 99, 0.03, id="as another kind"
        ),
    ],
)
async def test_one_pupil_hardly_moves_what_a_class_is_told(
    path: Path, attack: list[Interaction], most: float
) -> None:
    async with running(path) as brain:
        before = await a_class_knows(brain, "item")
        known = await learned(brain, "item")
        await answer(brain, "mallory", *attack)
        now = await learned(brain, "item")
        after = await told(brain, "item", "after")

    assert now.answers == known.answers + 1
    assert 0.0 < before - after < most


async def test_a_pupil_moves_a_norm_by_little(path: Path) -> None:
    async with running(path) as brain:
        await a_class_knows(brain, "item")
        before = exp((await learned(brain, "item")).log_time)
        await answer(brain, "mallory", *[about(f"q{n}", time_taken=3600.0) for n in range(400)])
        after = exp((await learned(brain, "item")).log_time)

    assert before == pytest.approx(20.0, rel=0.2)
    # Twenty times of one and a half log-seconds too much, beside forty times of the class.
    assert after < 2.0 * before


@pytest.mark.parametrize("context", [{}, {"hints": 9}, {"difficulty": 1, "time_taken": 0.5}])
async def test_who_pretends_to_struggle_hardly_moves_when_others_are_called(
    path: Path, context: dict[str, object]
) -> None:
    async with running(path, teaching=TeachingOptions()) as brain:
        for n in range(20):
            right = [about(f"q{m}", correct=m % 5 > 0) for m in range(15)]
            await answer(brain, f"pupil-{n}", *right)
        before = (await learned(brain, "q0")).population
        wrong = [about(f"x{n}", correct=False, **context) for n in range(300)]
        applied = await answer(brain, "mallory", *wrong)
        after = (await learned(brain, "q0")).population

    assert model.signs(applied[60].assessment)[-1] == 2  # would be called again and again
    most = Allowance().calls * step(CUT_GAIN, before.answers)
    assert 0.0 < after.look - before.look < most
    assert 0.0 < after.now - before.now < most


async def test_the_log_is_not_read_for_who_may_teach_no_more(path: Path) -> None:
    options: dict[str, Any] = {"teaching": TeachingOptions(allowance=Allowance(items=70))}
    async with running(path, **options) as brain:
        await answer(brain, "mallory", *FILLERS)
        await learned(brain, "any")
        read = brain.store.__class__.interactions
        asked: list[int] = []

        async def watched(store: Any, learner_key: int, **page: Any) -> Any:
            asked.append(learner_key)
            return await read(store, learner_key, **page)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(brain.store.__class__, "interactions", watched)
            await answer(brain, "mallory", *[about(f"new-{n}") for n in range(5)])
            await learned(brain, "any")
            assert asked  # five of seventy are left
            asked.clear()
            await answer(brain, "mallory", *[about(f"newer-{n}") for n in range(99)])
            await learned(brain, "any")
            assert not asked


@pytest.mark.parametrize(
    ("attack", "items", "subjects"),
    [
        pytest.param([about(f"random-{n}") for n in range(300)], 200, 1, id="random items"),
        pytest.param(
            [about("one", subject=f"random-{n}") for n in range(300)], 1, 20, id="random subjects"
        ),
        pytest.param(
            [
                Interaction("content_view", "text", subject=f"s{n}", time_taken=9.0)
                for n in range(99)
            ],
            0,
            20,
            id="by views",
        ),
    ],
)
async def test_a_pupil_makes_so_many_rows_a_day(
    path: Path, attack: list[Interaction], items: int, subjects: int
) -> None:
    async with running(path) as brain:
        await answer(brain, "mallory", *attack)
        await learned(brain, "any")
        await brain.engine.stop()  # writes the bank, and waits where it is being written
        with brain.store.database.engine.connect() as connection:
            count = connection.exec_driver_sql
            assert count("SELECT count(*) FROM bank_items").scalar_one() == items
            assert count("SELECT count(*) FROM bank_norms").scalar_one() == subjects


async def test_who_answered_more_than_a_state_remembers_still_teaches_new_items(path: Path) -> None:
    async with running(path, teaching=TeachingOptions(ask_s=0.01)) as brain:
        await answer(brain, "ada", *FILLERS, *FILLERS, about("new"), about("newer"))
        async with asyncio.timeout(LIMIT_S):
            while not brain.engine.bank.lookup(about("newer")).answers:
                await brain.engine.revisions([])  # a read lets others go on

        assert (await learned(brain, "new")).answers == 1
        assert (await learned(brain, "filler-0")).answers == 1
    # And what another brain of the same store saw counts too.
    async with running(path) as brain:
        await answer_as(
            brain, "ada", "again", about("new"), *FILLERS, about("new"), about("newest")
        )
        assert (await learned(brain, "new")).answers == 1
        assert (await learned(brain, "newest")).answers == 1


async def answer_as(brain: Brain, learner: str, name: str, *interactions: Interaction) -> None:
    for n, each in enumerate(interactions):
        [result] = await brain.apply(submission(learner, f"{name}-{n}", interaction=each))
        assert isinstance(result, Applied)


async def test_only_what_is_durable_is_asked_about(path: Path) -> None:
    async with running(path) as brain:
        await answer(brain, "ada", *FILLERS)
        brain.store.refusals = 1
        [refused] = await brain.apply(submission("ada", "x", interaction=about("new")))
        assert not isinstance(refused, Applied)
        assert (await learned(brain, "new")).answers == 0
        await answer_as(brain, "ada", "y", about("new"))
        assert (await learned(brain, "new")).answers == 1


async def test_an_erased_learner_teaches_nothing_more(path: Path) -> None:
    async with running(path) as brain:
        await answer(brain, "ada", *FILLERS, about("new"))
        await brain.engine.erase("ada", "a parent")
        assert (await learned(brain, "new")).answers == 0


async def test_what_a_learner_may_teach_is_a_setting(path: Path) -> None:
    options: dict[str, Any] = {"teaching": TeachingOptions(allowance=Allowance(items=2, times=0))}
    async with running(path, **options) as brain:
        await answer(brain, "ada", *FILLERS[:5])

        assert [(await learned(brain, f"filler-{n}")).answers for n in range(4)] == [1, 1, 0, 0]
        assert (await learned(brain, "x")).observations == 0


@pytest.mark.parametrize(
    ("teachers", "verified", "item", "subject", "learns"),
    [
        (Teachers.ANYBODY, False, "random", "random", (1, 1)),
        (Teachers.TRUSTED, False, "random", "random", (0, 0)),
        (Teachers.TRUSTED, True, "random", "random", (1, 1)),
        (Teachers.DECLARED, False, "q1", "maths", (1, 1)),
        (Teachers.DECLARED, False, "q1", "random", (1, 0)),
        (Teachers.DECLARED, True, "random", "maths", (0, 0)),
        (Teachers.DECLARED, False, "random", "random", (0, 0)),
    ],
)
@pytest.mark.parametrize("veteran", [False, True])
async def test_who_may_teach_what(
    path: Path,
    teachers: Teachers,
    verified: bool,
    item: str,
    subject: str,
    learns: tuple[int, int],
    veteran: bool,
) -> None:
    async with running(path) as brain:
        await brain.store.declare("item", ["q1", "q2"])
        await brain.store.declare("subject", ["maths"])
        await answer(brain, "ada", *[about(f"f{n}", subject="f") for n in range(66 * veteran)])
    async with running(path, teaching=TeachingOptions(teachers=teachers)) as brain:
        sent = submission("ada", "x", interaction=about(item, subject=subject), verified=verified)
        [applied] = await brain.apply(sent)
        assert isinstance(applied, Applied)
        known = await learned(brain, item, subject)

    assert (known.answers, known.observations) == learns


async def test_a_brain_hears_what_is_declared_while_it_serves(path: Path) -> None:
    options = TeachingOptions(teachers=Teachers.DECLARED, ask_s=0.01)
    async with running(path, teaching=options) as brain:
        await answer(brain, "ada", about("q1"))
        await brain.store.declare("item", ["q1"])
        count = 0
        async with asyncio.timeout(LIMIT_S):
            while not (await learned(brain, "q1")).answers:
                count += 1
                await answer(brain, f"ben-{count}", about("q1"))


async def test_what_is_too_much_or_too_old_leaves_the_store(path: Path) -> None:
    clock = Clock()
    async with running(path, clock=clock) as brain:
        for n in range(5):
            await answer(brain, "ada", about(f"q{n}", subject="old"))
        await answer(brain, "ben", about("q3", subject="old"))
    clock.now += 100 * 86_400
    options = TeachingOptions(items=2, age_days=99)
    async with running(path, clock=clock) as brain:
        await answer(brain, "cleo", about("q4", subject="new"), about("q9", subject="new"))
    async with running(path, clock=clock, teaching=options) as brain:
        async with asyncio.timeout(LIMIT_S):
            while (await brain.store.bank([], ["old"])).norms:
                pass
        kept = await brain.store.bank([f"q{n}" for n in range(10)], ["new"])

    assert kept.items.keys() == {"q4", "q9"}
    assert kept.norms.keys() == {"new"}


async def test_without_the_guard_every_answer_and_time_teaches(path: Path) -> None:
    async with running(path, teaching=TeachingOptions(guarded=False)) as brain:
        await answer(brain, "ada", *[about("item", time_taken=3600.0)] * 250, *FILLERS)
        await answer(brain, "ada", about("item", time_taken=3600.0))
        known = await learned(brain, "item")

    assert known.answers == 251
    assert known.observations == 251 + len(FILLERS)
    assert exp(known.log_time) > 300.0
