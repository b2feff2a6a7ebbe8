"""Writes what the levels mean for a learner in protobuf's wire format, once per assessment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import Final

from aivo.brain.v1 import brain_pb2
from brain_service.model import LearnerState, explain
from brain_service.model.levels import Estimates
from brain_service.model.meaning import NAMES, Meaning
from brain_service.model.words import Because
from brain_service.servicer.wire_format import BYTES, FIXED64, SHORT, tag, varint

_ORDER: Final = (
    "cognitive_load", "engagement_level", "frustration_level", "fatigue_level", "confidence_level",
    "motivation_level",
)  # fmt: skip
"""The six levels in the contract's order."""
_in_order: Final = itemgetter(*map(NAMES.index, _ORDER))
_NUMBERS: Final[Mapping[str, brain_pb2.Level.ValueType]] = {
    "cognitive_load": brain_pb2.LEVEL_COGNITIVE_LOAD,
    "engagement_level": brain_pb2.LEVEL_ENGAGEMENT,
    "frustration_level": brain_pb2.LEVEL_FRUSTRATION,
    "fatigue_level": brain_pb2.LEVEL_FATIGUE,
    "confidence_level": brain_pb2.LEVEL_CONFIDENCE,
    "motivation_level": brain_pb2.LEVEL_MOTIVATION,
}
_MEANING: Final = brain_pb2.Meaning.DESCRIPTOR
_STRUGGLE: Final = brain_pb2.Struggle.DESCRIPTOR


def because(messages: Iterable[Because]) -> list[brain_pb2.Because]:
    """Answer with the reasons for a statement."""
    up, down = brain_pb2.DIRECTION_UP, brain_pb2.DIRECTION_DOWN
    return [
        brain_pb2.Because(code=one.code, direction=up if one.up else down, words=one.words)
        for one in messages
    ]


def serialised(meaning: Meaning, estimates: Estimates) -> bytes:
    """Write an assessment with only its meaning."""
    comparison = meaning.comparison(estimates)
    fields = _FIELDS.copy()
    fields[_USUAL] = _in_order(comparison.usual)
    fields[_SPREAD] = _in_order(comparison.spread)
    fields[_DEVIATION] = _in_order(comparison.deviation)
    body = b"".join((
        _BANDS_TAG, bytes(_in_order(meaning.bands)), _STRUCT.pack(*fields),
        _early(meaning), _struggle(meaning), _attention(meaning),
    ))  # fmt: skip
    return _MEANING_TAG + varint(len(body)) + body


def explanations(state: LearnerState) -> bytes:
    """Write an assessment with only the explanations of levels that are not as usual."""
    return brain_pb2.Assessment(
        explanations=[
            brain_pb2.Explanation(level=_NUMBERS[level], because=because(found))
            for level, found in explain(state).items()
        ]
    ).SerializeToString()


def _early(meaning: Meaning) -> bytes:
    early = meaning.early
    return b"" if early is None else _told_early(*early, meaning.too_early)


@lru_cache(maxsize=64)
def _told_early(code: str, needs: int, sentence: str) -> bytes:
    early = brain_pb2.TooEarly(code=code, needs=needs, sentence=sentence)
    return brain_pb2.Meaning(too_early=early).SerializeToString()


def _struggle(meaning: Meaning) -> bytes:
    probability = meaning.struggle
    if probability is None:
        return b""
    body = _ODDS.pack(_PROBABILITY_TAG, probability, _RATE_TAG, meaning.rate)
    body += _causes(meaning.because())
    return _STRUGGLE_TAG + varint(len(body)) + body


@lru_cache(maxsize=1024)
def _causes(causes: tuple[Because, ...]) -> bytes:
    return brain_pb2.Struggle(because=because(causes)).SerializeToString()


def _attention(meaning: Meaning) -> bytes:
    code = meaning.code
    if not code:
        return _NO_ATTENTION
    attention = brain_pb2.Attention(
        level=brain_pb2.AttentionLevel.ValueType(
            meaning.attention + brain_pb2.ATTENTION_LEVEL_NONE
        ),
        code=code,
        reason=meaning.reason,
        since_ms=round(meaning.since * 1000),
    )
    return brain_pb2.Meaning(attention=attention).SerializeToString()


def _doubles(field: str) -> list[bytes | float]:
    """The head of six levels, and their tags with room after each for the value."""
    message = _MEANING.fields_by_name[field].message_type
    names = [each.name for each in message.fields][: len(_ORDER)] if message else []
    head = bytes((tag(_MEANING, field, BYTES), 9 * len(names)))
    return [head, *(value for name in names for value in (tag(message, name, FIXED64), 0.0))]


_MEANING_TAG: Final = SHORT[tag(brain_pb2.Assessment.DESCRIPTOR, "meaning", BYTES)]
_BANDS_TAG: Final = bytes((tag(_MEANING, "bands", BYTES), len(_ORDER)))
_STRUGGLE_TAG: Final = SHORT[tag(_MEANING, "struggle", BYTES)]
_PROBABILITY_TAG: Final = tag(_STRUGGLE, "probability", FIXED64)
_RATE_TAG: Final = tag(_STRUGGLE, "usual", FIXED64)
_ODDS: Final = Struct("<BdBd")
_NO_ATTENTION: Final = brain_pb2.Meaning(
    attention=brain_pb2.Attention(level=brain_pb2.ATTENTION_LEVEL_NONE)
).SerializeToString()
_FIELDS: Final = [value for name in ("usual", "spread", "deviation") for value in _doubles(name)]
_STRUCT: Final = Struct("<" + ("2s" + "Bd" * len(_ORDER)) * 3)
_SIZE: Final = 1 + 2 * len(_ORDER)
_USUAL, _SPREAD, _DEVIATION = (
    slice(first + 2, first + _SIZE, 2) for first in range(0, 3 * _SIZE, _SIZE)
)
