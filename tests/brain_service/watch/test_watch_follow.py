"""One watcher's place in one learner's history, by tables."""

from __future__ import annotations

from typing import Any

import pytest

from brain_service.engine.publication import Publication
from brain_service.model.alerts import Crossing
from brain_service.watch.follow import MAX_CROSSINGS, MAX_TRACEPARENTS, Follow, Update

ASSESSMENT: Any = object()
GONE = Publication("mia", 0, None, (), "", 0, gone=True)


def pub(revision: int, *, crossing: str = "", assessment: Any = ASSESSMENT) -> Publication:
    crossings: Any = (Crossing(crossing, True, 0.8),) if crossing else ()
    return Publication("mia", revision, assessment, crossings, f"trace-{revision}", revision * 1000)


def follow(
    position: int, known: int | None = None, *, every: bool = False, limit: int = 4
) -> Follow:
    made = Follow("mia", every=every, limit=limit)
    made.start(position, position if known is None else known)
    return made


def told(updates: list[Update]) -> list[tuple[int, int]]:
    return [(update.publication.revision, update.coalesced) for update in updates]


@pytest.mark.parametrize(
    ("revisions", "latest", "every"),
    [
        ([], [], []),
        ([6], [(6, 0)], [(6, 0)]),
        ([6, 7, 8], [(8, 2)], [(6, 0), (7, 0), (8, 0)]),
        ([6, 6, 7, 6], [(7, 1)], [(6, 0), (7, 0)]),
        ([3, 5, 6], [(6, 0)], [(6, 0)]),
        ([4, 5], [], []),
    ],
)
def test_a_watcher_at_five_is_told_what_follows_once(
    revisions: list[int], latest: Any, every: Any
) -> None:
    for mode, expected in ((False, latest), (True, every)):
        subject = follow(5, every=mode)
        for revision in revisions:
            subject.offer(pub(revision))

        assert expected == told(subject.take(99))
        assert not subject.due
        assert subject.take(99) == []


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("hole", [pub(8), pub(6, assessment=None)])
def test_a_hole_or_a_bare_wake_up_sends_the_watcher_to_the_log(
    every: bool, hole: Publication
) -> None:
    subject = follow(5, every=every)

    assert subject.offer(hole)
    assert subject.behind
    assert subject.take(99) == []
    assert subject.position == 5

    subject.catch_up([pub(revision) for revision in range(6, hole.revision + 1)])

    assert told(subject.take(99))[-1][0] == hole.revision
    assert not subject.due


def test_publications_in_the_wrong_order_need_no_second_telling() -> None:
    subject = follow(0, every=True)
    subject.offer(pub(2))
    subject.offer(pub(1))
    subject.catch_up([pub(2)])

    assert told(subject.take(99)) == [(1, 0), (2, 0)]


def test_latest_adds_up_crossings_and_newest_traces_of_skipped_revisions() -> None:
    subject = follow(0)
    for revision in range(1, 31):
        subject.offer(pub(revision, crossing="frustration_level" if revision in (3, 7) else ""))

    (update,) = subject.take(99)

    assert (update.publication.revision, update.coalesced) == (30, 29)
    assert [crossed.revision for crossed in update.crossings] == [3, 7]
    assert (
        tuple(f"trace-{revision}" for revision in range(30, 30 - MAX_TRACEPARENTS, -1))
        == update.traceparents
    )

    subject.offer(pub(31))

    assert subject.take(99)[0].crossings == ()


def test_latest_takes_crossings_of_lost_publications_from_the_log() -> None:
    subject = follow(5)
    subject.offer(pub(6, crossing="a"))
    subject.offer(pub(8, crossing="c"))
    subject.catch_up([pub(7, crossing="b"), pub(8, crossing="c")])

    (update,) = subject.take(99)

    assert [crossed.crossing.name for crossed in update.crossings] == ["a", "b", "c"]
    assert update.coalesced == 2


def test_crossings_of_a_slow_reader_stay_bounded_and_keep_the_newest_of_each_kind() -> None:
    subject = follow(0)
    for revision in range(1, 10_001):
        subject.offer(pub(revision, crossing=f"level-{revision % 7}"))

    (update,) = subject.take(99)

    assert len(update.crossings) <= MAX_CROSSINGS
    assert {f"level-{number}" for number in range(7)} == {
        crossed.crossing.name for crossed in update.crossings
    }
    assert sorted(update.crossings, key=lambda crossed: crossed.revision) == list(update.crossings)
    assert update.crossings[-1].revision == 10_000


def test_every_holds_a_bounded_queue_and_continues_in_the_log() -> None:
    subject = follow(0, every=True, limit=4)
    for revision in range(1, 101):
        subject.offer(pub(revision))

    assert told(subject.take(3)) == [(1, 0), (2, 0), (3, 0)]
    assert told(subject.take(99)) == [(4, 0)]
    assert (subject.behind, subject.position) == (True, 4)

    subject.catch_up(pub(revision) for revision in range(5, 9))

    assert [revision for revision, _ in told(subject.take(99))] == [5, 6, 7, 8]
    assert subject.behind


def test_a_full_queue_takes_no_more_than_fits_from_the_log() -> None:
    subject = follow(0, every=True, limit=2)
    subject.offer(pub(9))
    subject.catch_up(pub(revision) for revision in range(1, 10))

    assert [revision for revision, _ in told(subject.take(99))] == [1, 2]
    assert subject.position == 2


def test_what_is_published_before_the_start_is_told_after_it() -> None:
    for position, expected in ((0, [(3, 2)]), (2, [(3, 0)]), (3, [])):
        subject = Follow("mia", every=False, limit=4)
        for revision in (1, 2, 3):
            assert not subject.offer(pub(revision))
        assert not subject.due

        subject.start(position, position)

        assert expected == told(subject.take(99))


def test_more_before_the_start_than_it_can_hold_is_found_in_the_log() -> None:
    subject = Follow("mia", every=True, limit=2)
    for revision in (1, 2, 3, 4, 5):
        subject.offer(pub(revision))
    subject.start(0, 0)

    assert (subject.behind, subject.position) == (True, 0)


@pytest.mark.parametrize("every", [False, True])
def test_an_erased_learner_is_gone_and_nothing_waiting_is_told(every: bool) -> None:
    subject = follow(5, every=every)
    subject.offer(pub(6, crossing="a"))
    subject.offer(GONE)
    subject.offer(pub(1))

    (update,) = subject.take(99)

    assert update.publication.gone
    assert (update.publication.assessment, update.crossings) == (None, ())


def test_an_erasure_before_an_empty_snapshot_is_not_news() -> None:
    subject = Follow("mia", every=False, limit=4)
    subject.offer(GONE)
    subject.offer(pub(1))
    subject.start(0, 0)

    assert told(subject.take(99)) == [(1, 0)]


def test_an_erasure_after_a_snapshot_with_a_state_is_told() -> None:
    subject = Follow("mia", every=False, limit=4)
    subject.offer(GONE)
    subject.start(5, 5)

    assert subject.gone
    assert subject.due


@pytest.mark.parametrize(
    ("revision", "known_before", "due", "gone"),
    [
        (5, 5, False, False),
        (3, 5, True, True),
        (7, 5, True, False),
        (0, 5, True, True),
        (0, 0, False, False),
    ],
)
def test_comparing_with_the_store_finds_lost_messages(
    revision: int, known_before: int, due: bool, gone: bool
) -> None:
    subject = follow(5)

    assert due == subject.observe(revision, known_before)
    assert gone == subject.gone
    assert (due and not gone) == subject.behind


def test_a_log_without_the_promised_rows_does_not_spin() -> None:
    subject = follow(5)
    subject.observe(9, 5)
    subject.catch_up([])

    assert not subject.due

    subject.offer(pub(10))

    assert subject.behind
    assert subject.position == 5
