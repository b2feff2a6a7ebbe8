"""The store's statements, built once: reads by lists of keys, and the shell of an erased row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from brain_service.store.heads import STATE_AT
from brain_service.store.tables import heads, learners, log

T = TypeVar("T")

# Well under the number of variables that either database takes in one statement.
_IN_CHUNK: Final = 500
_FIND_CHUNK: Final = 50

_BY_DIGEST: Final = learners.c.learner_digest.in_(sa.bindparam("wanted", expanding=True))
HEADS: Final = (
    sa.select(
        learners.c.learner_digest,
        learners.c.learner_key,
        heads.c.revision,
        heads.c.head,
    )
    .join_from(learners, heads, heads.c.place == learners.c.head)
    .where(_BY_DIGEST)
)
REVISIONS: Final = (
    sa.select(learners.c.learner_digest, heads.c.revision)
    .join_from(learners, heads, heads.c.place == learners.c.head)
    .where(_BY_DIGEST)
)
FORGOTTEN: Final = sa.select(learners.c.learner_digest, learners.c.forgotten).where(
    _BY_DIGEST, learners.c.forgotten > 0
)
KEYS: Final = sa.select(learners.c.learner_digest, learners.c.learner_key).where(_BY_DIGEST)
# Both columns of the index, because many learners may share an id. As two lists: for a list of
# pairs SQLite would read the whole log.
_FIND: Final = sa.select(
    log.c.interaction_key, log.c.learner_key, log.c.revision, log.c.entry
).where(
    log.c.interaction_key.in_(sa.bindparam("interaction_keys", expanding=True)),
    log.c.learner_key.in_(sa.bindparam("learner_keys", expanding=True)),
)
STAMPS: Final = (
    sa.select(
        learners.c.learner_key,
        heads.c.revision,
        sa.func.substr(heads.c.head, STATE_AT + 1, sa.bindparam("stamp"), type_=sa.LargeBinary),
    )
    .join_from(learners, heads, heads.c.place == learners.c.head)
    .where(learners.c.learner_key > sa.bindparam("after"))
    .order_by(learners.c.learner_key)
    .limit(sa.bindparam("limit"))
)
SHELL: Final[dict[str, Any]] = {
    "learner_key": None,
    "previous": 0,
    "interaction_key": None,
    "entry": b"",
}


def rows_in(
    connection: sa.Connection, query: sa.Select[Any], wanted: Iterable[Any]
) -> Iterator[Any]:
    """Run a query with a bound list `wanted`, in pieces that a statement can take."""
    for some in in_pieces(list(wanted)):
        yield from connection.execute(query, {"wanted": some})


def in_pieces(values: Sequence[T], size: int = _IN_CHUNK) -> Iterator[Sequence[T]]:
    """Cut a list into pieces that a statement can take."""
    return (values[start : start + size] for start in range(0, len(values), size))


def rows_of(connection: sa.Connection, places: Sequence[tuple[bytes, int]]) -> Iterator[Any]:
    """Run `_FIND` for (interaction key, learner key)s, in small pieces: it looks up every id for
    every learner of one.

    So it may yield extra rows.
    """
    for some in in_pieces(places, _FIND_CHUNK):
        interaction_keys, learner_keys = zip(*some, strict=True)
        wanted = {"interaction_keys": interaction_keys, "learner_keys": tuple(set(learner_keys))}
        yield from connection.execute(_FIND, wanted)
