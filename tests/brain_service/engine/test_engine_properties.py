"""Whatever arrives in whatever order, and whatever fails: the result is that of a
sequential run.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_service import model
from brain_service.engine.engine import Applied, Failed, FailureCode, Submission
from brain_service.model import codec
from brain_service.model.bank import Bank
from tests.brain_service.engine.engine_support import NOW_S, Brain, interaction, running, submission

LEARNERS = ("ada", "bob", "cy")


@dataclass(frozen=True)
class Step:
    """One thing that happens: some calls at once, with faults of the store and of memory before
    them.
    """

    calls: tuple[tuple[tuple[str, int], ...], ...]
    refusals: int
    lost_answers: int
    forget: bool


interactions = st.tuples(st.sampled_from(LEARNERS), st.integers(0, 11))
steps = st.builds(
    Step,
    calls=st.lists(
        st.lists(interactions, min_size=1, max_size=6).map(tuple), min_size=1, max_size=4
    ).map(tuple),
    refusals=st.sampled_from([0, 0, 0, 1, 2]),
    lost_answers=st.sampled_from([0, 0, 0, 1]),
    forget=st.booleans(),
)


def sent(learner_id: str, number: int) -> Submission:
    """An interaction decided by its id, as a client's resend is; its item is its own, so that
    learners do not meet.
    """
    task = interaction(
        f"{learner_id}-{number}",
        correct=number % 3 > 0,
        difficulty=1 + number % 5,
        time_taken=1.0 + number,
    )
    task = task._replace(subject=None)
    return submission(learner_id, f"i{number}", interaction=task)


async def play(brain: Brain, script: list[Step]) -> dict[tuple[str, str], list[Applied]]:
    """Play a script, then send everything again until it is applied; returns all answers per
    interaction.
    """
    answers: dict[tuple[str, str], list[Applied]] = {}
    everything: dict[tuple[str, str], Submission] = {}

    async def call(submissions: list[Submission]) -> bool:
        results = await brain.apply(*submissions)
        for each, result in zip(submissions, results, strict=True):
            everything[each.learner_id, each.interaction_id] = each
            if isinstance(result, Applied):
                answers.setdefault((each.learner_id, each.interaction_id), []).append(result)
            else:
                assert isinstance(result, Failed)
                assert result.code is FailureCode.UNAVAILABLE
        return all(isinstance(result, Applied) for result in results)

    for step in script:
        brain.store.refusals, brain.store.lost_answers = step.refusals, step.lost_answers
        if step.forget:
            brain.engine.memory.forget_answers()
        await asyncio.gather(
            *(call([sent(*each) for each in submissions]) for submissions in step.calls)
        )
    brain.store.refusals = brain.store.lost_answers = 0
    assert await call(list(everything.values()))
    return answers


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(steps, min_size=1, max_size=6), st.sampled_from([1, 3, 256]), st.sampled_from([1, 100])
)
def test_any_interleaving_equals_the_sequential_run(
    script: list[Step], max_batch: int, cache_learners: int
) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with running(
                Path(folder) / "b.db", max_batch=max_batch, cache_learners=cache_learners
            ) as brain:
                answers = await play(brain, script)
                for learner_id in LEARNERS:
                    await check_learner(brain, learner_id, answers)

    asyncio.run(check())


async def check_learner(
    brain: Brain, learner_id: str, answers: dict[tuple[str, str], list[Applied]]
) -> None:
    entries, _ = await brain.engine.history(learner_id, limit=1000)
    sent_ids = {interaction_id for learner, interaction_id in answers if learner == learner_id}

    assert [entry.revision for entry in entries] == list(range(1, len(entries) + 1))
    assert len(entries) == len(sent_ids)
    assert {entry.interaction_id for entry in entries} == sent_ids

    # The order is the engine's to choose between calls; given that order, everything else follows.
    stage, state, before = Bank().stage(), None, model.QUIET
    for entry in entries:
        task = sent(learner_id, int(entry.interaction_id[1:])).interaction
        state, assessment, increments = model.apply(state, stage.lookup(task), task, NOW_S)
        stage.add(increments._replace(lesson=None))
        assessment, _ = codec.told(assessment)
        assert entry.assessment == assessment
        now = model.signs(assessment)
        assert entry.crossings == model.crossings(before, now, assessment)
        before = now
        told = answers[learner_id, entry.interaction_id]
        assert {each._replace(duplicate=False) for each in told} == {Applied(assessment)}
        assert sum(not each.duplicate for each in told) <= 1

    [snapshot] = await brain.engine.snapshots([(learner_id, 0)])
    assert snapshot.state == state
    # A lost answer keeps a revision from being published at once; none comes twice or out of order.
    published = [each.revision for each in brain.published if each.learner_id == learner_id]
    assert published == sorted(set(published))
