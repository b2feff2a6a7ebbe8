"""Small real objects in the place of the edge's neighbours: each keeps what it is asked and answers
as a test says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge.admission.access import Access
from edge.admission.budgets import Budgets
from edge.admission.registry import Registry
from edge.frames.incoming import AdaptData
from edge.frames.outgoing import (
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
    Member,
    Members,
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
from tests.support.clocks import FAR_AHEAD_MS, FakeClock
from tests.support.edge_values import live_assessment, result, update


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
