"""Values of the edge as tests need them: an interaction, an update, an assessment, a message."""

from __future__ import annotations

from typing import Any

from edge.frames.outgoing import Assessment, Crossing, Grades, Levels, Performance
from edge.ports import LiveAssessment, Member, RoomEvent, Update


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
