"""The messages between brains: which learner moved, to which revision; never what changed.

A message is JSON, for an operator to read: {"from": brain, "n": its number on this channel, "at":
milliseconds, "told": [[learner, revision, occurred_at_ms], ...]}, and "bye": 1 in the last one.
Revision 0 says that the learner was erased.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from brain_service.engine.publication import Publication

CHANNELS: Final = 8
"""Learners are spread over this many channels: each keeps its learners' order, and a gap casts
doubt on an eighth of them.
"""


class BadMessageError(ValueError):
    """A message that no brain of this version sent."""


class Message(NamedTuple):
    """One message of one brain on one channel."""

    sender: str
    number: int
    """Grows by one with each of the sender's messages on the channel."""
    sent_at_ms: int
    """By the sender's clock."""
    told: Sequence[Publication]
    """Empty in a message that only carries the number."""
    is_last: bool = False
    """The sender stops."""


def channel_names(epoch: str) -> list[str]:
    """Return the channels of the brains that share the store of this epoch."""
    return [f"aivo:brains:{epoch}:{index}" for index in range(CHANNELS)]


def by_channel(publications: Iterable[Publication]) -> dict[int, list[Publication]]:
    """Split publications by their learner's channel, in order."""
    parts: dict[int, list[Publication]] = {}
    for publication in publications:
        index = zlib.crc32(publication.learner_id.encode()) % CHANNELS
        parts.setdefault(index, []).append(publication)
    return parts


def encode(message: Message) -> bytes:
    """Write a message."""
    told = [[each.learner_id, each.revision, each.occurred_at_ms] for each in message.told]
    value = {"from": message.sender, "n": message.number, "at": message.sent_at_ms, "told": told}
    if message.is_last:
        value["bye"] = 1
    return json.dumps(value, separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Read a message. Raises BadMessageError."""
    try:
        value = json.loads(data)
        told = [_publication(*each) for each in value["told"]]
        is_last = bool(value.get("bye"))
        return Message(str(value["from"]), int(value["n"]), int(value["at"]), told, is_last)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadMessageError(f"{len(data)} bytes that are no message of a brain") from error


def _publication(learner_id: str, revision: int, occurred_at_ms: int) -> Publication:
    if not isinstance(learner_id, str) or not isinstance(revision, int):
        raise TypeError("a learner's id is text, a revision a whole number")
    return Publication(learner_id, revision, None, (), "", occurred_at_ms, gone=revision == 0)
