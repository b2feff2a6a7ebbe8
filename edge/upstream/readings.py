"""Turns what the brain says into what frames carry; rounds levels as the protocol does."""

from __future__ import annotations

from collections.abc import Iterable

from aivo.brain.v1 import brain_pb2
from edge.frames import outgoing
from edge.frames.clock import rfc3339
from edge.ports import Advice, Update

_URGENCIES = {0: "none", 1: "low", 2: "medium", 3: "high"}
_GRADES = {0: "none", 1: "human", 2: "convergent", 3: "theory"}
_LEVEL_NAMES = {
    brain_pb2.LEVEL_COGNITIVE_LOAD: "cognitive_load",
    brain_pb2.LEVEL_ENGAGEMENT: "engagement_level",
    brain_pb2.LEVEL_FRUSTRATION: "frustration_level",
    brain_pb2.LEVEL_FATIGUE: "fatigue_level",
    brain_pb2.LEVEL_CONFIDENCE: "confidence_level",
    brain_pb2.LEVEL_MOTIVATION: "motivation_level",
    brain_pb2.LEVEL_ITEM_CONFIDENCE: "item_confidence",
}


def levels(message: brain_pb2.Levels) -> outgoing.Levels:
    """Return the six levels, rounded to 4 decimals."""
    return outgoing.Levels(
        round(message.cognitive_load, 4),
        round(message.engagement, 4),
        round(message.frustration, 4),
        round(message.fatigue, 4),
        round(message.confidence, 4),
        round(message.motivation, 4),
    )


def performance(message: brain_pb2.Performance) -> outgoing.Performance:
    """Return the summary of answers, rounded to 4 decimals."""
    return outgoing.Performance(
        round(message.accuracy, 4),
        round(message.response_time_s, 4),
        round(message.consistency, 4),
        round(message.improvement_rate, 4),
    )


def actions(message: brain_pb2.Reading) -> list[outgoing.Action]:
    """Return the recommendations for machines."""
    return [
        outgoing.Action(one.code, list(one.reasons), _URGENCIES.get(one.urgency, "none"))
        for one in message.recommendations
    ]


def sentences(message: brain_pb2.Reading) -> list[str]:
    """Return the recommendations for people."""
    return [one.sentence for one in message.recommendations]


def drivers(table: brain_pb2.DriverTable) -> dict[str, dict[str, float]]:
    """Return per level what moved it and by how much."""
    moved: dict[str, dict[str, float]] = {}
    level = 0
    row: dict[str, float] = {}
    for which, name, contribution in zip(table.levels, table.names, table.contributions, strict=True):
        if which != level:
            level = which
            row = moved.setdefault(_LEVEL_NAMES.get(which, "unknown"), {})
        row[name] = contribution
    return moved


def grades(message: brain_pb2.Reading) -> outgoing.Grades:
    """Return how well each of the six levels was checked."""
    names = [_GRADES.get(grade, "none") for grade in message.grades[:6]]
    return outgoing.Grades(*(names + ["none"] * (6 - len(names))))


def advice(message: brain_pb2.Reading) -> Advice:
    """Return the part that watchers see live."""
    return Advice(levels(message.levels), performance(message.performance), sentences(message), actions(message))


def result(message: brain_pb2.Reading) -> outgoing.Result:
    """Return everything that the learner's own socket hears after an interaction."""
    now = message.levels
    return outgoing.Result(
        success=True,
        state=levels(now),
        performance=performance(message.performance),
        mastery={one.skill: round(one.probability, 4) for one in message.mastery},
        predicted_correct=round(message.predicted_correct, 4) if message.HasField("predicted_correct") else None,
        recommendations=sentences(message),
        actions=actions(message),
        drivers=drivers(message.drivers),
        confidence=round(message.confidence, 4),
        model_version=message.model_version,
        uncertainty=levels(message.uncertainty),
        grades=grades(message),
        item_confidence=round(now.item_confidence, 4),
    )


def state_response(snapshot: brain_pb2.Snapshot, epoch: str) -> outgoing.StateResponse:
    """Return a learner's whole present state."""
    if not snapshot.HasField("reading"):
        return outgoing.StateResponse(snapshot.learner_id, None, None, epoch, snapshot.revision, "")
    reading = snapshot.reading
    return outgoing.StateResponse(
        learner_id=snapshot.learner_id,
        state=levels(reading.levels),
        performance=performance(reading.performance),
        epoch=epoch,
        revision=snapshot.revision,
        timestamp="",
        mastery=masteries(reading.mastery),
        recommendations=sentences(reading),
        actions=actions(reading),
        drivers=drivers(reading.drivers),
        uncertainty=levels(reading.uncertainty),
        grades=grades(reading),
        confidence=round(reading.confidence, 4),
        model_version=reading.model_version,
        occurred_at=rfc3339(snapshot.occurred_at_ms),
    )


def masteries(messages: Iterable[brain_pb2.SkillMastery]) -> dict[str, outgoing.Mastery]:
    """Return mastery per skill with the evidence behind it."""
    return {
        one.skill: outgoing.Mastery(round(one.probability, 4), one.answers, round(one.standard_error, 4))
        for one in messages
    }


def crossings(messages: Iterable[brain_pb2.Crossing]) -> list[outgoing.Crossing]:
    """Return what watchers must not miss."""
    return [outgoing.Crossing(one.name, one.rising, round(one.value, 4), one.revision) for one in messages]


def update(message: brain_pb2.StateUpdate, epoch: str) -> Update:
    """Return an update from the watch stream."""
    return Update(
        learner_id=message.learner_id,
        epoch=epoch,
        revision=message.revision,
        advice=None if message.gone else advice(message.reading),
        crossings=crossings(message.crossings),
        occurred_at=rfc3339(message.occurred_at_ms),
        trace_id=trace_id(message.traceparents[0]) if message.traceparents else "",
    )


def update_from_snapshot(snapshot: brain_pb2.Snapshot, epoch: str) -> Update:
    """Return a snapshot as an update, for watchers whose revisions began again."""
    return Update(
        learner_id=snapshot.learner_id,
        epoch=epoch,
        revision=snapshot.revision,
        advice=advice(snapshot.reading),
        occurred_at=rfc3339(snapshot.occurred_at_ms),
    )


def update_from_history(learner_id: str, entry: brain_pb2.HistoryEntry, epoch: str) -> Update:
    """Return an entry of the log as an update."""
    return Update(
        learner_id=learner_id,
        epoch=epoch,
        revision=entry.revision,
        advice=advice(entry.reading),
        crossings=crossings(entry.crossings),
        occurred_at=rfc3339(entry.occurred_at_ms),
        trace_id=trace_id(entry.traceparent),
    )


def trace_id(traceparent: str) -> str:
    """Return the trace id in a `traceparent`, or "" when there is none."""
    return traceparent[3:35]
