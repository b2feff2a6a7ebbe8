"""Appends groups of rows to the log, puts heads in their places, and moves each learner's standing.

A commit appends on condition that each learner stands where the engine believed it to stand; see
`chain`. SQLite has few, short statements that the driver keeps ready; PostgreSQL one for the whole
group, so that a commit is one round trip.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from brain_service.engine.journal import ConflictError, Row
from brain_service.model.values import maker
from brain_service.store import heads
from brain_service.store.entries import pack, uuid_bytes


class Linked(NamedTuple):
    """A row as the log takes it, without its place."""

    learner_key: int
    revision: int
    interaction_key: bytes
    entry: bytes


class Move(NamedTuple):
    """How far a learner moves in a group."""

    learner_key: int
    believed: int
    """The revision where the engine believed the learner to stand."""
    reached: int
    last: int
    """Index of the learner's last row in the group."""
    head: bytes


_linked, _move = maker(Linked), maker(Move)


def link(
    rows: Sequence[Row], keys: Mapping[str, int], digest: Callable[[str], bytes]
) -> tuple[list[Linked], list[Move]]:
    """Return rows as the log takes them, and the learners' moves in the order of their keys.

    `keys` are those of learners that are new; `digest` makes a key of an id that is no UUID. Raises
    `ConflictError` when revisions of a learner do not follow one another.
    """
    linked: list[Linked] = []
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, row in enumerate(rows):
        learner_id, learner_key, revision, interaction_id = row[:4]  # by place: it is hot
        key = learner_key or keys[learner_id]
        if key not in last:
            first[key] = revision
        elif rows[last[key]].revision != revision - 1:
            raise ConflictError("the revisions of a learner do not follow one another")
        last[key] = index
        uuid = uuid_bytes(interaction_id)
        entry = pack(row, id_is_told=uuid is not None)
        linked.append(_linked((key, revision, uuid or digest(interaction_id), entry)))
    moves = []
    for key in sorted(last):
        index = last[key]
        revision, *_, occurred_at_ms, _, _, assessment, state = rows[index][2:]
        head = heads.pack(occurred_at_ms, assessment, state)
        moves.append(_move((key, first[key] - 1, revision, index, head)))
    return linked, moves


_APPEND: Final = (
    "INSERT INTO log (seq, learner_key, revision, previous, interaction_key, entry) VALUES"
    # Within a group the row before is known; before the group's first one only the learner's entry
    # knows it.
    " (?, ?, ?, coalesce(?, (SELECT newest FROM learners WHERE learner_key = ?), 0), ?, ?)"
)
_ADVANCE: Final = (
    "UPDATE learners SET revision = ?, newest = ? WHERE learner_key = ? AND revision = ?"
)


def append_to_sqlite(
    driver: sqlite3.Connection, linked: Sequence[Linked], moves: Sequence[Move]
) -> None:
    """Append inside the caller's transaction. Raises `ConflictError`.

    Places are ours to give, because rows of one commit point to one another.
    """
    (last,) = driver.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()
    before: dict[int, int] = {}
    rows = []
    for place, (key, revision, interaction_key, entry) in enumerate(linked, last + 1):
        rows.append((place, key, revision, before.get(key), key, interaction_key, entry))
        before[key] = place
    driver.executemany(_APPEND, rows)
    steps = [
        (move.reached, last + 1 + move.last, move.learner_key, move.believed) for move in moves
    ]
    _all_moved(driver.executemany(_ADVANCE, steps).rowcount, moves)
    heads.put(driver, [(move.learner_key, move.head) for move in moves])


# Learners are held in the order of their keys, as everybody does it: or two brains could wait for
# each other. Whoever stands elsewhere than believed is not among them, and the last line makes that
# an error, which takes all of it back.
_GROUP: Final = """
WITH given AS MATERIALIZED (
    SELECT learner_key, revision, interaction_key, entry, nextval('log_seq_seq') AS seq
    FROM unnest(%s::int[], %s::int[], %s::uuid[], %b::bytea[])
        AS given (learner_key, revision, interaction_key, entry)
), moves AS MATERIALIZED (
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %b::bytea[])
        AS moves (learner_key, believed, reached, head)
), held AS MATERIALIZED (
    SELECT moves.*, learners.newest FROM learners JOIN moves
        ON learners.learner_key = moves.learner_key AND learners.revision = moves.believed
    ORDER BY learners.learner_key FOR UPDATE OF learners
), moved AS (
    UPDATE learners SET revision = held.reached, head = held.learner_key, newest = last.seq
    FROM held JOIN (SELECT learner_key, max(seq) AS seq FROM given GROUP BY learner_key) AS last
        ON last.learner_key = held.learner_key
    WHERE learners.learner_key = held.learner_key AND learners.revision = held.believed
    RETURNING 1
), put AS (
    INSERT INTO heads (place, head) SELECT learner_key, head FROM held
    ON CONFLICT (place) DO UPDATE SET head = excluded.head
), appended AS (
    INSERT INTO log (seq, previous, learner_key, revision, interaction_key, entry)
    SELECT seq, coalesce(lag(seq) OVER (PARTITION BY given.learner_key ORDER BY revision),
        held.newest, 0), given.learner_key, revision, interaction_key, entry
    FROM given JOIN held ON held.learner_key = given.learner_key ORDER BY seq
)
SELECT 1 / (count(*) = %s)::int FROM moved
"""


def append_to_postgres(
    driver: psycopg.Connection[Any], linked: Sequence[Linked], moves: Sequence[Move]
) -> None:
    """Append in one statement, which is a transaction of its own where `driver` commits by itself.

    Raises `ConflictError`.
    """
    keys, revisions, interaction_keys, entries = zip(*linked, strict=True)
    owners, believed, reached, _, packed = zip(*moves, strict=True)
    given = [
        *(list(keys), list(revisions), [key.hex() for key in interaction_keys], list(entries)),
        *(list(owners), list(believed), list(reached), list(packed), len(moves)),
    ]
    try:
        driver.execute(_GROUP, given, prepare=True)
    except psycopg.errors.DivisionByZero:
        _all_moved(-1, moves)


def _all_moved(count: int, moves: Sequence[object]) -> None:
    if count != len(moves):
        raise ConflictError("another brain wrote the same learner, or it was erased")
