"""Keeping memory equal to the disk when the disk gives trouble."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from auth_service.directory import Directory
from auth_service.domain import Role, User, new_id
from auth_service.follower import Follower, KeyFollower, follow
from auth_service.revocations import Broadcaster, WatchCutError
from auth_service.store import ChangeBatch, ChangeLog, StoreUnavailableError
from auth_service.tokens import KeyFile, Tokens
from tests.auth_service.harness import PATIENCE_S, Stored


class Shaky(ChangeLog):
    """A change log that fails the next `failures` times it is asked, and says when it has answered
    again.
    """

    failures = 0

    def since(self, seq: int, now_ms: int) -> ChangeBatch | None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the disk is away")
        return super().since(seq, now_ms)


def add_user(stored: Stored, email: str) -> str:
    user = User(
        user_id=new_id(),
        email=email,
        role=Role.ADMIN,
        display_name="",
        disabled=False,
        created_at_ms=1,
    )
    stored.people.create_user(user, "hash", actor="test")
    return user.user_id


async def test_changes_made_during_an_outage_arrive_after_it_and_it_is_logged_once(
    stored: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log, directory, broadcaster = Shaky(stored.database), Directory(), Broadcaster(10)
    follower = Follower(stored.database, log, directory, broadcaster, stored.clock.ms)
    await follower.catch_up()
    file = KeyFile(tmp_path / "keys.json")
    keys = KeyFollower(file, Tokens(file.load_or_create(0), issuer="aivo", clock=stored.clock))
    with broadcaster.watch() as watch:
        log.failures = 3
        user_id = add_user(stored, "ann@school.example")
        task = asyncio.create_task(follow(follower, keys, poll_s=0.001))
        async with asyncio.timeout(PATIENCE_S):
            (change,) = await anext(watch.batches(PATIENCE_S))
            while "following changes again" not in caplog.text:  # noqa: ASYNC110 - a log record has no event
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert change.user_id == user_id
    assert directory.person(user_id) is not None
    assert caplog.text.count("cannot follow changes") == 1


async def test_a_change_stands_although_memory_could_not_follow_at_once(stored: Stored) -> None:
    log, directory = Shaky(stored.database), Directory()
    follower = Follower(stored.database, log, directory, Broadcaster(10), stored.clock.ms)
    await follower.catch_up()
    log.failures = 1
    user_id = add_user(stored, "ann@school.example")

    await follower.after_change()
    assert directory.person(user_id) is None
    await follower.after_change()

    assert directory.person(user_id) is not None


async def test_streams_are_cut_when_the_log_no_longer_tells_what_changed(stored: Stored) -> None:
    directory, broadcaster = Directory(), Broadcaster(10)
    follower = Follower(stored.database, stored.log, directory, broadcaster, stored.clock.ms)
    await follower.catch_up()
    user_id = add_user(stored, "ann@school.example")
    stored.log.forget_before(stored.clock.ms() + 1)

    with broadcaster.watch() as watch:
        await follower.catch_up()
        with pytest.raises(WatchCutError):
            await anext(watch.batches(PATIENCE_S))
    assert directory.person(user_id) is not None
