"""Learner states and outcomes as compact bytes; it knows their shape and nothing of what they mean.

Both start with a format byte and end with a CRC-32 over everything before, so that truncated or damaged bytes are
refused, never misread. A state also carries the hash of the model's constants, because its numbers mean nothing under
others; an outcome is self-contained and carries the version that made it. Older states have no migration yet: 0.1 is
the first version.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import chain
from math import isnan, nan
from struct import Struct, error
from typing import Final
from zlib import crc32

from brain_service.levels import DRIVER_NAMES, NAMES, Readout
from brain_service.outcome import Outcome, Performance
from brain_service.params import PARAMS_HASH, SIGNALS
from brain_service.prediction import SkillMastery
from brain_service.recommend import ADVICE, Recommendation
from brain_service.state import LearnerState, SkillMemory

STATE_FORMAT: Final = 1
OUTCOME_FORMAT: Final = 1

_N: Final = len(SIGNALS)
_STATE: Final = Struct(f"<B8sQ5d{_N}d{_N}dQq6dd2dQ?QIIHHH")
_SPLITS: Final = tuple(map(len, DRIVER_NAMES))
_DRIVERS: Final = sum(_SPLITS)
_OUTCOME: Final = Struct(f"<BQd{len(NAMES)}d{_DRIVERS}d{len(NAMES)}d4ddBHB")
_MASTERY: Final = Struct("<ddI")
_ADVICE: Final = Struct("<BB")
_CRC: Final = Struct("<I")

# `_make` does the same at three times the cost, and a state holds up to 256 of them.
_make_skill: Final = partial(tuple.__new__, SkillMemory)


class CorruptBytesError(ValueError):
    """Stored bytes are truncated or damaged."""


class StateVersionError(ValueError):
    """Stored bytes come from a model version or format that this one cannot read."""


def encode_state(state: LearnerState) -> bytes:
    """Write a state: about 560 bytes, 57 and its name for each skill, 12 for each item."""
    names = "\0".join(state.skills).encode()
    fixed = _STATE.pack(
        STATE_FORMAT,
        PARAMS_HASH,
        *state[:6],
        *state.signals,
        *state.weights,
        *state[8:16],
        nan if state.response_time is None else state.response_time,
        *state[17:20],
        state.item is not None,
        state.item or 0,
        *state[21:23],
        state.advice,
        len(state.skills),
        len(state.items),
    )
    body = b"".join(
        (
            fixed,
            _skills(len(state.skills)).pack(*chain.from_iterable(state.skills.values())),
            _items(len(state.items)).pack(*state.items, *state.items.values()),
            names,
        )
    )
    return body + _CRC.pack(crc32(body))


def decode_state(data: bytes) -> LearnerState:
    """Read a state exactly as it was. Raises `StateVersionError` or `CorruptBytesError`."""
    if data[:1] != bytes((STATE_FORMAT,)):
        raise StateVersionError(_foreign("state", data))
    body = _checked(data)
    if body[1:9] != PARAMS_HASH:
        raise StateVersionError("The stored state belongs to a model with other constants; replay the learner's log.")
    try:
        fields = _STATE.unpack_from(body)
        skill_count, item_count = fields[-2:]
        at = _STATE.size
        skill_fields = _skills(skill_count).unpack_from(body, at)
        at += _skills(skill_count).size
        item_fields = _items(item_count).unpack_from(body, at)
        at += _items(item_count).size
        names = body[at:].decode().split("\0") if skill_count else []
    except (error, UnicodeDecodeError) as fault:
        raise CorruptBytesError("The stored state is damaged.") from fault
    memories = map(_make_skill, zip(*[iter(skill_fields)] * 8, strict=True))
    s, w, p = 8, 8 + _N, 8 + 2 * _N
    response_time = fields[p + 8]
    try:
        skills = dict(zip(names, memories, strict=True))
        items = dict(zip(item_fields[:item_count], item_fields[item_count:], strict=True))
    except ValueError as fault:
        raise CorruptBytesError("The stored state is damaged.") from fault
    values = (
        *fields[2:8],
        fields[s:w],
        fields[w:p],
        *fields[p : p + 8],
        None if isnan(response_time) else response_time,
        *fields[p + 9 : p + 12],
        fields[p + 13] if fields[p + 12] else None,
        *fields[p + 14 : p + 16],
        skills,
        items,
        fields[p + 16],
    )
    return LearnerState._make(values)


def encode_outcome(outcome: Outcome) -> bytes:
    """Write an outcome: about 430 bytes and 24 for each skill touched."""
    version = outcome.model_version.encode()
    readout, performance = outcome.readout, outcome.performance
    parts = [
        _OUTCOME.pack(
            OUTCOME_FORMAT,
            outcome.revision,
            outcome.time,
            *readout.levels,
            *chain.from_iterable(readout.contributions),
            *readout.evidence,
            performance.accuracy,
            nan if performance.response_time is None else performance.response_time,
            performance.consistency,
            performance.improvement_rate,
            nan if outcome.predicted_correct is None else outcome.predicted_correct,
            len(version),
            len(outcome.mastery),
            len(outcome.recommendations),
        ),
        version,
    ]
    for skill, probability, answers, standard_error in outcome.mastery:
        parts += _MASTERY.pack(probability, standard_error, answers), _text(skill)
    for recommendation in outcome.recommendations:
        values = recommendation.values
        parts += (
            _ADVICE.pack(recommendation.advice.number, len(values)),
            _doubles(len(values)).pack(*values),
            _text(recommendation.skill),
        )
    body = b"".join(parts)
    return body + _CRC.pack(crc32(body))


def decode_outcome(data: bytes) -> Outcome:
    """Read an outcome exactly as it was. Raises `StateVersionError` or `CorruptBytesError`."""
    if data[:1] != bytes((OUTCOME_FORMAT,)):
        raise StateVersionError(_foreign("outcome", data))
    body = _checked(data)
    try:
        return _outcome(body)
    except (error, IndexError, KeyError, UnicodeDecodeError) as fault:
        raise CorruptBytesError("The stored outcome is damaged.") from fault


def _outcome(body: bytes) -> Outcome:
    fields = _OUTCOME.unpack_from(body)
    version_length, mastered, recommended = fields[-3:]
    at = _OUTCOME.size
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
    contributions, start = [], 3 + len(NAMES)
    for width in _SPLITS:
        contributions.append(fields[start : start + width])
        start += width
    accuracy, response_time, consistency, improvement_rate, predicted = fields[-8:-3]
    return Outcome(
        fields[1],
        fields[2],
        Readout(fields[3 : 3 + len(NAMES)], tuple(contributions), fields[start : start + len(NAMES)]),
        Performance(accuracy, None if isnan(response_time) else response_time, consistency, improvement_rate),
        tuple(mastery),
        None if isnan(predicted) else predicted,
        tuple(recommendations),
        version,
    )


def _foreign(what: str, data: bytes) -> str:
    if not data:
        return f"The stored {what} is empty."
    return f"The stored {what} has format {data[0]}, which this version cannot read."


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


# A structure per count of skills, items or values: at most a few hundred of each, and making one is dear.


@lru_cache(maxsize=512)
def _skills(count: int) -> Struct:
    return Struct("<" + "5dIQb" * count)


@lru_cache(maxsize=512)
def _items(count: int) -> Struct:
    return Struct("<" + f"{count}Q{count}i")


@lru_cache(maxsize=64)
def _doubles(count: int) -> Struct:
    return Struct(f"<{count}d")
