"""Turns what the brain says into what frames carry; rounds levels as the protocol does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aivo.brain.v1 import brain_pb2
from edge.frames import outgoing
from edge.frames.clock import rfc3339
from edge.ports import LiveAssessment, Update
from edge.upstream.meaning import LEVEL_NAMES, because, explanations, levels, meaning, rounded
from service_runtime import validation

_URGENCIES = {0: "none", 1: "low", 2: "medium", 3: "high"}
_GRADES = {0: "none", 1: "human", 2: "convergent", 3: "theory"}
_CLIPPED = "clipped"


def performance(message: brain_pb2.Performance) -> outgoing.Performance:
    """Return the summary of answers, rounded to 4 decimals."""
    return outgoing.Performance(
        rounded(message.accuracy),
        rounded(message.response_time_s),
        rounded(message.consistency),
        rounded(message.improvement_rate),
    )


def recommendations(message: brain_pb2.Assessment) -> tuple[list[str], list[outgoing.Action]]:
    """Return the recommendations for people, and the same for machines."""
    sentences, actions = [], []
    for one in message.recommendations:
        sentences.append(one.sentence)
        action = outgoing.Action(
            one.code, list(one.reasons), _URGENCIES.get(one.urgency, "none"), outgoing.ABSENT
        )
        if one.because:
            action.because = because(one.because)
        actions.append(action)
    return sentences, actions


class _Layout(NamedTuple):
    """What is the same in all assessments of one model version: the table's first rows, and the
    grades.
    """

    size: int
    """Of the table without rows of clipped levels, which come last."""
    levels: tuple[tuple[str, Callable[..., Any], int, int], ...]
    """Per level its name, what makes an object of its drivers, and where their contributions begin
    and end.
    """
    grades: outgoing.Grades


_layouts: dict[str, _Layout] = {}
"""By model version; there are as few as versions that the brains of one fleet run."""


def _layout(message: brain_pb2.Assessment) -> _Layout:
    layout = _layouts.get(message.model_version)
    if layout is None:
        layout = _layouts[message.model_version] = _read_layout(message)
    return layout


def _read_layout(message: brain_pb2.Assessment) -> _Layout:
    rows: dict[str, list[str]] = {}
    for level, name in zip(message.drivers.levels, message.drivers.names, strict=True):
        if name != _CLIPPED:
            rows.setdefault(LEVEL_NAMES.get(level, "unknown"), []).append(name)
    levels, size = [], 0
    for level_name, names in rows.items():
        levels.append((level_name, outgoing.record(names), size, size + len(names)))
        size += len(names)
    grades = [_GRADES.get(grade, "none") for grade in message.grades[:6]]
    return _Layout(size, tuple(levels), outgoing.Grades(*(grades + ["none"] * (6 - len(grades)))))


def drivers(message: brain_pb2.Assessment) -> dict[str, Any]:
    """Return per level what moved it and by how much."""
    layout, table = _layout(message), message.drivers
    contributions = table.contributions[:]
    if len(contributions) > layout.size:
        return _clipped_drivers(table)
    return {level: make(*contributions[first:last]) for level, make, first, last in layout.levels}


def _clipped_drivers(table: brain_pb2.DriverTable) -> dict[str, Any]:
    moved: dict[str, dict[str, float]] = {}
    for level, name, contribution in zip(
        table.levels, table.names, table.contributions, strict=True
    ):
        moved.setdefault(LEVEL_NAMES.get(level, "unknown"), {})[name] = contribution
    return moved


def assessment(message: brain_pb2.Assessment) -> LiveAssessment:
    """Return the part that watchers see live."""
    return LiveAssessment(
        levels(message.levels),
        performance(message.performance),
        *recommendations(message),
        meaning(message),
    )


def result(message: brain_pb2.Assessment) -> outgoing.Assessment:
    """Return everything that the learner's own socket hears after an interaction."""
    now = message.levels
    sentences, actions = recommendations(message)
    return outgoing.Assessment(
        True,
        levels(now),
        performance(message.performance),
        {one.skill: rounded(one.probability) for one in message.mastery},
        rounded(message.predicted_correct) if message.HasField("predicted_correct") else None,
        sentences,
        actions,
        drivers(message),
        rounded(message.confidence),
        message.model_version,
        levels(message.uncertainty),
        _layout(message).grades,
        rounded(now.item_confidence),
        meaning=meaning(message),
    )


def state_response(snapshot: brain_pb2.LearnerSnapshot, epoch: str) -> outgoing.StateResponse:
    """Return a learner's whole present state."""
    if not snapshot.HasField("assessment"):
        return outgoing.StateResponse(snapshot.learner_id, None, None, epoch, snapshot.revision, "")
    assessment = snapshot.assessment
    sentences, actions = recommendations(assessment)
    return outgoing.StateResponse(
        learner_id=snapshot.learner_id,
        state=levels(assessment.levels),
        performance=performance(assessment.performance),
        epoch=epoch,
        revision=snapshot.revision,
        timestamp="",
        mastery=masteries(assessment.mastery),
        recommendations=sentences,
        actions=actions,
        drivers=drivers(assessment),
        uncertainty=levels(assessment.uncertainty),
        grades=_layout(assessment).grades,
        confidence=rounded(assessment.confidence),
        model_version=assessment.model_version,
        occurred_at=rfc3339(snapshot.occurred_at_ms),
        meaning=meaning(assessment),
        explanations=explanations(assessment),
    )


def masteries(messages: Iterable[brain_pb2.SkillMastery]) -> dict[str, outgoing.Mastery]:
    """Return mastery per skill with the evidence behind it."""
    return {
        one.skill: outgoing.Mastery(
            rounded(one.probability), one.answers, rounded(one.standard_error)
        )
        for one in messages
    }


def crossings(messages: Iterable[brain_pb2.Crossing]) -> list[outgoing.Crossing]:
    """Return what watchers must not miss."""
    return [
        outgoing.Crossing(one.name, one.rising, rounded(one.value), one.revision)
        for one in messages
    ]


def update(message: brain_pb2.StateUpdate, epoch: str) -> Update:
    """Return an update from the watch stream."""
    traceparents = tuple(message.traceparents)
    return Update(
        learner_id=message.learner_id,
        epoch=epoch,
        revision=message.revision,
        assessment=None if message.gone else assessment(message.assessment),
        crossings=crossings(message.crossings),
        occurred_at=rfc3339(message.occurred_at_ms),
        trace_id=trace_id(traceparents[0]) if traceparents else "",
        traceparents=traceparents,
    )


def context(data: bytes) -> object:
    """Return an interaction's context as it came; as text what older versions took and no reader
    could parse.
    """
    try:
        validation.check_object(data or b"{}", most=len(data) + 2)
    except validation.OutsideError:
        data = json.dumps(data.decode(errors="replace")).encode()
    return outgoing.raw(data or b"{}")


def update_from_snapshot(snapshot: brain_pb2.LearnerSnapshot, epoch: str) -> Update:
    """Return a snapshot as an update, for watchers whose revisions began again."""
    return Update(
        learner_id=snapshot.learner_id,
        epoch=epoch,
        revision=snapshot.revision,
        assessment=assessment(snapshot.assessment),
        occurred_at=rfc3339(snapshot.occurred_at_ms),
    )


def update_from_history(learner_id: str, entry: brain_pb2.HistoryEntry, epoch: str) -> Update:
    """Return an entry of the log as an update."""
    return Update(
        learner_id=learner_id,
        epoch=epoch,
        revision=entry.revision,
        assessment=assessment(entry.assessment),
        crossings=crossings(entry.crossings),
        occurred_at=rfc3339(entry.occurred_at_ms),
        trace_id=trace_id(entry.traceparent),
        traceparents=(entry.traceparent,) if entry.traceparent else (),
    )


def trace_id(traceparent: str) -> str:
    """Return the trace id in a `traceparent`, or "" when there is none."""
    return traceparent[3:35]
