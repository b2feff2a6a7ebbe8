"""Appends groups of rows to the log, writes heads, and moves each learner's position.

A commit succeeds only if each learner is where the engine expected; see `chain`. SQLite has few,
short statements that the driver keeps ready; PostgreSQL one for the whole group, so that a commit
is one round trip.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from brain_service.engine.storage import ConflictError, Row
from brain_service.model.values import maker
from brain_service.store import heads
from brain_service.store.arrays import bigints, byteas, ints, uuids
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
    """The revision at which the engine expected the learner."""
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
    "INSERT INTO log (seq, previous, learner_key, revision, interaction_key, entry)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


def append_to_sqlite(
    driver: sqlite3.Connection, linked: Sequence[Linked], moves: Sequence[Move], kept: heads.Heads
) -> None:
    """Append inside the caller's exclusive transaction. Raises `ConflictError`.

    Places are assigned here, because rows of one commit point to one another.
    """
    (last,) = driver.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()
    before: dict[int, int] = {}
    moved = []
    for key, believed, reached, index, head in moves:
        stands = heads.find(driver, key)
        if stands is None or stands.revision != believed:
            raise ConflictError(_ELSEWHERE)
        before[key] = stands.newest
        moved.append((heads.Kept(key, last + 1 + index, reached, head), stands))
    rows = []
    for place, (key, revision, interaction_key, entry) in enumerate(linked, last + 1):
        rows.append((place, before[key], key, revision, interaction_key, entry))
        before[key] = place
    driver.executemany(_APPEND, rows)
    kept.put(driver, moved)


# Learners are locked in the order of their keys, to avoid deadlocks between brains. One at an
# unexpected revision is not found, and the last line turns that into an error, which rolls
# everything back.
_GROUP: Final = """
WITH given AS MATERIALIZED (
    SELECT learner_key, revision, interaction_key, entry, nextval('log_seq_seq') AS seq
    FROM unnest(%b::int[], %b::int[], %b::uuid[], %b::bytea[])
        AS given (learner_key, revision, interaction_key, entry)
), moves AS MATERIALIZED (
    SELECT * FROM unnest(%b::bigint[], %b::int[], %b::int[], %b::bytea[])
        AS moves (learner_key, believed, reached, head)
), held AS MATERIALIZED (
    SELECT moves.*, heads.newest FROM heads JOIN moves
        ON heads.place = moves.learner_key AND heads.revision = moves.believed
    ORDER BY heads.place FOR UPDATE OF heads
), moved AS (
    UPDATE heads SET revision = held.reached, newest = last.seq, head = held.head
    FROM held JOIN (SELECT learner_key, max(seq) AS seq FROM given GROUP BY learner_key) AS last
        ON last.learner_key = held.learner_key
    WHERE heads.place = held.learner_key AND heads.revision = held.believed
    RETURNING 1
), appended AS (
    INSERT INTO log (seq, previous, learner_key, revision, interaction_key, entry)
    SELECT seq, coalesce(lag(seq) OVER (PARTITION BY given.learner_key ORDER BY revision),
        held.newest), given.learner_key, revision, interaction_key, entry
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
        *(ints(keys), ints(revisions), uuids(interaction_keys), byteas(entries)),
        *(bigints(owners), ints(believed), ints(reached), byteas(packed), len(moves)),
    ]
    try:
        driver.execute(_GROUP, given, prepare=True)
    except psycopg.errors.DivisionByZero:
        raise ConflictError(_ELSEWHERE) from None


_ELSEWHERE: Final = "another brain wrote the same learner, or it was erased"
