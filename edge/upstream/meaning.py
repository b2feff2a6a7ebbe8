"""Converts the meaning of a learner's levels from the brain's message to the frame's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import floor

from aivo.brain.v1 import brain_pb2
from edge.frames import outgoing
from edge.frames.clock import rfc3339

_BANDS = ("too_early", "much_lower", "lower", "as_usual", "higher", "much_higher", "too_early")
_DIRECTIONS = {brain_pb2.DIRECTION_UP: "up", brain_pb2.DIRECTION_DOWN: "down"}
_ATTENTION = ("none", "none", "look", "now")
LEVEL_NAMES = {
    brain_pb2.LEVEL_COGNITIVE_LOAD: "cognitive_load",
    brain_pb2.LEVEL_ENGAGEMENT: "engagement_level",
    brain_pb2.LEVEL_FRUSTRATION: "frustration_level",
    brain_pb2.LEVEL_FATIGUE: "fatigue_level",
    brain_pb2.LEVEL_CONFIDENCE: "confidence_level",
    brain_pb2.LEVEL_MOTIVATION: "motivation_level",
    brain_pb2.LEVEL_ITEM_CONFIDENCE: "item_confidence",
}


def rounded(value: float) -> float:
    """Return `value` to 4 decimals at half the cost of `round`, which goes through decimal text."""
    return floor(value * 10_000.0 + 0.5) / 10_000.0


def levels(message: brain_pb2.Levels) -> outgoing.Levels:
    """Return a value per level, rounded to 4 decimals."""
    return outgoing.Levels(
        floor(message.cognitive_load * 10_000.0 + 0.5) / 10_000.0,
        floor(message.engagement * 10_000.0 + 0.5) / 10_000.0,
        floor(message.frustration * 10_000.0 + 0.5) / 10_000.0,
        floor(message.fatigue * 10_000.0 + 0.5) / 10_000.0,
        floor(message.confidence * 10_000.0 + 0.5) / 10_000.0,
        floor(message.motivation * 10_000.0 + 0.5) / 10_000.0,
    )


def meaning(message: brain_pb2.Assessment) -> outgoing.Meaning | outgoing.Absent:
    """Return what the levels mean for the learner; unset for older models."""
    if not message.HasField("meaning"):
        return outgoing.ABSENT
    told = message.meaning
    attention = told.attention
    return outgoing.Meaning(
        _bands(tuple(told.bands)),
        levels(told.usual),
        levels(told.spread),
        levels(told.deviation),
        outgoing.Attention(
            _known(_ATTENTION, attention.level),
            attention.code,
            attention.reason,
            rfc3339(attention.since_ms) if attention.since_ms else "",
        ),
        _struggle(told.struggle) if told.HasField("struggle") else outgoing.ABSENT,
        outgoing.TooEarly(told.too_early.code, told.too_early.needs, told.too_early.sentence)
        if told.HasField("too_early")
        else outgoing.ABSENT,
    )


def _struggle(message: brain_pb2.Struggle) -> outgoing.Struggle:
    return outgoing.Struggle(
        rounded(message.probability), rounded(message.usual), because(message.because)
    )


@lru_cache(maxsize=4096)
def _bands(numbers: tuple[int, ...]) -> outgoing.Bands:
    words = [_known(_BANDS, number) for number in numbers[:6]]
    return outgoing.Bands(*words, *[_BANDS[0]] * (6 - len(words)))


def _known(words: tuple[str, ...], number: int) -> str:
    """Return the word for an enum's number; the first one for unknown numbers of later versions."""
    return words[number] if 0 <= number < len(words) else words[0]


def because(messages: Iterable[brain_pb2.Because]) -> list[outgoing.Because]:
    """Return the reasons for a statement."""
    return [
        outgoing.Because(one.code, _DIRECTIONS.get(one.direction, "up"), one.words)
        for one in messages
    ]


def explanations(
    message: brain_pb2.Assessment,
) -> dict[str, list[outgoing.Because]] | outgoing.Absent:
    """Return per level why it is not as usual; unset for older models."""
    if not message.HasField("meaning"):
        return outgoing.ABSENT
    return {
        LEVEL_NAMES.get(one.level, "unknown"): because(one.because) for one in message.explanations
    }
