"""What watchers are told when messages get lost, the log fails, or nobody takes."""

from __future__ import annotations

import logging

import pytest

from brain_service.engine.publication import Publication
from brain_service.watch.watches import (
    UNREAD,
    Cursor,
    Watches,
)
from service_runtime.database.errors import StoreUnavailableError
from tests.brain_service.watch.watch_support import Log, idle, take


async def test_a_lost_message_arrives_with_the_heartbeat(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open(
        "w", [Cursor(learner_id="mia"), Cursor(learner_id="ben", every=True)]
    )
    for _ in range(3):
        log.apply("mia")
        log.apply("ben")
    assert idle(watch)
    await watches.beat()

    assert await take(watch) == [("mia", 3, 2), ("ben", 1, 0), ("ben", 2, 0), ("ben", 3, 0)]


async def test_heartbeats_go_round_and_only_to_the_idle(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id=f"l{number}") for number in range(5)])
    log.apply("l4")
    watches.publish([Publication("l4", 1, log.rows["l4"][0].assessment, (), "", 1)])
    assert await take(watch) == [("l4", 1, 0)]
    await watches.beat()
    assert idle(watch)

    seen: dict[str, int] = {}
    for _ in range(2):
        await watches.beat()
        batch = await watch.take()
        assert batch.heartbeat is not None
        assert batch.heartbeat.sent_at_ms == 1500
        assert len(batch.heartbeat.revisions) <= 3
        seen.update(batch.heartbeat.revisions)
        await watches.beat()

    assert {f"l{number}" for number in range(5)} >= set(seen)
    assert seen.get("l4", 1) == 1


async def test_a_heartbeat_of_a_watch_without_learners_is_empty(watches: Watches) -> None:
    watch, _ = await watches.open("w", [])
    await watches.beat()
    batch = await watch.take()

    assert batch.heartbeat is not None
    assert batch.heartbeat.revisions == {}


async def test_a_broken_log_delays_a_watcher_until_a_heartbeat(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    log.apply("mia")
    log.broken = True
    watches.publish([log.apply("mia"), log.apply("ben")])

    assert await take(watch) == [("ben", 1, 0)]
    await watches.beat()
    log.broken = False
    await watches.beat()
    assert await take(watch) == [("mia", 2, 1)]


@pytest.mark.parametrize(
    ("error", "level", "traced"),
    [
        (StoreUnavailableError("the database does not answer"), logging.WARNING, False),
        (OSError("nobody foresaw this"), logging.ERROR, True),
    ],
)
async def test_a_database_that_is_away_is_a_warning_and_what_nobody_foresaw_is_traced(
    log: Log,
    watches: Watches,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    traced: bool,
) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia"), Cursor(learner_id="ben")])
    log.apply("mia")
    log.broken, log.error = True, error
    watches.publish([log.apply("mia"), log.apply("ben")])
    await take(watch)

    [told] = [record for record in caplog.records if record.message == UNREAD]
    assert (told.levelno, bool(told.exc_info)) == (level, traced)


async def test_a_publication_of_an_unwatched_learner_costs_no_read(
    log: Log, watches: Watches
) -> None:
    watch, _ = await watches.open("w", [Cursor(learner_id="mia")])
    watches.publish([log.apply("ben") for _ in range(100)])

    assert idle(watch)
    assert log.reads == 0


async def test_a_reader_that_never_takes_holds_little(log: Log, watches: Watches) -> None:
    watch, _ = await watches.open(
        "w", [Cursor(learner_id="mia"), Cursor(learner_id="ben", every=True)]
    )
    for _ in range(1000):
        watches.publish([log.apply("mia"), log.apply("ben")])

    assert watch.follows["ben"].room == 0
    assert len(watch.due) == 2
    got: list[int] = []
    while len(got) < 1000:
        got += [revision for learner, revision, _ in await take(watch) if learner == "ben"]
    assert list(range(1, 1001)) == got
