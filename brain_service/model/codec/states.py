"""Learner states as bytes. A state carries the hash of the constants it was computed with; one that
continues under newer constants keeps the old hash, which marks it for rebuilding.
"""

from __future__ import annotations

from functools import lru_cache
from math import nan
from struct import Struct, error
from typing import Any, Final

from brain_service.model import layouts
from brain_service.model.codec.envelope import CorruptBytesError, layout_of, seal, unseal
from brain_service.model.items import COUNT_SIZE, KEY_SIZE
from brain_service.model.layouts import STATE, STATES
from brain_service.model.params import PARAMS_HASH
from brain_service.model.state import LearnerState, Pace, Progress, Session, Standing, Task

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


def encode_state(state: LearnerState, constants: bytes = PARAMS_HASH) -> bytes:
    """Write a state: about 750 bytes, 57 and its name for each skill, 12 for each item.

    `constants` is the hash of those it was computed with; see `constants_of`.
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
    return seal(body)


def decode_state(data: bytes) -> LearnerState:
    """Read a state: exactly as written, or converted from an older layout.

    Raises `UnknownLayoutError` or `CorruptBytesError`.
    """
    layout = layout_of("state", data, STATES)
    body = unseal(data)
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
    """Build a state from its fields by name."""
    parts: layouts.Fields = {
        name: part(*[fields.pop(field) for field in part._fields]) for name, part in _PARTS.items()
    }
    return LearnerState(**parts, **fields)


def constants_of(data: bytes) -> bytes:
    """Return the hash of the constants that a stored state was computed with."""
    return data[_CONSTANTS]


def is_up_to_date(data: bytes) -> bool:
    """Return whether a stored state has today's layout and constants; its first bytes are
    enough.
    """
    return data.startswith(_UP_TO_DATE)


STAMP_BYTES: Final = len(_UP_TO_DATE)
"""How many leading bytes of a state `is_up_to_date` reads."""


@lru_cache(maxsize=512)
def _packed(size: int, count: int) -> Struct:
    return Struct(f"{size}s" * count)
