"""Requests in any order, answered in any order, while rights come and go: each that has an id gets
one answer, and no frame shows less than the socket has written.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_values import gone, interaction, update
from tests.support.fakes import FakeEdge

LEARNERS = ("ada", "ben")
ROOMS = ("r", "s")
UNANSWERED = {"room_message"}
"""Heard by the others; only its refusal is an answer."""

learners = st.sampled_from(LEARNERS)
rooms = st.sampled_from(ROOMS)


def requests(learner: str, room: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any request about this learner and this room, good or bad."""
    of_learner = {"learner_id": learner}
    return st.sampled_from(
        [
            {"type": "subscribe_learner", **of_learner},
            {"type": "subscribe_learner", **of_learner, "mode": "every"},
            {"type": "subscribe_learner", **of_learner, "resume": {"epoch": "e1", "revision": 0}},
            {
                "type": "subscribe_learner",
                **of_learner,
                "mode": "every",
                "resume": {"epoch": "e1", "revision": 0},
            },
            {"type": "unsubscribe_learner", **of_learner},
            {"type": "virtual_brain_interact", "data": interaction(learner)},
            {"type": "virtual_brain_interact", "data": {**interaction(learner), "context": []}},
            {"type": "get_state", **of_learner},
            {
                "type": "adapt_content",
                "data": {**of_learner, "content": "x", "content_type": "text"},
            },
            {"type": "join_room", "room_id": room},
            {"type": "leave_room", "room_id": room},
            {"type": "room_message", "room_id": room, "data": {}},
            {"type": "room_message", "room_id": room, "data": []},
            {"type": "authenticate", "token": "teacher"},
            {"type": "authenticate", "token": "ben"},
            {"type": "authenticate", "token": "nobody"},
            {"type": "ping"},
            {"type": "dance"},
        ]
    )


class AnsweredOnce(RuleBasedStateMachine):
    """One socket, whose neighbours answer when the machine lets them."""

    @initialize()
    def start(self) -> None:
        self.edge = FakeEdge(settings=EdgeSettings(frames_per_s=0, max_rooms=1))
        self.edge.feed.revisions = self.edge.brain.revisions  # one brain behind both
        self.session, self.sink = self.edge.session("teacher")
        self.neighbours = (
            self.edge.auth,
            self.edge.brain,
            self.edge.feed,
            self.edge.room_link,
        )
        for neighbour in self.neighbours:
            neighbour.hold = True
        self.kinds: dict[int, str] = {}
        self.answers: dict[int, list[dict[str, Any]]] = {}
        self.written = dict.fromkeys(LEARNERS, 0)

    @rule(data=st.data(), learner=learners, room=rooms)
    def ask(self, data: st.DataObject, learner: str, room: str) -> None:
        frame = data.draw(requests(learner, room))
        number = len(self.kinds) + 1
        self.kinds[number] = frame["type"]
        self.session.on_text(json.dumps({**frame, "id": number}).encode())

    @rule(which=st.integers(0, 3), count=st.integers(1, 3))
    def answer(self, which: int, count: int) -> None:
        self.neighbours[which].release(count)

    @rule(which=st.integers(0, 3), fails=st.booleans())
    def fail(self, which: int, fails: bool) -> None:
        error = UpstreamError("unavailable", "Not now.") if fails else None
        self.neighbours[which].failure = error

    @rule(action=st.sampled_from(["watch", "join", "interact"]), allowed=st.booleans())
    def decide(self, action: str, allowed: bool) -> None:
        for resource in (*LEARNERS, *ROOMS):
            self.edge.auth.decisions["u-teacher", action, resource] = allowed
        self.edge.access.forget_user("u-teacher")
        self.session.recheck()

    @rule(learner=learners)
    def move(self, learner: str) -> None:
        """Somebody else writes, and the stream tells at once."""
        revision = self.edge.brain.revisions.get(learner, 0) + 1
        self.edge.brain.revisions[learner] = revision
        self.edge.hub.deliver(update(learner, revision))

    @precondition(lambda self: not any(one.held for one in self.neighbours))
    @rule(learner=learners)
    def erase(self, learner: str) -> None:
        """What was under way then would tell of a history that is no more."""
        self.edge.brain.revisions.pop(learner, None)
        self.edge.brain.log.pop(learner, None)
        self.written[learner] = 0
        self.session.watching._written.pop(learner, None)
        self.edge.hub.deliver(gone(learner))

    @invariant()
    def hear(self) -> None:
        for frame in self.sink.take():
            if "id" in frame:
                self.answers.setdefault(frame["id"], []).append(frame)
            learner, revision = frame.get("learner_id"), frame.get("revision")
            if learner is None or revision is None:
                continue
            if frame["type"] == "virtual_brain_response":
                self.written[learner] = max(self.written[learner], revision)
            else:
                assert revision >= self.written[learner], (frame, "shows less than was written")
        for number, answers in self.answers.items():
            assert len(answers) == 1, (self.kinds[number], answers)

    def teardown(self) -> None:
        for neighbour in getattr(self, "neighbours", ()):
            neighbour.failure = None
        for _ in range(100):
            for neighbour in getattr(self, "neighbours", ()):
                neighbour.release()
        if hasattr(self, "sink") and self.sink.closed is None:
            self.hear()
            unanswered = {
                number: kind
                for number, kind in self.kinds.items()
                if number not in self.answers and kind not in UNANSWERED
            }
            assert unanswered == {}


TestAnsweredOnce = AnsweredOnce.TestCase
TestAnsweredOnce.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
