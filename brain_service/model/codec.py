"""Learner states and outcomes as compact bytes; it knows their shape and nothing of what they mean.

Both start with a format byte and end with a CRC-32 over everything before, so that truncated or
damaged bytes are refused, never misread. A state also carries the hash of the model's constants,
because its numbers mean nothing under others; an outcome is self-contained and carries the version
that made it. Older states have no migration yet: 0.1 is the first version.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise
from math import isnan, nan
from struct import Struct, error
from typing import Final
from zlib import crc32

from brain_service.model.items import COUNT_SIZE, KEY_SIZE
from brain_service.model.levels import DRIVER_NAMES, NAMES, Readout
from brain_service.model.outcome import Outcome, Performance
from brain_service.model.params import PARAMS_HASH, SIGNALS
from brain_service.model.prediction import SkillMastery
from brain_service.model.recommend import ADVICE, Recommendation
from brain_service.model.state import SKILL_SIZE, LearnerState
from brain_service.model.values import maker

STATE_FORMAT: Final = 1
OUTCOME_FORMAT: Final = 1

_HEAD: Final = Struct("<B8sQ5d")
_SIGNALS: Final = Struct(f"<{len(SIGNALS)}d")
_REST: Final = Struct("<Qq6dd2dQ?8sIIHHH")
_SIGNALS_AT: Final = _HEAD.size
_WEIGHTS_AT: Final = _SIGNALS_AT + _SIGNALS.size
_REST_AT: Final = _WEIGHTS_AT + _SIGNALS.size
_SKILLS_AT: Final = _REST_AT + _REST.size
_make_state, _make_outcome, _make_readout = maker(LearnerState), maker(Outcome), maker(Readout)
_DRIVERS: Final = sum(map(len, DRIVER_NAMES))
_OUTCOME: Final = Struct(f"<BQd{len(NAMES)}d{_DRIVERS}d{len(NAMES)}d4ddBHB")
_ENDS: Final = tuple(accumulate(map(len, (*DRIVER_NAMES, NAMES)), initial=3 + len(NAMES)))
_LEVELS: Final = slice(3, 3 + len(NAMES))
*_CONTRIBUTIONS, _EVIDENCE = (slice(start, end) for start, end in pairwise(_ENDS))
"""Where an outcome's levels, the contributions to each, and their evidence lie among its fields."""
_MASTERY: Final = Struct("<ddI")
_ADVICE: Final = Struct("<BB")
_CRC: Final = Struct("<I")


class CorruptBytesError(ValueError):
    """Stored bytes are truncated or damaged."""


class StateVersionError(ValueError):
    """Stored bytes come from a model version or format that this one cannot read."""


def encode_state(state: LearnerState) -> bytes:
    """Write a state: about 560 bytes, 57 and its name for each skill, 12 for each item."""
    (
        revision, time, session_start, active_s, presence, tank, signals, weights,
        answers, streak, fast, mid, slow, total, accuracy, spread, response_time,
        time_mean, time_var, time_count, item, attempts, hints, skills, item_keys, item_counts,
        advice,
    ) = state  # fmt: skip
    if response_time is None:
        response_time = nan
    body = b"".join((
        _HEAD.pack(STATE_FORMAT, PARAMS_HASH, revision, time, session_start, active_s, presence,
        tank),
        _SIGNALS.pack(*signals),
        _SIGNALS.pack(*weights),
        _REST.pack(
            answers, streak, fast, mid, slow, total, accuracy, spread, response_time,
            time_mean, time_var, time_count, item is not None, item or b"", attempts, hints, advice,
            len(skills), len(item_keys) // KEY_SIZE,
        ),
        *skills.values(),
        item_keys,
        item_counts,
        "\0".join(skills).encode(),
    ))  # fmt: skip
    return body + _CRC.pack(crc32(body))


def decode_state(data: bytes) -> LearnerState:
    """Read a state exactly as it was. Raises `StateVersionError` or `CorruptBytesError`."""
    if data[:1] != bytes((STATE_FORMAT,)):
        raise StateVersionError(_foreign("state", data))
    body = _checked(data)
    if body[1:9] != PARAMS_HASH:
        raise StateVersionError(
            "The stored state belongs to a model with other constants; replay the learner's log."
        )
    try:
        _, _, *general = _HEAD.unpack_from(body)
        signals = _SIGNALS.unpack_from(body, _SIGNALS_AT)
        weights = _SIGNALS.unpack_from(body, _WEIGHTS_AT)
        *special, known_item, item, attempts, hints, advice, skill_count, item_count = (
            _REST.unpack_from(body, _REST_AT)
        )
        memories = _skills(skill_count).unpack_from(body, _SKILLS_AT)
        items_at = _SKILLS_AT + _skills(skill_count).size
        counts_at = items_at + item_count * KEY_SIZE
        names_at = counts_at + item_count * COUNT_SIZE
        if names_at > len(body):
            raise ValueError
        names = body[names_at:].decode().split("\0") if skill_count else ()
        skills = dict(zip(names, memories, strict=True))
    except (error, ValueError) as fault:
        raise CorruptBytesError("The stored state is damaged.") from fault
    if isnan(special[8]):
        special[8] = None
    return _make_state(
        (
            *general, signals, weights, *special, item if known_item else None, attempts, hints,
            skills,
            body[items_at:counts_at], body[counts_at:names_at], advice,
        )
    )  # fmt: skip


def encode_outcome(outcome: Outcome) -> bytes:
    """Write an outcome: about 430 bytes and 24 for each skill touched."""
    revision, time, readout, performance, mastery, predicted, recommendations, model_version = (
        outcome
    )
    (
        levels,
        (load, frustration, confidence, item_confidence, engagement, fatigue, motivation),
        evidence,
    ) = readout
    accuracy, response_time, consistency, improvement_rate = performance
    version = model_version.encode()
    parts = [
        _OUTCOME.pack(
            OUTCOME_FORMAT, revision, time,
            *levels, *load, *frustration, *confidence, *item_confidence, *engagement, *fatigue,
            *motivation, *evidence,
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
    accuracy, response_time, consistency, improvement_rate, predicted = fields[-8:-3]
    return _make_outcome(
        (
            fields[1],
            fields[2],
            _make_readout(
                (
                    fields[_LEVELS],
                    tuple([fields[drivers] for drivers in _CONTRIBUTIONS]),
                    fields[_EVIDENCE],
                )
            ),
            Performance(
                accuracy,
                None if isnan(response_time) else response_time,
                consistency,
                improvement_rate,
            ),
            tuple(mastery),
            None if isnan(predicted) else predicted,
            tuple(recommendations),
            version,
        )
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


# A structure per count of skills or values: at most a few hundred of each, and making one is dear.


@lru_cache(maxsize=512)
def _skills(count: int) -> Struct:
    return Struct(f"{SKILL_SIZE}s" * count)


@lru_cache(maxsize=64)
def _doubles(count: int) -> Struct:
    return Struct(f"<{count}d")
