"""Learner states and assessments as compact bytes: their shape, not their meaning.

Both start with the number of their layout and end with a CRC-32 over everything before, so that
truncated or damaged bytes are refused, never misread. Older layouts are read and led to today's,
see `layouts`. A state also carries the hash of the constants under which all of it was computed:
one that goes on under newer constants keeps the old hash, which tells that it can be rebuilt. An
assessment carries the version that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from math import isnan, nan
from struct import Struct, error
from typing import Any, Final, TypeVar
from zlib import crc32

from brain_service.model import layouts
from brain_service.model.assessment import Assessment, Performance
from brain_service.model.items import COUNT_SIZE, KEY_SIZE
from brain_service.model.layouts import ASSESSMENT, ASSESSMENTS, STATE, STATES, AssessmentLayout
from brain_service.model.levels import BASES, NAMES, Estimates
from brain_service.model.meaning import Meaning
from brain_service.model.params import PARAMS_HASH
from brain_service.model.prediction import SkillMastery
from brain_service.model.recommend import ADVICE, Recommendation
from brain_service.model.state import LearnerState, Pace, Progress, Session, Standing, Task
from brain_service.model.values import maker

T = TypeVar("T")

_PARTS: Final[dict[str, Any]] = {
    "session": Session,
    "progress": Progress,
    "pace": Pace,
    "task": Task,
    "standing": Standing,
}
"""The parts of a state that its layout lists field by field."""
_UP_TO_DATE: Final = bytes((STATE,)) + PARAMS_HASH
_CONSTANTS: Final = slice(1, len(_UP_TO_DATE))

_pack_state: Final = STATES[STATE].fixed.pack
_pack_assessment: Final = ASSESSMENTS[ASSESSMENT].fixed.pack
_pack_meaning: Final = ASSESSMENTS[ASSESSMENT].meaning.pack
_make_assessment, _make_estimates = maker(Assessment), maker(Estimates)
_make_meaning = maker(Meaning)
_BASES: Final = dict(zip(NAMES, BASES, strict=True))
_MASTERY: Final = Struct("<ddI")
_ADVICE: Final = Struct("<BB")
_CRC: Final = Struct("<I")


class CorruptBytesError(ValueError):
    """Stored bytes are truncated or damaged."""


class UnknownLayoutError(ValueError):
    """Stored bytes have a layout that this version does not know."""


def encode_state(state: LearnerState, constants: bytes = PARAMS_HASH) -> bytes:
    """Write a state: about 790 bytes, 57 and its name for each skill, 12 for each item.

    `constants` is the hash of those under which all of it was computed; see `constants_of`.
    """
    (
        revision, session, signals, weights, (*answered, response_time), pace,
        (item, attempts, hints), advice, standing, skills, keys, counts,
    ) = state  # fmt: skip
    body = b"".join((
        _pack_state(
            STATE, constants, revision, *session, *signals, *weights, *answered,
            nan if response_time is None else response_time, *pace, item is not None, item or b"",
            attempts, hints, advice, *standing, len(skills), len(keys) // KEY_SIZE,
        ),
        *skills.values(),
        keys,
        counts,
        "\0".join(skills).encode(),
    ))  # fmt: skip
    return body + _CRC.pack(crc32(body))


def decode_state(data: bytes) -> LearnerState:
    """Read a state: exactly as it was, or where its layout is older, led to today's.

    Raises `UnknownLayoutError` or `CorruptBytesError`.
    """
    layout = _layout("state", data, STATES)
    body = _checked(data)
    try:
        fields, skill_count, item_count = layout.read(body)
        skills_at = layout.fixed.size
        memories = _packed(layout.skill.size, skill_count)
        items_at = skills_at + memories.size
        counts_at = items_at + item_count * KEY_SIZE
        names_at = counts_at + item_count * COUNT_SIZE
        if names_at > len(body):
            raise ValueError
        names = body[names_at:].decode().split("\0") if skill_count else ()
        fields["skills"] = dict(zip(names, memories.unpack_from(body, skills_at), strict=True))
    except (error, ValueError) as fault:
        raise CorruptBytesError("The stored state is damaged.") from fault
    fields["item_keys"], fields["item_counts"] = body[items_at:counts_at], body[counts_at:names_at]
    return _state(layouts.todays(fields, data[0]))


def _state(fields: layouts.Fields) -> LearnerState:
    """Put together a state of its fields by name."""
    parts: layouts.Fields = {
        name: part(*[fields.pop(field) for field in part._fields]) for name, part in _PARTS.items()
    }
    return LearnerState(**parts, **fields)


def constants_of(data: bytes) -> bytes:
    """Return the hash of the constants under which all of a stored state was computed."""
    return data[_CONSTANTS]


def is_up_to_date(data: bytes) -> bool:
    """Tell whether all of a stored state was computed as today; its first bytes are enough."""
    return data.startswith(_UP_TO_DATE)


STAMP_BYTES: Final = len(_UP_TO_DATE)
"""How many first bytes of a state `is_up_to_date` looks at."""


def encode_assessment(assessment: Assessment) -> bytes:
    """Write an assessment: about 550 bytes and 24 for each skill touched."""
    (
        revision, time, estimates, performance, mastery, predicted, recommendations, meaning,
        model_version,
    ) = assessment  # fmt: skip
    levels, contributions, evidence = estimates
    accuracy, response_time, consistency, improvement_rate = performance
    version = model_version.encode()
    parts = [
        _pack_assessment(
            ASSESSMENT, revision, time, *levels, *chain.from_iterable(contributions), *evidence,
            accuracy, nan if response_time is None else response_time, consistency,
            improvement_rate,
            nan if predicted is None else predicted,
            len(version), len(mastery), len(recommendations),
        ),
        version,
    ]  # fmt: skip
    for skill, probability, answers, standard_error in mastery:
        parts += _MASTERY.pack(probability, standard_error, answers), _text(skill)
    for advice, values, skill in recommendations:
        parts += (
            _ADVICE.pack(advice.number, len(values)),
            _doubles(len(values)).pack(*values),
            _text(skill),
        )
    if meaning is not None:
        parts.append(_pack_meaning(*meaning))
    body = b"".join(parts)
    return body + _CRC.pack(crc32(body))


def decode_assessment(data: bytes) -> Assessment:
    """Read an assessment: exactly as it was, or, where its layout is older, as today's.

    Raises `UnknownLayoutError` or `CorruptBytesError`.
    """
    layout = _layout("assessment", data, ASSESSMENTS)
    body = _checked(data)
    try:
        return _assessment(body, layout)
    except (error, IndexError, KeyError, UnicodeDecodeError) as fault:
        raise CorruptBytesError("The stored assessment is damaged.") from fault


def _assessment(body: bytes, layout: AssessmentLayout) -> Assessment:
    fields = layout.fixed.unpack_from(body)
    estimates: layouts.Estimates = (
        fields[layout.levels],
        tuple([fields[drivers] for drivers in layout.contributions]),
        fields[layout.evidence],
    )
    if layout is not ASSESSMENTS[ASSESSMENT]:
        estimates = layouts.renamed(layout, estimates, ASSESSMENTS[ASSESSMENT], _BASES)
    version_length, mastered, recommended = fields[-3:]
    at = layout.fixed.size
    version = body[at : at + version_length].decode()
    at += version_length
    mastery = []
    for _ in range(mastered):
        probability, standard_error, answers = _MASTERY.unpack_from(body, at)
        skill, at = _read_text(body, at + _MASTERY.size)
        mastery.append(SkillMastery(skill, probability, answers, standard_error))
    recommendations = []
    for _ in range(recommended):
        number, count = _ADVICE.unpack_from(body, at)
        at += _ADVICE.size
        values = _doubles(count).unpack_from(body, at)
        skill, at = _read_text(body, at + _doubles(count).size)
        recommendations.append(Recommendation(ADVICE[number], values, skill))
    accuracy, response_time, consistency, improvement_rate, predicted = fields[-8:-3]
    return _make_assessment(
        (
            fields[1],
            fields[2],
            _make_estimates(estimates),
            Performance(
                accuracy,
                None if isnan(response_time) else response_time,
                consistency,
                improvement_rate,
            ),
            tuple(mastery),
            None if isnan(predicted) else predicted,
            tuple(recommendations),
            _meaning(body, at, layout.meaning),
            version,
        )
    )


def _meaning(body: bytes, at: int, layout: Struct) -> Meaning | None:
    """Read what the levels mean; None where nothing was said of it."""
    return None if at == len(body) else _make_meaning(layout.unpack_from(body, at))


def _layout(what: str, data: bytes, known: Mapping[int, T]) -> T:
    if not data:
        raise UnknownLayoutError(f"The stored {what} is empty.")
    if data[0] not in known:
        whose = "; a later version wrote it" if data[0] > max(known) else ""
        raise UnknownLayoutError(
            f"The stored {what} has layout {data[0]}, which this version does not know{whose}."
        )
    return known[data[0]]


def _checked(data: bytes) -> bytes:
    """The bytes without their checksum, if it is theirs."""
    body = data[: -_CRC.size]
    if len(data) <= _CRC.size or crc32(body) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CorruptBytesError("Stored bytes are truncated or damaged.")
    return body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "little") + encoded


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "little")
    return body[at + 2 : end].decode(), end


# A structure per count of skills or values: at most a few hundred of each, and making one is dear.


@lru_cache(maxsize=512)
def _packed(size: int, count: int) -> Struct:
    return Struct(f"{size}s" * count)


@lru_cache(maxsize=64)
def _doubles(count: int) -> Struct:
    return Struct(f"<{count}d")
