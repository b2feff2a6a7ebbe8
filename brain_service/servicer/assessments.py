"""Writes assessments in protobuf's wire format, each once: the hot path of every answer and update.

Independent of streams and stores. Setting some thirty fields one by one costs three times as much
as packing all doubles at once between prepared tags and letting protobuf parse the result.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from operator import itemgetter
from struct import Struct
from typing import Final

from aivo.brain.v1 import brain_pb2
from brain_service.model import Assessment, SkillMastery, levels
from brain_service.model.levels import CLIPPED, DRIVER_NAMES, NAMES
from brain_service.model.params import LEVELS
from brain_service.model.recommend import ADVICE, Recommendation
from brain_service.servicer import meaning
from brain_service.servicer.wire_format import BYTES, FIXED64, SHORT, VARINT, tag, varint

_ORDER: Final = (
    ("cognitive_load", brain_pb2.LEVEL_COGNITIVE_LOAD),
    ("engagement_level", brain_pb2.LEVEL_ENGAGEMENT),
    ("frustration_level", brain_pb2.LEVEL_FRUSTRATION),
    ("fatigue_level", brain_pb2.LEVEL_FATIGUE),
    ("confidence_level", brain_pb2.LEVEL_CONFIDENCE),
    ("motivation_level", brain_pb2.LEVEL_MOTIVATION),
    ("item_confidence", brain_pb2.LEVEL_ITEM_CONFIDENCE),
)
_NUMBERS: Final = dict(_ORDER)
_GRADES: Final = {
    "human": brain_pb2.GRADE_HUMAN,
    "convergent": brain_pb2.GRADE_CONVERGENT,
    "theory": brain_pb2.GRADE_THEORY,
}
_in_order: Final = itemgetter(*(NAMES.index(name) for name, _ in _ORDER))


class AssessmentCache:
    """Serialises assessments, and remembers those of the last two batches for the updates to
    watchers.

    Not longer, because assessments are large, and slow to free once they have left the processor's
    caches. They are found by identity, because comparing costs more than converting; a remembered
    assessment is held, so its identity stays unique.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[Assessment, bytes]] = {}
        self._before: dict[int, tuple[Assessment, bytes]] = {}

    def next_batch(self) -> None:
        """Begin a batch of answers."""
        self._before, self._last = self._last, {}

    def answer(self, assessment: Assessment) -> bytes:
        """Serialise an assessment, and remember it."""
        written = serialised(assessment)
        self._last[id(assessment)] = assessment, written
        return written

    def of(self, assessment: Assessment) -> bytes:
        """Return an assessment serialised, from memory or made now."""
        found = self._last.get(id(assessment)) or self._before.get(id(assessment))
        return serialised(assessment) if found is None else found[1]

    def clear(self) -> None:
        """Forget everything: a learner was erased, and nothing of theirs may stay."""
        self._last, self._before = {}, {}
        _recommended.cache_clear()


def serialised(assessment: Assessment) -> bytes:
    """Write it in wire format."""
    estimates, performance = assessment.estimates, assessment.performance
    fields = _FIELDS.copy()
    fields[_LEVELS] = _in_order(estimates.levels)
    fields[_UNCERTAINTY] = _in_order(levels.uncertainty(estimates))
    fields[_PERFORMANCE] = (
        performance.accuracy,
        performance.response_time or 0.0,
        performance.consistency,
        performance.improvement_rate,
    )
    fields[_CONFIDENCE] = levels.confidence(estimates)
    parts = [
        _STRUCT.pack(*fields, *chain.from_iterable(estimates.contributions)),
        _version(assessment.model_version),
    ]
    if 0.0 in estimates.levels or 1.0 in estimates.levels:
        parts.append(_clipped(estimates))
    for mastery in assessment.mastery:
        parts.append(_mastery(mastery))
    if assessment.predicted_correct is not None:
        parts.append(_PREDICTED.pack(_PREDICTED_TAG, assessment.predicted_correct))
    if assessment.meaning is not None:
        parts.append(meaning.serialised(assessment.meaning, estimates))
    for recommendation in assessment.recommendations:
        parts.append(_recommended(recommendation.advice.number, recommendation.skill))
    return b"".join(parts)


def _mastery(mastery: SkillMastery) -> bytes:
    skill, probability, answers, standard_error = mastery
    name = skill.encode()
    fixed = _MASTERY.pack(_PROBABILITY_TAG, probability, _ERROR_TAG, standard_error, _ANSWERS_TAG)
    written = fixed + varint(answers) + _SKILL_TAG + varint(len(name)) + name
    return _MASTERY_TAG + varint(len(written)) + written


@lru_cache(maxsize=16)
def _version(version: str) -> bytes:
    return brain_pb2.Assessment(model_version=version).SerializeToString()


@lru_cache(maxsize=1024)
def _recommended(number: int, skill: str) -> bytes:
    """Return an assessment with a single recommendation, serialised; cached, because there are
    few.
    """
    recommendation = Recommendation(ADVICE[number], (), skill)
    assessment = brain_pb2.Assessment()
    assessment.recommendations.add(
        code=recommendation.code,
        urgency=brain_pb2.Urgency.ValueType(
            recommendation.urgency
        ),  # the model's numbers are the contract's
        sentence=recommendation.sentence,
        reasons=recommendation.reasons,
        because=meaning.because(recommendation.because),
    )
    return assessment.SerializeToString()


def _clipped(estimates: levels.Estimates) -> bytes:
    """The extra rows of clipped levels; a second table in the bytes continues where the first one
    ends.
    """
    return b"".join([
        _CLIPPED[position] + _CONTRIBUTION.pack(driver.contribution)
        for position, level in enumerate(estimates.levels)
        if level in (0.0, 1.0)
        for driver in levels.drivers(estimates, position)[len(DRIVER_NAMES[position]) :]
    ])  # fmt: skip


def _clipped_row(name: str) -> bytes:
    """An assessment with only the clipped row of one level, up to its contribution."""
    row = brain_pb2.DriverTable(levels=[_NUMBERS[name]], names=[CLIPPED], contributions=[0.0])
    return brain_pb2.Assessment(drivers=row).SerializeToString(deterministic=True)[
        : -_CONTRIBUTION.size
    ]


def _prepared() -> tuple[bytes, bytes]:
    """What never changes within a model version: the grades, and the table of drivers up to its
    contributions.
    """
    grades = {level.name: _GRADES[level.grade] for level in LEVELS}
    rows = [
        (name, driver)
        for name, drivers in zip(NAMES, DRIVER_NAMES, strict=True)
        for driver in drivers
    ]
    table = brain_pb2.DriverTable(
        levels=[_NUMBERS[name] for name, _ in rows], names=[driver for _, driver in rows]
    )
    size = 8 * len(rows)
    contributions = SHORT[tag(table.DESCRIPTOR, "contributions", BYTES)] + varint(size)
    head = table.SerializeToString(deterministic=True) + contributions
    drivers = SHORT[tag(_ASSESSMENT, "drivers", BYTES)] + varint(len(head) + size) + head
    return brain_pb2.Assessment(
        grades=[grades[name] for name, _ in _ORDER]
    ).SerializeToString(), drivers


def _doubles(field: str) -> tuple[bytes, list[float]]:
    """The head of a submessage of doubles, and its tags with room after each for the value."""
    message = _ASSESSMENT.fields_by_name[field].message_type
    names = [each.name for each in message.fields] if message else []
    head = bytes((tag(_ASSESSMENT, field, BYTES), 9 * len(names)))
    return head, [value for name in names for value in (tag(message, name, FIXED64), 0.0)]


_ASSESSMENT: Final = brain_pb2.Assessment.DESCRIPTOR
_MASTERY_TAG: Final = SHORT[tag(_ASSESSMENT, "mastery", BYTES)]
_SKILL_TAG: Final = SHORT[tag(brain_pb2.SkillMastery.DESCRIPTOR, "skill", BYTES)]
_PROBABILITY_TAG: Final = tag(brain_pb2.SkillMastery.DESCRIPTOR, "probability", FIXED64)
_ERROR_TAG: Final = tag(brain_pb2.SkillMastery.DESCRIPTOR, "standard_error", FIXED64)
_ANSWERS_TAG: Final = tag(brain_pb2.SkillMastery.DESCRIPTOR, "answers", VARINT)
_PREDICTED_TAG: Final = tag(_ASSESSMENT, "predicted_correct", FIXED64)
_PREDICTED: Final = Struct("<Bd")
_CONTRIBUTION: Final = Struct("<d")
_CLIPPED: Final = tuple(map(_clipped_row, NAMES))
_MASTERY: Final = Struct("<BdBdB")


def _layout() -> tuple[Struct, list[bytes | float]]:
    """How the fixed part is packed, and its fields with all tags in place; only `_LEVELS` …
    `_CONFIDENCE` change.
    """
    grades, drivers = _prepared()
    fields: list[bytes | float] = []
    form = "<"
    for name in ("levels", "uncertainty", "performance"):
        head, doubles = _doubles(name)
        fields += [head, *doubles]
        form += f"{len(head)}s" + "Bd" * (len(doubles) // 2)
    fields += [tag(_ASSESSMENT, "confidence", FIXED64), 0.0, grades, drivers]
    form += f"Bd{len(grades)}s{len(drivers)}s{sum(map(len, DRIVER_NAMES))}d"
    return Struct(form), fields


_STRUCT, _FIELDS = _layout()
_LEVELS: Final = slice(2, 16, 2)
_UNCERTAINTY: Final = slice(17, 31, 2)
_PERFORMANCE: Final = slice(32, 40, 2)
_CONFIDENCE: Final = 40
