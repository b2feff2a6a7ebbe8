"""Webhooks of the real processes: what was committed is told, whatever dies in between."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from brain_service.store import SqlStore
from tests.support.commands import auth_command
from tests.support.eventually import eventually
from tests.support.receiver import SECRET, Delivery, receiving, status, write_webhooks
from tests.support.roster import NAMES, write_roster
from tests.support.school import School, request
from tests.system.conftest import running_school

PUPILS = 12


def wrong_answers(school: School) -> int:
    """Let all pupils answer wrong, all at once; returns how many answers were stored."""
    statements = [
        {
            "id": str(uuid.uuid4()),
            "actor": {"account": {"homePage": "https://lms.example", "name": f"pupil-{pupil}"}},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
            "object": {"id": f"https://lms.example/items/{pupil}-{number}"},
            "result": {"success": False, "duration": "PT20S"},
        }
        for number in range(12)
        for pupil in range(PUPILS)
    ]
    told, answer = request(
        school.stack, "POST", "/api/xapi/statements", statements, school.token("admin")
    )
    assert told == 200, answer
    assert answer["stored"] == len(statements), answer
    return len(statements)


def ids(deliveries: list[Delivery]) -> set[str]:
    return {one.message_id for one in deliveries}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_what_was_committed_is_delivered_though_the_brain_is_killed_before(
    tmp_path: Path, database: str
) -> None:
    async with receiving() as receiver:
        receiver.answers = lambda _: None  # takes everything, and says nothing
        with running_school(
            database=database,
            BRAIN_WEBHOOKS=str(write_webhooks(tmp_path, receiver.url())),
            EDGE_XAPI_HOMEPAGES="*",
        ) as school:
            school.secrets.update(NAMES, {SECRET})
            roster = write_roster(tmp_path / "roster", pupils=PUPILS)
            await asyncio.to_thread(auth_command, school, "import-roster", str(roster))
            stored = await asyncio.to_thread(wrong_answers, school)
            assert stored == 12 * PUPILS
            before = await receiver.arrived(1)
            await asyncio.to_thread(school.stack.kill, "brain")
            store = await SqlStore.open(school.stack.environment("brain")["BRAIN_DATABASE_URL"])
            waiting = (await store.outbox.backlog())["desk"].waiting
            receiver.answers = lambda _: status(204)
            await asyncio.to_thread(school.stack.start, "brain")
            after = await receiver.until(lambda these: len(ids(these)) == waiting)
            await eventually(store.outbox.backlog, lambda left: not left)
            await store.close()

    assert waiting >= PUPILS / 2
    assert all(one.is_genuine for one in after)
    # Whoever was told twice can see it: one id for each thing that happened.
    things = {(one.learner_id, one.revision, one.message_id) for one in after}
    assert len({(learner, revision) for learner, revision, _ in things}) == len(things)
    assert ids(before) <= ids(after[len(before) :])
    assert not [one for one in after if any(name.encode() in one.body for name in NAMES)]


async def test_another_brain_delivers_what_a_killed_one_leaves(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.answers = lambda _: None
        with running_school(
            database="postgres",
            brains=2,
            BRAIN_WEBHOOKS=str(write_webhooks(tmp_path, receiver.url())),
            EDGE_XAPI_HOMEPAGES="*",
        ) as school:
            school.secrets.update(NAMES, {SECRET})
            roster = write_roster(tmp_path / "roster", pupils=PUPILS)
            await asyncio.to_thread(auth_command, school, "import-roster", str(roster))
            # Whichever had the lease: the first brain has it when the second comes back.
            await asyncio.to_thread(school.stack.stop, "brain-2")
            store = await SqlStore.open(school.stack.environment("brain")["BRAIN_DATABASE_URL"])
            rival = "a test that asks who holds the lease"

            async def held() -> bool:
                if await store.outbox.lease(rival, 0.0):
                    await store.outbox.release(rival)
                    return False
                return True

            await eventually(held, lambda yes: yes)
            await asyncio.to_thread(school.stack.start, "brain-2")
            assert await asyncio.to_thread(wrong_answers, school) == 12 * PUPILS
            before = await receiver.arrived(1)
            await asyncio.to_thread(school.stack.kill, "brain")
            waiting = (await store.outbox.backlog())["desk"].waiting
            receiver.answers = lambda _: status(204)
            after = await receiver.until(lambda these: len(ids(these[len(before) :])) >= waiting)
            await eventually(store.outbox.backlog, lambda left: not left)
            await store.close()

    assert waiting >= PUPILS / 2
    assert all(one.is_genuine for one in after)
    assert ids(before) <= ids(after[len(before) :])
    things = {(one.learner_id, one.revision, one.message_id) for one in after}
    assert len({(learner, revision) for learner, revision, _ in things}) == len(things)
