"""Small real objects in the place of the edge's neighbours: each keeps what it is asked and answers
as a test says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge.admission.access import Access
from edge.admission.budgets import Budgets
from edge.admission.registry import Registry
from edge.frames.incoming import AdaptData
from edge.frames.outgoing import (
    Assessment,
    Crossing,
    Grades,
    Levels,
    Performance,
    StateResponse,
    VirtualBrainResponse,
)
from edge.hub.hub import Hub
from edge.hub.rooms import Rooms
from edge.ports import (
    Adapted,
    Done,
    Identity,
    Interaction,
    LearnerSnapshot,
    LiveAssessment,
    Member,
    Members,
    RoomEvent,
    Update,
    UpstreamError,
)
from edge.session.dependencies import Dependencies
from edge.session.session import Session
from edge.settings import EdgeSettings
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import NO_RECORDING, NoRecording
from edge.telemetry.tracing import NO_TRACES, NoTraces
from edge.timers import TimerWheel
from service_runtime import trace_context

T = TypeVar("T")

FAR_AHEAD_MS = 4_102_444_800_000
"""The year 2100."""


class FakeClock:
    """A clock that stands still until it is told how much time has passed."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class InstantLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time: its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout:
                self._ahead += timeout
            return select(0 if timeout is not None else None)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        """Return seconds, those that were jumped over included."""
        return super().time() + self._ahead


def run_instantly(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run `work` on an InstantLoop and return its result and how many seconds it would have
    taken.
    """
    loop = InstantLoop()
    try:
        started = loop.time()
        return loop.run_until_complete(work), loop.time() - started
    finally:
        loop.close()


class Answers:
    """Answers at once, or, while `hold` is set, when `release` is called."""

    def __init__(self) -> None:
        self.hold = False
        self.failure: UpstreamError | None = None
        """What everything is answered with, when set."""
        self.held: list[Callable[[], None]] = []

    def answer(self, done: Done | None, value: Any) -> None:
        """Give `value` to `done`, now or on release."""
        if done is None:
            return
        value = self.failure or value
        if self.hold:
            self.held.append(lambda: done(value))
        else:
            done(value)

    def release(self, count: int | None = None) -> None:
        """Give the oldest `count` answers, or all."""
        count = len(self.held) if count is None else count
        ready, self.held = self.held[:count], self.held[count:]
        for give in ready:
            give()


class FakeSink:
    """Keeps what it is sent, as frames."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.paused = False
        self.frames: list[dict[str, Any]] = []
        self.sent_while_paused = 0
        self.closed: tuple[int, str] | None = None
        self.holding = False
        self.deadline_changes = 0

    def send(self, payload: bytes) -> None:
        """Keep a frame, unless the socket is closing."""
        if self.closed is None:
            self.sent_while_paused += self.paused
            self.frames.append(json.loads(payload))

    def send_prepared(self, frame: bytes) -> None:
        """Keep a prepared frame."""
        self.send(unprepare(frame))

    def close(self, code: int, reason: str = "") -> None:
        """Note how the socket is closed."""
        self.closed = self.closed or (code, reason)

    def deadline_changed(self) -> None:
        """Count."""
        self.deadline_changes += 1

    def hold_reading(self, hold: bool) -> None:
        """Note whether frames are taken."""
        self.holding = hold

    def of(self, *types: str) -> list[dict[str, Any]]:
        """Return the frames of these types."""
        return [frame for frame in self.frames if frame["type"] in types]

    def take(self) -> list[dict[str, Any]]:
        """Return the frames since the last time."""
        frames, self.frames = self.frames, []
        return frames

    def one(self) -> dict[str, Any]:
        """Return the only frame since the last time."""
        (frame,) = self.take()
        return frame


def prepare(payload: bytes) -> bytes:
    """Mark a payload as prepared."""
    return b"prepared:" + payload


def unprepare(frame: bytes) -> bytes:
    """Return the payload of a prepared frame; fails when it is not one."""
    assert frame.startswith(b"prepared:")
    return frame.removeprefix(b"prepared:")


class FakeAuth(Answers):
    """Knows tokens and decisions from two dicts; everything that is not there is allowed or refused
    by `default`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, Identity] = {
            name: Identity(f"u-{name}", role, f"s-{name}", FAR_AHEAD_MS)
            for name, role in (
                ("ada", "learner"),
                ("ben", "learner"),
                ("teacher", "teacher"),
                ("admin", "admin"),
            )
        }
        self.decisions: dict[tuple[str, str, str], bool] = {}
        self.default = True
        self.ttl_s = 30.0
        self.asked: list[tuple[str, str, str]] = []

    def authenticate(self, token: str, done: Done) -> None:
        """Answer with the token's identity."""
        self.answer(
            done,
            self.tokens.get(token) or UpstreamError("unauthenticated", "The token is not valid."),
        )

    def authorize(self, user_id: str, action: str, resource: str, done: Done) -> None:
        """Answer with the decision as it is at the moment of asking."""
        self.asked.append((user_id, action, resource))
        self.answer(
            done, (self.decisions.get((user_id, action, resource), self.default), self.ttl_s)
        )


class FakeBrain(Answers):
    """Counts revisions per learner and keeps a log of updates."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = "e1"
        self.sent: list[Interaction] = []
        self.alone: list[bool] = []
        """Of each that was sent, whether its sender had nothing else under way."""
        self.revisions: dict[str, int] = {}
        self.log: dict[str, list[Update]] = {}
        self.asked: list[tuple[str, int]] = []
        self.replays: list[tuple[str, int, int]] = []

    def interact(self, interaction: Interaction, done: Done, *, alone: bool = False) -> None:
        """Acknowledge with the learner's next revision."""
        self.alone.append(alone)
        sent = Interaction(  # a copy, which does not hold on to the socket that waits
            interaction.data,
            interaction.context,
            interaction_id=interaction.interaction_id,
            received_at_ms=interaction.received_at_ms,
            trace=interaction.trace,
            max_age_s=interaction.max_age_s,
        )
        sent.traceparent = trace_context.render(sent.trace)
        self.sent.append(sent)
        learner_id = sent.data.learner_id
        revision = self.revisions[learner_id] = self.revisions.get(learner_id, 0) + 1
        self.answer(
            done,
            VirtualBrainResponse(learner_id, result(), "", sent.interaction_id, revision, False),
        )

    def get_state(self, learner_id: str, *, min_revision: int, done: Done) -> None:
        """Answer with the present revision."""
        self.asked.append((learner_id, min_revision))
        revision = self.revisions.get(learner_id, 0)
        now = live_assessment()
        found = (now.state, now.performance) if revision else (None, None)
        self.answer(done, StateResponse(learner_id, *found, self.epoch, revision, ""))

    def adapt(self, data: AdaptData, *, done: Done) -> None:
        """Answer with the content in capitals."""
        self.answer(done, Adapted(data.content.upper(), [{"code": "capitals"}]))

    def replay(self, learner_id: str, *, after: int, until: int, done: Done) -> None:
        """Answer from the log."""
        self.replays.append((learner_id, after, until))
        self.answer(
            done, [one for one in self.log.get(learner_id, []) if after < one.revision <= until]
        )


class FakeFeed(Answers):
    """Answers watches from a dict of snapshots and keeps what is watched."""

    def __init__(self, epoch: str = "e1") -> None:
        super().__init__()
        self.epoch = epoch
        self.revisions: dict[str, int] = {}
        self.watched: list[str] = []
        self.unwatched: list[str] = []

    def watch(self, learner_id: str, done: Done) -> None:
        """Answer with the learner's snapshot."""
        self.watched.append(learner_id)
        self.answer(done, self.snapshot(learner_id))

    def unwatch(self, learner_id: str) -> None:
        """Note."""
        self.unwatched.append(learner_id)

    def snapshot(self, learner_id: str) -> LearnerSnapshot:
        """Return where a learner stands."""
        revision = self.revisions.get(learner_id, 0)
        return LearnerSnapshot(self.epoch, revision, live_assessment() if revision else None)


class FakeRoomLink(Answers):
    """Keeps who is where and what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, list[Member]] = {}
        self.said: list[tuple[str, str, bytes]] = []

    def join(self, room_id: str, member: Member, done: Done) -> None:
        """Bring a member in."""
        members = self.members.setdefault(room_id, [])
        if member not in members:
            members.append(member)
        self.answer(done, Members(tuple(members), len(members)))

    def leave(self, room_id: str, connection_id: str, done: Done | None) -> None:
        """Take a member out."""
        self.members[room_id] = [
            one for one in self.members.get(room_id, []) if one.connection_id != connection_id
        ]
        self.answer(done, True)

    def publish(self, room_id: str, connection_id: str, data: bytes, done: Done) -> None:
        """Keep what was said."""
        self.said.append((room_id, connection_id, data))
        self.answer(done, True)


@dataclass(kw_only=True)
class FakeEdge:
    """An edge whose neighbours are fakes: real hub, rooms, registry, access and sessions."""

    settings: EdgeSettings = field(default_factory=EdgeSettings)
    clock: FakeClock = field(default_factory=FakeClock)
    brain: FakeBrain = field(default_factory=FakeBrain)
    auth: FakeAuth = field(default_factory=FakeAuth)
    feed: FakeFeed = field(default_factory=FakeFeed)
    room_link: FakeRoomLink = field(default_factory=FakeRoomLink)
    prepare: Callable[[bytes], bytes] = prepare
    traces: NoTraces = NO_TRACES
    recording: NoRecording = NO_RECORDING

    def __post_init__(self) -> None:
        self.counters = EdgeCounters()
        self.timers = TimerWheel(self.clock)
        self.hub = Hub(
            brain=self.brain,
            prepare=self.prepare,
            timers=self.timers,
            clock=self.clock,
            counters=self.counters,
            traces=self.traces,
        )
        self.hub.feed = self.feed
        self.rooms = Rooms(prepare=self.prepare, counters=self.counters)
        self.registry = Registry(
            self.counters,
            max_per_user=self.settings.max_sockets_per_user,
            max_per_address=self.settings.max_sockets_per_address,
        )
        self.access = Access(self.auth, self.clock)
        self.dependencies = Dependencies(
            settings=self.settings,
            hub=self.hub,
            rooms=self.rooms,
            registry=self.registry,
            budgets=Budgets(
                rate=self.settings.user_units_per_s, burst=self.settings.user_units_burst
            ),
            access=self.access,
            brain=self.brain,
            auth=self.auth,
            room_link=self.room_link,
            counters=self.counters,
            timers=self.timers,
            clock=self.clock,
            traces=self.traces,
            recording=self.recording,
        )

    def session(self, token: str | None = None) -> tuple[Session, FakeSink]:
        """Open a session, authenticated when a token is given; its sink has no frames yet."""
        sink = FakeSink()
        session = Session(self.dependencies, sink)
        if token is not None:
            session.authenticate(token)
            assert sink.take()[-1]["type"] == "connection_established"
        return session, sink

    def move(self, learner_id: str, *crossings: str) -> Update:
        """Move a learner's state by one revision in the store and on the stream."""
        revision = self.feed.revisions[learner_id] = self.feed.revisions.get(learner_id, 0) + 1
        one = update(learner_id, revision, *crossings, epoch=self.feed.epoch)
        self.brain.log.setdefault(learner_id, []).append(one)
        self.hub.deliver(one)
        return one


def say(session: Session, type: str, **fields: Any) -> None:
    """Give a frame to a session."""
    session.on_text(json.dumps({"type": type, **fields}).encode())


def interaction(learner_id: str = "ada", **data: Any) -> dict[str, Any]:
    """Return the data of an interaction."""
    return {"learner_id": learner_id, "type": "question_response", "content": "2 + 2?", **data}


def live_assessment() -> LiveAssessment:
    """Return some assessment."""
    return LiveAssessment(
        Levels(0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        Performance(0.7, 8.0, 0.9, -0.1),
        ["Take a break."],
        [],
    )


def update(learner_id: str, revision: int, *crossings: str, epoch: str = "e1") -> Update:
    """Return an update; each of `crossings` becomes one that happened at this revision."""
    return Update(
        learner_id=learner_id,
        epoch=epoch,
        revision=revision,
        assessment=live_assessment(),
        crossings=[Crossing(name, True, 0.9, revision) for name in crossings],
        occurred_at="2026-01-01T00:00:00.000Z",
        trace_id=f"{revision:032x}",
    )


def gone(learner_id: str, revision: int = 0) -> Update:
    """Return the update that says that a learner was erased."""
    return Update(learner_id=learner_id, epoch="e1", revision=revision, assessment=None)


def result() -> Assessment:
    """Return what the model says after an interaction."""
    now = live_assessment()
    return Assessment(
        success=True,
        state=now.state,
        performance=now.performance,
        mastery={"add": 0.5},
        predicted_correct=0.6,
        recommendations=now.recommendations,
        actions=[],
        drivers={},
        confidence=0.2,
        model_version="m/1",
        uncertainty=now.state,
        grades=Grades(*["theory"] * 6),
        item_confidence=0.4,
    )


def message(room_id: str, member: Member, data: bytes = b"{}") -> RoomEvent:
    """Return a room's message."""
    return RoomEvent("message", room_id, member, data)
