"""The hub keeps its promises: growing revisions, nothing twice, no crossing lost, and a slow reader
gets nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from edge.admission.budgets import Budget
from edge.frames.codes import CloseCode
from edge.hub import every
from edge.hub.subscription import Subscription
from edge.ports import LearnerSnapshot, Update, UpstreamError
from tests.support.edge_values import gone, update
from tests.support.fakes import FakeEdge, FakeSink


class Watcher:
    """A subscriber that keeps what the hub tells it."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.subscribed: list[tuple[LearnerSnapshot | UpstreamError, int]] = []
        self.gone: list[str] = []

    user_id = "u"
    budget = Budget(rate=0.0, burst=0.0, now=0.0)

    def written(self, learner_id: str) -> int:
        return 0

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        self.subscribed.append((snapshot, missed))

    def on_delivered(self, subscription: Subscription) -> None: ...

    def on_gone(self, learner_id: str) -> None:
        self.gone.append(learner_id)

    def revisions(self) -> list[int]:
        return [frame["revision"] for frame in self.sink.frames]

    def crossings(self) -> list[str]:
        return [one["name"] for frame in self.sink.frames for one in frame["crossings"]]


def subscribe(
    edge: FakeEdge,
    watcher: Watcher,
    *,
    learner: str = "ada",
    every: bool = False,
    interval_s: float = 0,
    resume: Any = None,
) -> Subscription:
    subscription = edge.hub.subscription(
        watcher, learner, every=every, interval_s=interval_s, resume=resume
    )
    edge.hub.subscribe(subscription)
    return subscription


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def test_an_update_reaches_all_who_watch_its_learner_and_no_one_else(edge: FakeEdge) -> None:
    watchers = [Watcher() for _ in range(3)]
    for watcher in watchers[:2]:
        subscribe(edge, watcher)
    subscribe(edge, watchers[2], learner="ben")
    edge.move("ada", "load")

    assert [watcher.revisions() for watcher in watchers] == [[1], [1], []]
    frame = watchers[0].sink.frames[0]
    assert (frame["type"], frame["learner_id"], frame["epoch"], frame["coalesced"]) == (
        "state_update",
        "ada",
        "e1",
        0,
    )
    assert frame["crossings"] == [{"name": "load", "rising": True, "value": 0.9, "revision": 1}]


def test_what_is_under_way_before_the_snapshot_comes_after_it(
    edge: FakeEdge, watcher: Watcher
) -> None:
    edge.feed.hold = True
    subscribe(edge, watcher)  # its snapshot is read here, at revision 0
    edge.move("ada")
    edge.move("ada")
    assert watcher.sink.frames == []
    edge.feed.release()

    assert [missed for _, missed in watcher.subscribed] == [0]
    assert watcher.revisions() == [2]
    assert watcher.sink.frames[0]["coalesced"] == 1


def test_a_later_subscriber_takes_no_update_from_an_earlier_one(edge: FakeEdge) -> None:
    first, second = Watcher(), Watcher()
    edge.feed.revisions["ada"] = 5
    subscribe(edge, first)
    edge.feed.revisions["ada"] = 6  # applied, but still on its way over the stream
    subscribe(edge, second)
    edge.hub.deliver(update("ada", 6, "load"))

    assert first.revisions() == [6]
    assert first.crossings() == ["load"]
    assert second.revisions() == []
    edge.hub.deliver(update("ada", 7))
    assert second.revisions() == [7]
    assert second.crossings() == []


def test_a_paused_reader_gets_the_newest_with_all_crossings_when_it_reads_again(
    edge: FakeEdge, watcher: Watcher
) -> None:
    subscription = subscribe(edge, watcher)
    edge.move("ada")
    watcher.sink.paused = True
    for crossing in ("a", "b", "c"):
        edge.move("ada", crossing)
    assert watcher.revisions() == [1]
    watcher.sink.paused = False
    subscription.flush()
    edge.move("ada")

    assert watcher.revisions() == [1, 4, 5]
    assert [frame["coalesced"] for frame in watcher.sink.frames] == [0, 2, 0]
    assert watcher.crossings() == ["a", "b", "c"]


def test_an_interval_is_kept_and_its_end_brings_the_newest(
    edge: FakeEdge, watcher: Watcher
) -> None:
    subscribe(edge, watcher, interval_s=1.0)
    edge.move("ada")
    edge.move("ada")
    edge.move("ada")
    edge.clock.advance(0.9)
    edge.timers.turn()
    assert watcher.revisions() == [1]
    edge.clock.advance(0.2)
    edge.timers.turn()

    assert watcher.revisions() == [1, 3]


def test_updates_older_than_the_gate_are_dropped_but_their_crossings_are_told(
    edge: FakeEdge, watcher: Watcher
) -> None:
    subscription = subscribe(edge, watcher)
    subscription.wrote(3)  # this socket saw its write of revision 3 acknowledged
    edge.move("ada", "a")
    edge.move("ada", "b")
    edge.move("ada")

    assert watcher.revisions() == [3]
    assert watcher.crossings() == ["a", "b"]


def test_every_revision_is_delivered_in_order_and_gaps_are_read_from_the_log(
    edge: FakeEdge, watcher: Watcher
) -> None:
    subscribe(edge, watcher, every=True)
    log = [update("ada", revision) for revision in range(1, 7)]
    edge.brain.log["ada"] = log
    edge.hub.deliver(log[0])
    edge.hub.deliver(log[4])
    edge.hub.deliver(log[5])

    assert watcher.revisions() == [1, 2, 3, 4, 5, 6]
    assert edge.brain.replays == [("ada", 1, 4)]
    assert {frame["coalesced"] for frame in watcher.sink.frames} == {0}


def test_a_resuming_reader_of_every_revision_gets_what_it_missed_before_it_is_subscribed(
    edge: FakeEdge, watcher: Watcher
) -> None:
    edge.feed.revisions["ada"] = 250
    edge.brain.log["ada"] = [update("ada", revision) for revision in range(1, 251)]
    subscribe(edge, watcher, every=True, resume=("e1", 10))
    edge.move("ada")

    assert watcher.revisions() == list(range(11, 252))
    assert [missed for _, missed in watcher.subscribed] == [240]


def test_a_replay_waits_for_its_reader(edge: FakeEdge, watcher: Watcher) -> None:
    edge.feed.revisions["ada"] = 250
    edge.brain.log["ada"] = [update("ada", revision) for revision in range(1, 251)]
    watcher.sink.paused = True
    subscription = subscribe(edge, watcher, every=True, resume=("e1", 0))
    edge.move("ada")
    assert (watcher.revisions(), watcher.subscribed) == ([], [])
    while watcher.revisions() != list(range(1, 252)):
        before = len(watcher.sink.frames)
        _read_some(edge, watcher, subscription)
        assert len(watcher.sink.frames) > before

    assert watcher.sink.sent_while_paused == 0
    assert [missed for _, missed in watcher.subscribed] == [250]


def _read_some(edge: FakeEdge, watcher: Watcher, subscription: Subscription) -> None:
    """Let a reader take 30 frames and then be slow again."""
    sink, until = watcher.sink, len(watcher.sink.frames) + 30
    keep = sink.send

    def send(payload: bytes) -> None:
        keep(payload)
        sink.paused = len(sink.frames) >= until

    sink.send, sink.paused = send, False  # type: ignore[method-assign]
    subscription.flush()
    sink.send = keep  # type: ignore[method-assign]


def test_another_epoch_is_no_resume(edge: FakeEdge, watcher: Watcher) -> None:
    edge.feed.revisions["ada"] = 5
    subscribe(edge, watcher, every=True, resume=("e0", 3))

    assert edge.brain.replays == []
    assert watcher.revisions() == []
    assert watcher.subscribed == [(edge.feed.snapshot("ada"), 0)]


def test_a_log_with_a_hole_is_told_and_does_not_stop_the_stream(
    edge: FakeEdge, watcher: Watcher
) -> None:
    subscribe(edge, watcher, every=True)
    edge.hub.deliver(update("ada", 1))
    edge.hub.deliver(update("ada", 4))
    edge.hub.deliver(update("ada", 5))

    assert watcher.revisions() == [1, 4, 5]
    assert [frame["coalesced"] for frame in watcher.sink.frames] == [0, 2, 0]
    assert len(edge.brain.replays) == 1


def test_a_log_that_cannot_be_read_closes_the_socket_so_that_it_resumes(
    edge: FakeEdge, watcher: Watcher
) -> None:
    edge.feed.revisions["ada"] = 5
    edge.brain.failure = UpstreamError("unavailable", "x")
    subscribe(edge, watcher, every=True, resume=("e1", 3))

    assert watcher.sink.closed is not None
    assert watcher.sink.closed[0] == CloseCode.TRY_LATER
    assert watcher.subscribed == []


def test_a_reader_of_every_revision_that_is_far_too_slow_is_closed(
    edge: FakeEdge, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every, "MAX_QUEUED", 10)
    subscribe(edge, watcher, every=True)
    watcher.sink.paused = True
    for _ in range(10):
        edge.move("ada")
    assert watcher.sink.closed is None
    edge.move("ada")

    assert watcher.sink.closed is not None
    assert watcher.sink.closed[0] == CloseCode.TRY_LATER
    assert watcher.sink.frames == []


def test_a_new_epoch_starts_revisions_again_for_everyone(edge: FakeEdge) -> None:
    latest, every = Watcher(), Watcher()
    subscribe(edge, latest)
    subscribe(edge, every, every=True)
    edge.move("ada")
    every.sink.paused = latest.sink.paused = True
    edge.move("ada")
    assert edge.hub.begin_epoch("e1") is False
    assert edge.hub.begin_epoch("e2") is True
    every.sink.paused = latest.sink.paused = False
    edge.brain.log["ada"] = [update("ada", revision, epoch="e2") for revision in (1, 2)]
    edge.hub.deliver(edge.brain.log["ada"][1])

    assert [(frame["epoch"], frame["revision"]) for frame in latest.sink.frames] == [
        ("e1", 1),
        ("e2", 2),
    ]
    assert [(f["epoch"], f["revision"]) for f in every.sink.frames] == [
        ("e1", 1),
        ("e2", 1),
        ("e2", 2),
    ]


def test_cursors_say_what_is_known_and_how_it_is_wanted(edge: FakeEdge, watcher: Watcher) -> None:
    assert edge.hub.cursor("ada") is None
    edge.feed.hold = True
    subscription = subscribe(edge, watcher)
    assert edge.hub.cursor("ada") == ("", 0, False)
    edge.feed.release()
    edge.move("ada")
    assert edge.hub.cursor("ada") == ("e1", 1, False)
    edge.feed.hold = False
    another = Watcher()
    subscribe(edge, another, every=True)
    assert edge.hub.cursor("ada") == ("e1", 1, True)
    assert edge.hub.learners() == ["ada"]
    edge.hub.unsubscribe(subscription)
    edge.hub.unsubscribe(subscription)
    assert edge.feed.unwatched == []
    edge.hub.unsubscribe(subscribe(edge, another))
    assert edge.feed.unwatched == ["ada"]
    assert edge.hub.cursor("ada") is None
    assert len(edge.counters.learners) == 0


def test_a_subscription_that_cannot_be_made_leaves_nothing(
    edge: FakeEdge, watcher: Watcher
) -> None:
    edge.feed.failure = UpstreamError("unavailable", "x")
    subscribe(edge, watcher)

    assert isinstance(watcher.subscribed[0][0], UpstreamError)
    assert (edge.hub.learners(), len(edge.counters.learners), edge.feed.unwatched) == (
        [],
        0,
        ["ada"],
    )


def test_a_snapshot_that_comes_after_the_end_is_not_told(edge: FakeEdge, watcher: Watcher) -> None:
    edge.feed.hold = True
    edge.hub.unsubscribe(subscribe(edge, watcher))
    edge.feed.release()

    assert watcher.subscribed == []


def test_an_erased_learner_is_told_to_all_and_forgotten(edge: FakeEdge) -> None:
    watchers = [Watcher() for _ in range(3)]
    for number, watcher in enumerate(watchers):
        subscribe(edge, watcher, every=number == 1, interval_s=number)
    edge.move("ada")
    edge.hub.deliver(gone("ada"))
    edge.hub.deliver(update("ada", 2))

    assert [watcher.gone for watcher in watchers] == [["ada"]] * 3
    assert [watcher.revisions() for watcher in watchers] == [[1]] * 3
    assert (edge.hub.learners(), len(edge.counters.learners)) == ([], 0)


def test_an_update_is_encoded_once_for_all_who_saw_the_same(edge: FakeEdge) -> None:
    prepared: list[bytes] = []
    edge = FakeEdge(prepare=lambda payload: prepared.append(payload) or b"prepared:" + payload)  # type: ignore[func-returns-value]
    for _ in range(100):
        subscribe(edge, Watcher())
    edge.move("ada")

    assert len(prepared) == 1


def test_deliveries_of_a_learner_nobody_watches_are_ignored(edge: FakeEdge) -> None:
    edge.hub.deliver(Update(learner_id="nobody", epoch="e1", revision=1, assessment=None))

    assert edge.hub.learners() == []
