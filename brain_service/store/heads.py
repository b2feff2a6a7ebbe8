"""The head of each learner, in a table beside the log: its position, the newest state, and the last
assessment.

On SQLite a head is overwritten in place, at the same length; one that outgrows it moves to the end
and leaves an empty shell. If a row grew in place, SQLite would move its neighbours and leave copies
in the slack of pages, out of reach of an erasure. Active learners move to the end, too, with the
second interaction that this process writes: so they share few pages, however many learners there
are, and a first interaction changes one page of heads and nothing else about the learner.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

import psycopg

from brain_service.store.arrays import byteas

_FIXED: Final = Struct("<qIH")
_STEP: Final = 256
"""Heads on SQLite are padded to a multiple of this many bytes."""
STATE_AT: Final = _FIXED.size
"""Offset of the state."""

_ACTIVE: Final = 65_536
"""Learners remembered as active."""


class Contents(NamedTuple):
    """What a head says."""

    occurred_at_ms: int
    assessment: bytes
    state: bytes


def pack(occurred_at_ms: int, assessment: bytes, state: bytes) -> bytes:
    """Write a head."""
    return _FIXED.pack(occurred_at_ms, len(state), len(assessment)) + state + assessment


def unpack(head: bytes) -> Contents:
    """Read a head. Damaged bytes yield a state and an assessment too short to decode."""
    if len(head) < _FIXED.size:
        return Contents(0, b"", b"")
    occurred_at_ms, state, assessment = _FIXED.unpack_from(head)
    end = _FIXED.size + state
    return Contents(occurred_at_ms, head[end : end + assessment], head[_FIXED.size : end])


class Place(NamedTuple):
    """Where a SQLite file has a learner's head, and where the learner stands."""

    place: int
    newest: int
    revision: int
    length: int
    """Of the head, without the numbers before it."""


class Kept(NamedTuple):
    """A head to write."""

    learner_key: int
    newest: int
    revision: int
    head: bytes


def find(driver: sqlite3.Connection, learner_key: int) -> Place | None:
    """Return where a learner's head is: all zeros if there is none yet, None for an unknown
    learner.
    """
    found = driver.execute(_FIND, (learner_key,)).fetchone()
    return None if found is None else Place(*found)


def load(
    driver: sqlite3.Connection, digests: Iterable[bytes]
) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Yield digest, key, revision and head of the learners with these digests that are known."""
    for digest in digests:
        if found := driver.execute(_LOAD, (digest,)).fetchone():
            yield digest, *found


def load_from_postgres(
    server: psycopg.Connection[Any], digests: Sequence[bytes]
) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Yield digest, key, revision and head of the learners with these digests that are known."""
    wanted = [byteas(digests)]
    yield from server.execute(_LOAD_FROM_POSTGRES, wanted, prepare=True, binary=True)


def find_base(driver: sqlite3.Connection, learner_key: int) -> Place | None:
    """Return where the state is that a learner's log continues from, as `find` does."""
    found = driver.execute(_FIND_BASE, (learner_key,)).fetchone()
    return None if found is None else Place(*found)


def put_base(driver: sqlite3.Connection, learner_key: int, revision: int, state: bytes) -> None:
    """Write the state that a known learner's log continues from into a SQLite file, inside the
    caller's transaction: in place, or at the end if it outgrew its place.
    """
    kept = Kept(learner_key, 0, revision, pack(0, b"", state))
    was = find_base(driver, learner_key)
    assert was is not None  # noqa: S101 - the caller has just found the learner
    length = was.length + _bytes(was.newest) + _bytes(was.revision)
    if was.place and _length(kept) <= length:
        driver.execute(_OVERWRITE, (0, revision, _padded(kept, length), was.place))
        return
    place = _insert(driver, kept)
    driver.execute("UPDATE learners SET base = ? WHERE learner_key = ?", (place, learner_key))
    if was.place:
        clear(driver, was)


_LOAD: Final = (
    "SELECT learner_key, revision, heads.head FROM learners JOIN heads"
    " ON heads.place = learners.head WHERE learner_digest = ?"
)
_LOAD_FROM_POSTGRES: Final = (
    "SELECT learner_digest, learner_key, revision, heads.head FROM unnest(%b::bytea[])"
    " AS wanted (digest) JOIN learners ON learner_digest = digest"
    " JOIN heads ON heads.place = learners.head"
)
_FIND: Final = (
    "SELECT coalesce(place, 0), coalesce(newest, 0), coalesce(revision, 0),"
    " coalesce(length(heads.head), 0)"
    " FROM learners LEFT JOIN heads ON heads.place = learners.head WHERE learner_key = ?"
)
_FIND_BASE: Final = _FIND.replace("learners.head", "learners.base")
_OVERWRITE: Final = "UPDATE heads SET newest = ?, revision = ?, head = ? WHERE place = ?"
_INSERT: Final = "INSERT INTO heads (newest, revision, head, place) VALUES (?, ?, ?, ?)"


class Heads:
    """Writes heads into a SQLite file, for one process, and remembers who is active."""

    def __init__(self) -> None:
        self._is_near: dict[int, bool] = {}
        """Of learners who are active: whether they are where the others are."""

    def put(self, driver: sqlite3.Connection, kept: Iterable[tuple[Kept, Place]]) -> None:
        """Write heads, inside the caller's transaction."""
        is_near = self._is_near
        stay = []
        for head, was in kept:
            length = was.length + _bytes(was.newest) + _bytes(was.revision)
            key = head.learner_key
            if _length(head) <= length and is_near.get(key, True):
                stay.append((head.newest, head.revision, _padded(head, length), was.place))
                is_near.setdefault(key, False)
                continue
            _move(driver, head, was)
            is_near[key] = True
        while len(is_near) > _ACTIVE:
            del is_near[next(iter(is_near))]
        driver.executemany(_OVERWRITE, stay)


def _move(driver: sqlite3.Connection, head: Kept, was: Place) -> None:
    place = _insert(driver, head)
    driver.execute("UPDATE learners SET head = ? WHERE learner_key = ?", (place, head.learner_key))
    if was.place:
        clear(driver, was)


def _insert(driver: sqlite3.Connection, head: Kept) -> int:
    """Append a head and return its place."""
    whole = _padded(head, -(-_length(head) // _STEP) * _STEP)
    (last,) = driver.execute("SELECT coalesce(max(place), 0) FROM heads").fetchone()
    driver.execute(_INSERT, (head.newest, head.revision, whole, last + 1))
    return int(last) + 1


def _length(head: Kept) -> int:
    """Return the length in bytes of a row that must keep it."""
    return len(head.head) + _bytes(head.newest) + _bytes(head.revision)


def _padded(head: Kept, length: int) -> bytes:
    return head.head + bytes(length - _length(head))


def _bytes(number: int) -> int:
    """Return how many bytes SQLite takes for a number, 0 or more."""
    bits = number.bit_length()
    return 0 if bits < 2 else 6 if bits > 31 else bits // 8 + 1


def clear(driver: sqlite3.Connection, was: Place) -> None:
    """Blank a head, keeping its length."""
    shell = bytes(was.length + _bytes(was.newest) + _bytes(was.revision))
    driver.execute(_OVERWRITE, (0, 0, shell, was.place))
