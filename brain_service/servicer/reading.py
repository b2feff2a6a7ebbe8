"""Makes protobuf readings of outcomes, once per outcome: the hot path of every answer and every update.

Knows nothing of streams or stores. What never changes within a model version (the grades, which driver belongs to which
level) is parsed from one prepared message, which costs a tenth of setting it field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from typing import Final

from aivo.brain.v1 import brain_pb2
from brain_service import levels
from brain_service.levels import DRIVER_NAMES, NAMES
from brain_service.model import Outcome, Performance, SkillMastery
from brain_service.params import LEVELS, PRIOR_SD

MAX_CACHED: Final = 2048
"""Readings kept: enough for the batch that is being answered and the updates that are on their way."""

_ORDER: Final = (
    ("cognitive_load", brain_pb2.LEVEL_COGNITIVE_LOAD),
    ("engagement_level", brain_pb2.LEVEL_ENGAGEMENT),
    ("frustration_level", brain_pb2.LEVEL_FRUSTRATION),
    ("fatigue_level", brain_pb2.LEVEL_FATIGUE),
    ("confidence_level", brain_pb2.LEVEL_CONFIDENCE),
    ("motivation_level", brain_pb2.LEVEL_MOTIVATION),
    ("item_confidence", brain_pb2.LEVEL_ITEM_CONFIDENCE),
)
_LOAD, _ENGAGEMENT, _FRUSTRATION, _FATIGUE, _CONFIDENCE, _MOTIVATION, _ITEM = (NAMES.index(name) for name, _ in _ORDER)
_NUMBERS: Final = dict(_ORDER)
_GRADES: Final = {
    "human": brain_pb2.GRADE_HUMAN,
    "convergent": brain_pb2.GRADE_CONVERGENT,
    "theory": brain_pb2.GRADE_THEORY,
}
_SQUARED_RMSE: Final = tuple(level.rmse**2 for level in LEVELS)

_VARIANCE: Final = PRIOR_SD**2


class Readings:
    """Makes readings, and returns the same message for the same outcome while it is remembered.

    Outcomes are recognised by identity (comparing them would cost more than converting them); a remembered outcome is
    held, so its identity cannot pass to another. Callers must not change what they get.
    """

    def __init__(self, limit: int = MAX_CACHED) -> None:
        self._limit = limit
        self._made: dict[int, tuple[Outcome, brain_pb2.Reading]] = {}

    def of(self, outcome: Outcome) -> brain_pb2.Reading:
        """Return the reading of `outcome`."""
        found = self._made.get(id(outcome))
        if found is not None:
            return found[1]
        reading = reading_of(outcome)
        if len(self._made) >= self._limit:
            del self._made[next(iter(self._made))]
        self._made[id(outcome)] = (outcome, reading)
        return reading

    def clear(self) -> None:
        """Forget everything: a learner was erased, and nothing of theirs may stay."""
        self._made.clear()
        _recommended.cache_clear()


def reading_of(outcome: Outcome) -> brain_pb2.Reading:
    """Make the reading of `outcome`."""
    readout = outcome.readout
    reading = brain_pb2.Reading.FromString(_PREPARED)
    _set_levels(reading.levels, readout.levels)
    _set_levels(reading.uncertainty, _uncertainty(readout.evidence))
    reading.drivers.contributions.extend(sum(readout.contributions, ()))
    if 0.0 in readout.levels or 1.0 in readout.levels:
        _add_clipped(reading.drivers, readout)
    _set_performance(reading.performance, outcome.performance)
    for mastery in outcome.mastery:
        _add_mastery(reading, mastery)
    if outcome.predicted_correct is not None:
        reading.predicted_correct = outcome.predicted_correct
    for recommendation in outcome.recommendations:
        reading.MergeFromString(
            _recommended(recommendation.code, recommendation.urgency, recommendation.sentence, recommendation.reasons)
        )
    reading.confidence = levels.confidence(readout)
    reading.model_version = outcome.model_version
    return reading


def _set_levels(message: brain_pb2.Levels, values: Sequence[float]) -> None:
    message.cognitive_load = values[_LOAD]
    message.engagement = values[_ENGAGEMENT]
    message.frustration = values[_FRUSTRATION]
    message.fatigue = values[_FATIGUE]
    message.confidence = values[_CONFIDENCE]
    message.motivation = values[_MOTIVATION]
    message.item_confidence = values[_ITEM]


def _uncertainty(evidence: Sequence[float]) -> list[float]:
    # The same as `levels.uncertainty`, with the squares of constants taken once.
    return [
        sqrt(square + (missing := 1.0 - w) * missing * _VARIANCE)
        for square, w in zip(_SQUARED_RMSE, evidence, strict=True)
    ]


def _set_performance(message: brain_pb2.Performance, performance: Performance) -> None:
    message.accuracy = performance.accuracy
    message.response_time_s = performance.response_time or 0.0
    message.consistency = performance.consistency
    message.improvement_rate = performance.improvement_rate


def _add_mastery(reading: brain_pb2.Reading, mastery: SkillMastery) -> None:
    skill, probability, answers, standard_error = mastery
    reading.mastery.add(skill=skill, probability=probability, answers=answers, standard_error=standard_error)


@lru_cache(maxsize=1024)
def _recommended(code: str, urgency: int, sentence: str, reasons: tuple[str, ...]) -> bytes:
    """Return a reading that has nothing but one recommendation, serialised: there are few, and they come again."""
    reading = brain_pb2.Reading()
    reading.recommendations.add(
        code=code,
        urgency=brain_pb2.Urgency.ValueType(urgency),  # the model's numbers are the contract's
        sentence=sentence,
        reasons=reasons,
    )
    return reading.SerializeToString()


def _add_clipped(table: brain_pb2.DriverTable, readout: levels.Readout) -> None:
    for position, name in enumerate(NAMES):
        drivers = levels.drivers(readout, position)
        for driver in drivers[len(DRIVER_NAMES[position]) :]:
            table.levels.append(_NUMBERS[name])
            table.names.append(driver.name)
            table.contributions.append(driver.contribution)


def _prepare() -> bytes:
    grades = {level.name: _GRADES[level.grade] for level in LEVELS}
    rows = [(name, driver) for name, drivers in zip(NAMES, DRIVER_NAMES, strict=True) for driver in drivers]
    return brain_pb2.Reading(
        grades=[grades[name] for name, _ in _ORDER],
        drivers=brain_pb2.DriverTable(
            levels=[_NUMBERS[name] for name, _ in rows], names=[driver for _, driver in rows]
        ),
    ).SerializeToString(deterministic=True)


_PREPARED: Final = _prepare()
