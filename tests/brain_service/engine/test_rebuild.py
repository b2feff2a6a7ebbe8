"""Rebuilding as claims: all of the log counts, once, whoever interrupts or interacts meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from brain_service.engine import rebuild
from brain_service.engine.engine import Failed, FailureCode
from brain_service.engine.storage import Rebuilt, StoreUnavailableError
from brain_service.model import Interaction, LearnerState, Statistics, apply, codec
from brain_service.model.bank import Bank
from brain_service.model.params import PARAMS_HASH
from brain_service.store import SqlStore
from tests.brain_service.engine.engine_support import (
    NOW_S,
    FaultyStore,
    as_older_versions,
    interaction,
    revisions,
    running,
    submission,
)

OLDER = b"constant"


def answer(learner: str, n: int) -> Interaction:
    """An interaction whose statistics nobody knows: each has an item and a subject of its own."""
    subject = f"{learner} {n}"
    return interaction(f"q {subject}", correct=n % 3 != 0, time_taken=2.0 + n, subject=subject)


def replayed(learner: str, count: int) -> LearnerState:
    state = None
    for n in range(count):
        state = apply(state, Statistics(), answer(learner, n), NOW_S).state
    assert state is not None
    return state


async def practised(path: Path, *learners: str, times: int = 5) -> None:
    """Let learners do something; the bank learns nothing."""
    async with running(path, bank_flush_s=1e9) as brain:
        for n in range(times):
            await brain.apply(
                *[submission(each, f"i{n}", interaction=answer(each, n)) for each in learners]
            )
    store = await SqlStore.open(path)
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM bank_items")
        connection.exec_driver_sql("DELETE FROM bank_norms")
    await store.close()


async def change(path: Path, learners: Sequence[str], to: Callable[[bytes], bytes]) -> None:
    """Put other states in place of the newest ones."""
    store = await SqlStore.open(path)
    heads = await store.load(learners)
    changed = [Rebuilt(head.learner_key, head.revision, to(head.state)) for head in heads.values()]
    assert len(await store.rebuild(changed)) == len(learners)
    await store.close()


def older(state: bytes) -> bytes:
    """A state of other constants, which made it say something else."""
    read = codec.decode_state(state)
    return codec.encode_state(read._replace(session=read.session._replace(tank=0.77)), OLDER)


async def states(path: Path, *learners: str) -> list[bytes]:
    store = await SqlStore.open(path)
    heads = await store.load(learners)
    await store.close()
    return [heads[learner].state for learner in learners]


async def run(path: Path, **options: Any) -> tuple[bool, list[str]]:
    told: list[str] = []
    store = await SqlStore.open(path)
    try:
        return await rebuild.rebuild_all(
            store, Bank(), **{"notice_s": 0.0, "tell": told.append, **options}
        ), told
    finally:
        await store.close()


async def test_states_of_older_constants_become_what_the_log_makes_of_them(path: Path) -> None:
    await practised(path, "ada", "bob", times=205)
    await change(path, ["ada"], older)
    untouched = await states(path, "bob")

    assert await run(path) == (
        True,
        ["1 learners are to be rebuilt.", "Rebuilt 1 learners from 205 interactions."],
    )
    assert await states(path, "ada") == [codec.encode_state(replayed("ada", 205))]
    assert await states(path, "bob") == untouched
    done, told = await run(path)
    assert (done, len(told)) == (True, 1)
    assert "nothing is to be done" in told[0]


async def test_it_goes_on_where_it_was_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learners = [f"learner-{n}" for n in range(7)]
    await practised(path, *learners)
    await change(path, learners, older)
    monkeypatch.setattr(rebuild, "_GROUP", 2)
    store = await FaultyStore.open(path)
    done = 0

    async def stopping(rebuilt: Sequence[Rebuilt]) -> list[int]:
        nonlocal done
        if done == 4:
            raise StoreUnavailableError("stopped")
        done += len(rebuilt)
        return await SqlStore.rebuild(store, rebuilt)

    monkeypatch.setattr(store, "rebuild", stopping)
    with pytest.raises(StoreUnavailableError):
        await rebuild.rebuild_all(store, Bank(), notice_s=0.0, tell=lambda _: None)
    await store.close()

    _, told = await run(path)
    assert told[0] == "3 learners are to be rebuilt."
    expected = [codec.encode_state(replayed(learner, 5)) for learner in learners]
    assert await states(path, *learners) == expected


async def test_a_brain_that_serves_keeps_the_rebuilt_states(path: Path) -> None:
    """Also of a learner who never stops and of one who is in the brain's memory."""
    await practised(path, "ada", "bob", "eve")
    await change(path, ["ada", "bob", "eve"], older)
    async with running(path, erasure_check_s=0.01) as brain:
        await brain.apply(submission("bob", "i5", interaction=answer("bob", 5)))
        going = True

        async def never_stops() -> int:
            n = 5
            while going:
                if not isinstance(
                    (await brain.apply(submission("ada", f"i{n}", interaction=answer("ada", n))))[
                        0
                    ],
                    Failed,
                ):
                    n += 1
            return n

        task = asyncio.create_task(never_stops())
        done, _ = await run(path, notice_s=0.1)
        going = False
        count = await task
        after = await brain.apply(
            submission("ada", "last"), submission("bob", "last"), submission("eve", "last")
        )

    assert done
    assert revisions(after) == [(count + 1, False), (7, False), (6, False)]
    for state, answers in zip(
        await states(path, "ada", "bob", "eve"), (count + 1, 7, 6), strict=True
    ):
        assert codec.constants_of(state) == PARAMS_HASH
        assert codec.decode_state(state).progress.answers == answers


async def test_a_state_of_older_constants_goes_on_as_such(path: Path) -> None:
    """So that the command still finds it."""
    await practised(path, "ada")
    await change(path, ["ada"], older)
    async with running(path) as brain:
        for n in range(2):
            await brain.apply(submission("ada", f"more-{n}"))
    [state] = await states(path, "ada")

    assert codec.constants_of(state) == OLDER
    assert codec.decode_state(state).session.tank > 0.7


def of_a_later_version(state: bytes) -> bytes:
    return bytes([99]) + state[1:]


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(of_a_later_version, id="a later version's"),
        pytest.param(lambda state: state[:-9], id="truncated"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
async def test_a_state_that_cannot_be_read_is_rebuilt_when_it_is_touched(
    path: Path, spoilt: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    await practised(path, "ada", "bob", "eve")
    await change(path, ["ada", "bob"], spoilt)
    async with running(path) as brain:
        # Readers wait for it.
        [ada, eve, again] = await brain.engine.snapshots([("ada", 0), ("eve", 0), ("ada", 0)])
        assert ada.state == again.state == replayed("ada", 5)
        assert eve.state == replayed("eve", 5)
        # Whoever interacts comes again; others do not notice.
        [refused, applied] = await brain.apply(submission("bob", "x"), submission("eve", "x"))
        assert isinstance(refused, Failed)
        assert refused.code == FailureCode.UNAVAILABLE
        assert revisions([applied]) == [(6, False)]
        # A reader waits for the same rebuilding.
        await brain.engine.snapshots([("bob", 0)])
        assert revisions(await brain.apply(submission("bob", "x"))) == [(6, False)]
        [bob] = await brain.engine.snapshots([("bob", 0)])

    assert bob.revision == 6
    assert bob.state is not None
    assert bob.state.progress.answers == 6
    assert [each.message for each in caplog.records if "rebuilt from the log" in each.message]


async def test_the_command_also_puts_right_what_cannot_be_read(path: Path) -> None:
    await practised(path, "ada", "bob")
    await change(path, ["ada"], of_a_later_version)
    store = await SqlStore.open(path)
    head = (await store.load(["bob"]))["bob"]
    unreadable = bytes([99]) + head.assessment[1:]
    await store.rebuild([Rebuilt(head.learner_key, 5, older(head.state), unreadable)])
    await store.close()
    await run(path)

    async with running(path) as brain:
        for snapshot in await brain.engine.snapshots([("ada", 0), ("bob", 0)]):
            assert snapshot.state == replayed(snapshot.learner_id, 5)
            assert snapshot.assessment is not None
            assert snapshot.assessment.revision == 5


async def test_what_rules_refuse_today_is_left_out_and_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contexts: list[bytes] = [
        json.dumps({"correct": True, "subject": "s"}).encode(),
        b"not json",
        b'["a list"]',
        b'{"correct": "yes"}',
        b"[" * 100_000,
        b"",
    ]
    async with running(path) as brain:
        with as_older_versions():
            for n, context in enumerate(contexts):
                await brain.apply(
                    submission("ada", f"i{n}", interaction=answer("ada", n), context_json=context)
                )
    await change(path, ["ada"], older)
    done, told = await run(path)
    [state] = await states(path, "ada")

    assert done
    assert told[-1] == "Rebuilt 1 learners from 6 interactions."
    # The last had no context of its own, so what the model had read was written.
    assert codec.decode_state(state).progress.answers == 2
    assert codec.decode_state(state).revision == 6
    assert "4 interactions" in caplog.text
    async with running(path) as brain:
        assert revisions(await brain.apply(submission("ada", "next"))) == [(7, False)]


async def test_a_learner_erased_meanwhile_stays_erased(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await practised(path, "ada")
    await change(path, ["ada"], older)
    store = await SqlStore.open(path)
    replay = rebuild.replay

    async def slow(*arguments: Any) -> Rebuilt | None:
        rebuilt = await replay(*arguments)
        await store.erase("ada", requested_by="root", at_ms=1)
        return rebuilt

    monkeypatch.setattr(rebuild, "replay", slow)
    assert await rebuild.rebuild_all(store, Bank(), notice_s=0.0, tell=lambda _: None)
    assert await store.load(["ada"]) == {}
    await store.close()


async def test_a_brain_that_starts_in_the_middle_knows_of_it(path: Path) -> None:
    await practised(path, "ada")
    await change(path, ["ada"], older)
    store = await SqlStore.open(path)
    await store.record_rebuild(rebuild.BEGUN, at_ms=1, learners=1)
    async with running(path) as brain:
        await brain.apply(submission("ada", "x"))
        assert brain.engine.cached_learners == 0
        await store.record_rebuild(rebuild.ENDED, at_ms=1, learners=1)
    await store.close()
    async with running(path) as brain:
        await brain.apply(submission("ada", "y"))
        assert brain.engine.cached_learners == 1
