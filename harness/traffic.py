"""Frames that a class of learners sends, the same for every server, and what their answers must
look like.
"""

from __future__ import annotations

import functools
import json
import random
import time
from typing import Any, Final

from harness.websocket import text_frame

LEVELS: Final = (
    "cognitive_load",
    "engagement_level",
    "frustration_level",
    "fatigue_level",
    "confidence_level",
    "motivation_level",
)
RESPONSE: Final = b'{"type":"virtual_brain_response"'
UPDATE: Final = b'{"type":"state_update"'
PONG: Final = b'{"type":"pong"'
SUBSCRIBED: Final = b'{"type":"subscribed"'

_VARIANTS: Final = 512
_SKILLS: Final = (
    "fractions",
    "decimals",
    "ratios",
    "equations",
    "area",
    "volume",
    "graphs",
    "negative-numbers",
)


class WrongAnswerError(Exception):
    """An answer was not what the protocol promises."""


def ping(number: int) -> bytes:
    """Return an application-level ping that its answer can be matched with."""
    return text_frame(b'{"type":"ping","id":"%d"}' % number)


class Interactions:
    """Interactions of one learner, each different: 400 items of 8 skills, two of three answered
    right.
    """

    def __init__(self, learner_id: str) -> None:
        self._learner_id = learner_id
        self._head = b'","data":{"learner_id":"%s","interaction_id":"' % learner_id.encode()
        self._tails = _tails()
        self._salt = random.getrandbits(62)

    def frame(self, number: int) -> bytes:
        """Return the interaction to be answered under this number, with a new time-ordered id
        (UUIDv7).
        """
        ms = time.time_ns() // 1_000_000
        salt = self._salt + number
        interaction_id = b"%08x-%04x-7%03x-8%03x-%012x" % (
            ms >> 16,
            ms & 0xFFFF,
            salt & 0xFFF,
            salt >> 12 & 0xFFF,
            salt >> 14 & 0xFFFFFFFFFFFF,
        )
        tail = self._tails[(number + self._salt) % _VARIANTS]
        return text_frame(
            b'{"type":"virtual_brain_interact","id":"%d%s%s%s'
            % (number, self._head, interaction_id, tail)
        )

    def data(self, number: int) -> dict[str, Any]:
        """Return the same, for a client that makes its own frames and ids."""
        return {"learner_id": self._learner_id, **_tasks()[(number + self._salt) % _VARIANTS]}


def contexts() -> list[tuple[str, str, str, bytes]]:
    """Return kind, content, response and context of each of these interactions."""
    return [
        (one["type"], one["content"], one["response"], _json(one["context"])) for one in _tasks()
    ]


@functools.cache
def _tails() -> list[bytes]:
    """Return how the frame of each goes on after its id."""
    return [b'",' + _json(one)[1:] + b"}" for one in _tasks()]


@functools.cache
def _tasks() -> list[dict[str, Any]]:
    chance = random.Random(4)
    tasks = []
    for _ in range(_VARIANTS):
        item = chance.randrange(400)
        tasks.append(
            {
                "type": "question_response",
                "content": (
                    f"Question {item}: which of these four is the same amount as the one in the"
                    " picture?"
                ),
                "response": "the second one",
                "context": {
                    "correct": chance.random() < 0.66,
                    "difficulty": 1 + item % 5,
                    "subject": "math",
                    "skill": _SKILLS[item % len(_SKILLS)],
                    "time_taken": round(chance.lognormvariate(2.7, 0.6), 1),
                    "item_id": f"item-{item}",
                },
            }
        )
    return tasks


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def answered_number(payload: bytes) -> int:
    """Return the number that an answer echoes as `id`. Raises WrongAnswerError."""
    at = payload.find(b'"id":"')
    if at < 0:
        raise WrongAnswerError("an answer without id")
    at += 6
    return int(payload[at : payload.index(b'"', at)])


def check_response(payload: bytes) -> None:
    """Look at a whole interaction's answer. Raises WrongAnswerError."""
    message = json.loads(payload)
    result = message["result"]
    if message["type"] != "virtual_brain_response" or result["success"] is not True:
        raise WrongAnswerError(f"not a success: {message['type']}")
    if not all(0.0 <= result["state"][level] <= 1.0 for level in LEVELS):
        raise WrongAnswerError("a level is outside [0, 1]")
    missing = {
        "performance",
        "mastery",
        "recommendations",
        "actions",
        "drivers",
        "confidence",
    } - result.keys()
    if missing or not result["drivers"] or not result["mastery"]:
        raise WrongAnswerError(
            f"the result lacks {', '.join(sorted(missing)) or 'drivers or mastery'}"
        )
