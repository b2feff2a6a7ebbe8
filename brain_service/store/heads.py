"""The head of each learner: the newest state, and what was told last, in a table beside the log.

On SQLite a head is overwritten in its place, at the same length; one that has outgrown it moves to
the end and leaves an empty shell. A row that grows would make SQLite move its neighbours, and
copies of those would stay in the slack of pages, out of reach of an erasure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

_FIXED: Final = Struct("<qIH")
_STEP: Final = 256
"""Heads on SQLite are as long as a multiple of so many bytes."""
STATE_AT: Final = _FIXED.size
"""Where the state begins."""

_OVERWRITE: Final = (
    "UPDATE heads SET head = ?"
    " WHERE place = (SELECT head FROM learners WHERE learner_key = ?) AND length(head) = ?"
)
_FIND: Final = (
    "SELECT learners.head, length(heads.head) FROM learners"
    " LEFT JOIN heads ON heads.place = learners.head WHERE learner_key = ?"
)


class Contents(NamedTuple):
    """What a head says."""

    occurred_at_ms: int
    assessment: bytes
    state: bytes


def pack(occurred_at_ms: int, assessment: bytes, state: bytes) -> bytes:
    """Write a head."""
    return _FIXED.pack(occurred_at_ms, len(state), len(assessment)) + state + assessment


def unpack(head: bytes) -> Contents:
    """Read a head. Of damaged bytes the state and the assessment are too short to be read."""
    if len(head) < _FIXED.size:
        return Contents(0, b"", b"")
    occurred_at_ms, state, assessment = _FIXED.unpack_from(head)
    end = _FIXED.size + state
    return Contents(occurred_at_ms, head[end : end + assessment], head[_FIXED.size : end])


def padded(head: bytes) -> bytes:
    """Return a head as SQLite keeps it."""
    return head + bytes(-len(head) % _STEP)


def put(driver: sqlite3.Connection, kept: Sequence[tuple[int, bytes]]) -> None:
    """Put learners' heads into a SQLite file, inside the caller's transaction; pairs of learner's
    key and head.
    """
    rows = [(whole := padded(head), key, len(whole)) for key, head in kept]
    if driver.executemany(_OVERWRITE, rows).rowcount == len(rows):
        return
    for head, key, length in rows:
        place, present = driver.execute(_FIND, (key,)).fetchone()
        if present == length:
            continue
        (last,) = driver.execute("SELECT coalesce(max(place), 0) FROM heads").fetchone()
        driver.execute("INSERT INTO heads (place, head) VALUES (?, ?)", (last + 1, head))
        driver.execute("UPDATE learners SET head = ? WHERE learner_key = ?", (last + 1, key))
        if present is not None:
            clear(driver, place)


def clear(driver: sqlite3.Connection, place: int) -> None:
    """Leave nothing of a head but its length."""
    driver.execute("UPDATE heads SET head = zeroblob(length(head)) WHERE place = ?", (place,))
