"""Whatever happens in whatever order, every socket sees of every learner what the protocol
promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.admission.budgets import Budget
from edge.hub.subscription import Subscription
from edge.ports import Done, LearnerSnapshot, Update, UpstreamError
from tests.support.edge_values import gone, live_assessment, update
from tests.support.fakes import FakeEdge, FakeSink

LEARNERS = ("ada", "ben")


class Store:
    """What the brain has: a log per learner and one epoch; it plays the feed and the brain for the
    hub.

    Snapshots and pages of the log are read when they are asked for and arrive later; updates arrive
    on a stream in order, coalesced at will; a reopened stream starts at the hub's cursors.
    """

    def __init__(self) -> None:
        self.epoch = "e1"
        self.log: dict[str, list[Update]] = {learner: [] for learner in LEARNERS}
        self.stream_number = 0
        """Grows when the stream is opened again; snapshots asked of an earlier one are asked again.
        """
        self.streamed: dict[str, int] = {}
        """How far the stream has told each learner it watches."""
        self.under_way: list[Callable[[], None]] = []
        self.edge: FakeEdge

    def newest(self, learner: str) -> int:
        return len(self.log[learner])

    def watch(self, learner_id: str, done: Done) -> None:
        def modify() -> None:
            cursor = self.edge.hub.cursor(learner_id)
            if cursor is None:
                self.streamed.pop(learner_id, None)
                done(UpstreamError("internal", "nobody wants it"))
                return
            epoch, revision, _ = cursor
            newest = self.newest(learner_id)
            self.streamed[learner_id] = (
                revision if epoch == self.epoch and revision <= newest else newest
            )
            snapshot = LearnerSnapshot(self.epoch, newest, live_assessment() if newest else None)
            stream_number = self.stream_number
            self.under_way.append(
                lambda: done(snapshot) if stream_number == self.stream_number else modify()
            )

        self.under_way.append(modify)

    def unwatch(self, learner_id: str) -> None:
        def modify() -> None:
            if self.edge.hub.cursor(learner_id) is None:
                self.streamed.pop(learner_id, None)

        self.under_way.append(modify)

    def replay(self, learner_id: str, *, after: int, until: int, done: Done) -> None:
        page = [one for one in self.log[learner_id] if after < one.revision <= until]
        self.under_way.append(lambda: done(page))

    def stream(self, learner: str, *, coalesce: bool) -> None:
        """Tell the next update of a learner, or the newest with the crossings of those skipped."""
        at = self.streamed.get(learner)
        if at is None or at >= self.newest(learner):
            return
        cursor = self.edge.hub.cursor(learner)
        until = self.newest(learner) if coalesce and not (cursor and cursor[2]) else at + 1
        last = self.log[learner][until - 1]
        crossings = [crossing for one in self.log[learner][at:until] for crossing in one.crossings]
        self.streamed[learner] = until
        self.edge.hub.deliver(
            Update(
                learner_id=learner,
                epoch=self.epoch,
                revision=until,
                assessment=last.assessment,
                crossings=crossings,
                trace_id=last.trace_id,
            )
        )


@dataclass
class Seen:
    """One subscription as its socket sees it."""

    subscription: Subscription
    epoch: str = ""
    started: int = -1
    """Revision of the snapshot; -1 before."""
    first: int = -1
    """Revision that the client had, for those who resume."""
    at: int = -1
    told: int = -1
    """Up to which revision it has heard of crossings."""
    crossed: list[int] = field(default_factory=list)
    written: int = 0


class Socket:
    """A subscriber that checks every frame as it comes."""

    def __init__(self, machine: HubPromises) -> None:
        self.machine = machine
        self.sink: FakeSink = _CheckingSink(self)
        self.seen: dict[str, Seen] = {}

    budget = Budget(rate=0.0, burst=0.0, now=0.0)

    @property
    def user_id(self) -> str:
        return str(id(self))

    def written(self, learner_id: str) -> int:
        return self.seen[learner_id].written if learner_id in self.seen else 0

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        assert isinstance(snapshot, LearnerSnapshot)
        seen = self.seen[subscription.learner_id]
        assert seen.subscription is subscription
        assert seen.started == -1
        assert snapshot.revision >= seen.written, "a socket sees its own writes"
        if seen.first >= 0 and subscription.every:
            assert seen.at == snapshot.revision or seen.at == seen.first >= snapshot.revision
            assert missed == max(0, snapshot.revision - seen.first)
        else:
            assert missed == 0
        seen.started, seen.epoch = snapshot.revision, snapshot.epoch
        seen.at = seen.told = snapshot.revision
        resume = subscription.resume
        if resume and not subscription.every and resume[0] == snapshot.epoch:
            seen.told = min(resume[1], snapshot.revision)

    def on_delivered(self, subscription: Subscription) -> None: ...

    def on_gone(self, learner_id: str) -> None:
        del self.seen[learner_id]

    def on_frame(self, frame: dict[str, Any]) -> None:
        assert not self.sink.paused
        seen = self.seen[frame["learner_id"]]
        revision = frame["revision"]
        assert frame["epoch"] == self.machine.store.epoch == seen.epoch or seen.started == -1
        assert seen.started >= 0 or seen.first >= 0
        assert revision > seen.at, "revisions grow and nothing comes twice"
        assert frame["coalesced"] == revision - seen.at - 1, (
            "the count of what was skipped is exact"
        )
        if seen.subscription.every:
            assert revision == seen.at + 1, "every revision comes"
        else:
            assert revision >= seen.written, "a socket sees its own writes"
        crossed = [one["revision"] for one in frame["crossings"]]
        expected = [
            crossing.revision
            for one in self.machine.store.log[frame["learner_id"]][
                max(0, seen.told if not seen.subscription.every else seen.at) : revision
            ]
            for crossing in one.crossings
        ]
        assert crossed == expected, "every crossing since the last update is told, once"
        seen.at = seen.told = revision


class _CheckingSink(FakeSink):
    def __init__(self, socket: Socket) -> None:
        super().__init__()
        self._socket = socket

    def send(self, payload: bytes) -> None:
        super().send(payload)
        self._socket.on_frame(self.take()[0])


sockets = st.integers(0, 2)
learners = st.sampled_from(LEARNERS)
rarely = st.integers(0, 3)


class HubPromises(RuleBasedStateMachine):
    """Random histories of three sockets, two learners and one store."""

    @initialize()
    def start(self) -> None:
        self.store = Store()
        self.edge = FakeEdge(brain=self.store, feed=self.store)  # type: ignore[arg-type]
        self.store.edge = self.edge
        self.sockets = [Socket(self) for _ in range(3)]

    @rule(
        which=sockets,
        learner=learners,
        every=st.booleans(),
        interval_s=st.sampled_from([0, 0, 0.5, 2]),
        back=st.none() | st.integers(0, 4),
        at_once=st.booleans(),
    )
    def subscribe(
        self,
        which: int,
        learner: str,
        every: bool,
        interval_s: float,
        back: int | None,
        at_once: bool,
    ) -> None:
        socket = self.sockets[which]
        resume = None
        if back is not None:
            resume = (self.store.epoch, max(0, self.store.newest(learner) - back))
        earlier = socket.seen.get(learner)
        subscription = self.edge.hub.subscription(
            socket, learner, every=every, interval_s=0 if every else interval_s, resume=resume
        )
        written = earlier.written if earlier else 0
        first = resume[1] if resume and every else -1
        socket.seen[learner] = Seen(subscription, first=first, at=first, written=written)
        self.edge.hub.subscribe(subscription)
        if at_once:
            self.all_arrives()

    @rule(which=sockets, learner=learners)
    def unsubscribe(self, which: int, learner: str) -> None:
        seen = self.sockets[which].seen.pop(learner, None)
        if seen is not None:
            self.edge.hub.unsubscribe(seen.subscription)

    @rule(learner=learners, crosses=st.booleans(), times=st.integers(1, 3), at_once=st.booleans())
    def move(self, learner: str, crosses: bool, times: int, at_once: bool) -> None:
        for _ in range(times):
            log = self.store.log[learner]
            log.append(
                update(
                    learner, len(log) + 1, *(["load"] if crosses else []), epoch=self.store.epoch
                )
            )
            if at_once:
                self.store.stream(learner, coalesce=False)

    @rule(learner=learners, coalesce=st.booleans())
    def stream(self, learner: str, coalesce: bool) -> None:
        self.store.stream(learner, coalesce=coalesce)

    @precondition(lambda self: self.store.under_way)
    @rule(count=st.integers(1, 4))
    def arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.store.under_way))):
            self.store.under_way.pop(0)()

    def all_arrives(self) -> None:
        while self.store.under_way:
            self.store.under_way.pop(0)()

    @rule(which=sockets)
    def pause(self, which: int) -> None:
        self.sockets[which].sink.paused = True

    @rule(which=sockets)
    def read_again(self, which: int) -> None:
        socket = self.sockets[which]
        socket.sink.paused = False
        for seen in list(socket.seen.values()):
            seen.subscription.flush()

    @rule(seconds=st.sampled_from([0.06, 0.3, 1.0]))
    def wait(self, seconds: float) -> None:
        self.edge.clock.advance(seconds)
        self.edge.timers.turn()

    @rule(which=sockets, learner=learners, crosses=st.booleans())
    def write(self, which: int, learner: str, crosses: bool) -> None:
        """A socket's own interaction is acknowledged before its update arrives."""
        self.move(learner, crosses, 1, False)
        seen = self.sockets[which].seen.get(learner)
        if seen is None or seen.subscription.every:
            return
        revision = self.store.newest(learner)
        seen.written = revision
        seen.subscription.wrote(revision)

    @rule()
    def reopen_the_stream(self) -> None:
        """The stream breaks: what was on its way is lost, the next one starts at the hub's
        cursors.
        """
        self._reopen()

    def _reopen(self) -> None:
        self.store.streamed = {}
        self.store.stream_number += 1
        for learner in self.edge.hub.learners():
            cursor = self.edge.hub.cursor(learner)
            assert cursor is not None
            epoch, revision, _ = cursor
            newest = self.store.newest(learner)
            self.store.streamed[learner] = (
                revision if epoch == self.store.epoch and revision <= newest else newest
            )

    @rule(learner=learners, chance=rarely)
    def erase(self, learner: str, chance: int) -> None:
        """The stream tells the end after everything before it; whoever subscribes later starts
        anew.
        """
        if chance:
            return
        self.all_arrives()
        self.store.log[learner] = []
        self.store.streamed.pop(learner, None)
        self.edge.hub.deliver(gone(learner))
        for socket in self.sockets:
            assert learner not in socket.seen

    @rule(chance=rarely)
    def lose_the_history(self, chance: int) -> None:
        """The store begins a new epoch; the reopened stream brings everyone to its snapshots."""
        if chance:
            return
        self.all_arrives()
        self.store.epoch = f"e{int(self.store.epoch[1:]) + 1}"
        for learner in LEARNERS:
            self.store.log[learner] = [
                update(learner, revision, epoch=self.store.epoch)
                for revision in range(1, self.store.newest(learner))
            ]
        for socket in self.sockets:
            for seen in socket.seen.values():
                seen.epoch, seen.written, seen.first = self.store.epoch, 0, -1
                seen.at = seen.told = 0 if seen.started >= 0 else -1
        self.edge.hub.begin_epoch(self.store.epoch)
        self._reopen()
        for learner in self.edge.hub.learners():
            if newest := self.store.newest(learner):
                self.edge.hub.deliver(update(learner, newest, epoch=self.store.epoch))

    @invariant()
    def counts_are_right(self) -> None:
        if not hasattr(self, "sockets"):
            return
        watched = {learner for socket in self.sockets for learner in socket.seen}
        assert set(self.edge.hub.learners()) == watched
        assert len(self.edge.counters.learners) == len(watched)

    def teardown(self) -> None:
        """When everyone reads and everything has arrived, everyone has the newest."""
        if not hasattr(self, "sockets"):
            return
        for _ in range(3):
            for which in range(3):
                self.read_again(which)
            self.all_arrives()
            for learner in LEARNERS:
                while self.store.streamed.get(learner, 1 << 60) < self.store.newest(learner):
                    self.store.stream(learner, coalesce=False)
                    self.all_arrives()
            self.wait(3.0)
        for socket in self.sockets:
            assert socket.sink.closed is None
            for learner, seen in socket.seen.items():
                assert seen.started >= 0
                assert seen.at == self.store.newest(learner)


HubPromises.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.reuse, Phase.generate],
)
TestHubPromises = HubPromises.TestCase
