"""Senders never wait for the disk: what finds no place is counted, what waits is written, failures
are tried again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from metrics_service import recorder as recorder_module
from metrics_service.aggregate import FleetCounters, Retained
from metrics_service.exchanges import BadRecordError, Exchanges
from metrics_service.recorder import Limits, Recorder, RecordingOffError
from metrics_service.store import Store, StoreUnavailableError, Tally
from tests.metrics_service.support import LIMITS, NOW_MS, PATIENCE_S, Exchange, batch, url


class Disk(Store):
    """A store that can be held up and can fail."""

    def __init__(self, engine) -> None:  # type: ignore[no-untyped-def]
        super().__init__(engine)
        self.works = threading.Event()
        self.works.set()
        self.is_asked = threading.Event()
        self.has_written = threading.Event()
        self.failures: list[Exception] = []
        self.appended: list[int] = []
        """Batches of each transaction."""

    def append(self, batches: Iterable[Exchanges], tally: Tally) -> None:
        self.is_asked.set()
        batches = list(batches)
        assert self.works.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop(0)
        self.appended.append(len(batches))
        super().append(batches, tally)
        self.has_written.set()


@asynccontextmanager
async def recording(
    folder: Path, limits: Limits = LIMITS, retained: Retained | None = None
) -> AsyncIterator[tuple[Recorder, Disk]]:
    disk = Disk.open(url(folder))
    assert isinstance(disk, Disk)
    recorder = Recorder(
        disk,
        limits=limits,
        retain=lambda: retained or Retained(),
        wall_ms=lambda: NOW_MS,
        tally=disk.load()[1],
    )
    recorder.start()
    try:
        yield recorder, disk
    finally:
        disk.works.set()
        await recorder.stop(within_s=PATIENCE_S)
        disk.close()


def of(*users: str) -> Exchanges:
    """Return a batch with one unanswered frame of each user."""
    return batch(*(Exchange(user_id=user, answer="") for user in users))


def kept(folder: Path) -> list[str]:
    store = Store.open(url(folder))
    try:
        return [
            one.user_id for page in store.pages(from_ms=0, to_ms=None, size=100) for one in page
        ]
    finally:
        store.close()


async def asked(disk: Disk) -> None:
    assert await asyncio.to_thread(disk.is_asked.wait, PATIENCE_S)


async def test_what_waits_at_the_end_is_written_with_the_totals(tmp_path: Path) -> None:
    retained = Retained(totals=FleetCounters(errors=4))
    async with recording(tmp_path, retained=retained) as (recorder, _):
        assert recorder.submit(of(*(f"u{index}" for index in range(10))), dropped=2) == 10

    assert recorder.tally == Tally(recorded=10, dropped=2)
    assert kept(tmp_path) == [f"u{index}" for index in range(10)]
    store = Store.open(url(tmp_path))
    assert store.load() == (retained, Tally(recorded=10, dropped=2))
    store.close()


async def test_a_stuck_disk_costs_records_that_are_counted_and_no_time(tmp_path: Path) -> None:
    async with recording(tmp_path, replace(LIMITS, queue=5)) as (recorder, disk):
        disk.works.clear()
        recorder.submit(of("first"))
        await asked(disk)
        accepted = [recorder.submit(of(f"u{index}", f"v{index}")) for index in range(5)]

        assert (accepted, recorder.waiting, recorder.tally) == (
            [2, 2, 0, 0, 0],
            5,
            Tally(dropped=6),
        )
    assert kept(tmp_path) == ["first", "u0", "v0", "u1", "v1"]
    assert recorder.tally == Tally(recorded=5, dropped=6)


async def test_an_empty_queue_takes_a_batch_that_is_larger_than_it(tmp_path: Path) -> None:
    async with recording(tmp_path, replace(LIMITS, queue=1)) as (recorder, _):
        assert recorder.submit(of("a", "b")) == 2
    assert kept(tmp_path) == ["a", "b"]


async def test_what_came_while_a_transaction_was_written_shares_the_next_one(
    tmp_path: Path,
) -> None:
    async with recording(tmp_path) as (recorder, disk):
        disk.works.clear()
        recorder.submit(of("first"))
        await asked(disk)
        for index in range(5):
            recorder.submit(of(f"u{index}"))
    assert disk.appended == [1, 5]


async def test_half_a_queue_is_written_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "WRITE_S", 3600.0)
    async with (
        recording(tmp_path, replace(LIMITS, queue=10)) as (recorder, _),
        asyncio.timeout(PATIENCE_S),
    ):
        for users in (["first"], "abcdef"):
            recorder.submit(of(*users))
            while recorder.waiting:  # noqa: ASYNC110 - what another task reaches
                await asyncio.sleep(0)
    assert recorder.tally == Tally(recorded=7)


async def test_contents_take_places_by_their_size(tmp_path: Path) -> None:
    async with recording(tmp_path, replace(LIMITS, queue=10)) as (recorder, _):
        big = Exchange(content="x" * 256 * 7, learner_id="l")
        assert [recorder.submit(batch(one)) for one in (big, big, Exchange(answer=""))] == [2, 0, 1]
        assert recorder.tally.dropped == 2


async def test_a_failed_write_is_tried_again_until_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.001)
    async with recording(tmp_path) as (recorder, disk):
        disk.failures = [StoreUnavailableError("full"), StoreUnavailableError("full")]
        recorder.submit(of("a"))
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(kept, tmp_path) != ["a"]:
                pass

    assert kept(tmp_path) == ["a"]
    assert recorder.tally == Tally(recorded=1)


async def test_a_batch_that_the_database_never_takes_does_not_keep_out_the_next(
    tmp_path: Path,
) -> None:
    async with recording(tmp_path) as (recorder, disk):
        disk.failures = [ValueError("cannot be stored")]
        disk.works.clear()
        recorder.submit(of("bad"))
        await asked(disk)
        recorder.submit(of("good"))

    assert kept(tmp_path) == ["good"]
    assert recorder.tally == Tally(recorded=1, dropped=1)


async def test_when_the_disk_fails_at_the_end_the_loss_is_counted(tmp_path: Path) -> None:
    async with recording(tmp_path) as (recorder, disk):
        disk.failures = [StoreUnavailableError("gone")] * 100
        disk.works.clear()
        recorder.submit(of("u"))
        await asked(disk)
    assert recorder.tally == Tally(dropped=1)
    store = Store.open(url(tmp_path))
    assert store.load()[1] == Tally(dropped=1)
    store.close()


async def test_a_disk_that_hangs_does_not_hang_the_end(tmp_path: Path) -> None:
    disk = Disk.open(url(tmp_path))
    assert isinstance(disk, Disk)
    recorder = Recorder(disk, limits=LIMITS, retain=Retained, wall_ms=lambda: NOW_MS, tally=Tally())
    recorder.start()
    disk.works.clear()
    recorder.submit(of("u"))
    await asked(disk)
    await recorder.stop(within_s=0.01)

    assert recorder.tally == Tally(dropped=1)
    disk.works.set()
    assert await asyncio.to_thread(disk.has_written.wait, PATIENCE_S)
    disk.close()


async def test_a_bad_record_keeps_the_whole_batch_out(tmp_path: Path) -> None:
    async with recording(tmp_path) as (recorder, _):
        with pytest.raises(BadRecordError, match="kinds"):
            recorder.submit(batch(Exchange(), Exchange(type="")), dropped=5)
        assert (recorder.waiting, recorder.tally) == (0, Tally())


async def test_nothing_is_kept_when_recording_is_off(tmp_path: Path) -> None:
    async with recording(tmp_path, replace(LIMITS, recording=False)) as (recorder, _):
        with pytest.raises(RecordingOffError):
            recorder.submit(of("u"))


async def test_erasing_reaches_records_that_wait_and_that_are_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.001)
    async with recording(tmp_path) as (recorder, disk):
        disk.works.clear()
        disk.failures = [StoreUnavailableError("once")]
        recorder.submit(of("gone", "other"))
        await asked(disk)
        recorder.submit(of("gone", "another"))
        erasing = asyncio.ensure_future(recorder.erase(user_id="gone"))
        await asyncio.sleep(0)
        disk.works.set()
        await erasing

    assert kept(tmp_path) == ["other", "another"]


async def test_records_past_their_time_are_deleted(tmp_path: Path) -> None:
    store = Store.open(url(tmp_path))
    old = NOW_MS - 8 * 24 * 3600 * 1000
    store.append(
        [batch(Exchange(user_id="old", at_ms=old)), batch(Exchange(user_id="new"))], Tally()
    )
    store.close()
    async with recording(tmp_path), asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(kept, tmp_path) != ["new", "new"]:
            pass
