"""Checks that what clients saw of a learner could have happened one operation after the other.

A learner is a register that only grows: each interaction sets it to the next revision, each read
tells one. Such a history is linearizable exactly if ordering it by revision, each write before the
reads that saw it, contradicts no client's clock: an operation that ended before another began must
not come after it. (Herlihy and Wing 1990; with the value telling the order nothing has to be
searched.) Reads are held to that within their client only: a watcher at another edge may be told a
little later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Operation(NamedTuple):
    """One thing that a client did, from asking until it was answered, by one clock."""

    client: str
    learner_id: str
    interaction_id: str
    """Of a write; empty for a read."""
    began: float
    ended: float
    revision: int
    """What the answer told."""


def violations(operations: Iterable[Operation], logs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what cannot be explained, in sentences; nothing if all can.

    `logs` has the interaction ids of each learner in the order of revisions, as they are stored.
    """
    found = []
    of_learner: dict[str, list[Operation]] = {}
    for operation in operations:
        of_learner.setdefault(operation.learner_id, []).append(operation)
    for learner_id, some in of_learner.items():
        log = logs.get(learner_id, ())
        found += [f"{learner_id}: {text}" for text in (*_against_log(some, log), *_order(some))]
    return found


def _against_log(operations: Sequence[Operation], log: Sequence[str]) -> Iterable[str]:
    began = {one.interaction_id: one.began for one in operations if one.interaction_id}
    if len(set(log)) != len(log):
        yield "an interaction is in the log twice"
    for one in operations:
        if not 0 <= one.revision <= len(log):
            yield f"revision {one.revision} was told and is not in the log"
        elif one.interaction_id and log[one.revision - 1] != one.interaction_id:
            yield f"{one.interaction_id} was acknowledged as revision {one.revision}, of another"
        elif one.revision and began.get(log[one.revision - 1], one.began) > one.ended:
            yield f"revision {one.revision} was told before it was asked for"


def _order(operations: Sequence[Operation]) -> Iterable[str]:
    """Find operations that ended before another began and yet come after it."""
    events = sorted(
        [(one.began, 0, one) for one in operations] + [(one.ended, 1, one) for one in operations],
        key=lambda event: event[:2],
    )  # what begins when another ends is taken for simultaneous
    written = 0
    """Newest revision of a write that has ended."""
    seen: dict[str, int] = {}
    """Newest revision that a client has been told, or has written."""
    least: dict[Operation, int] = {}
    for _, ends, one in events:
        if not ends:
            least[one] = written + 1 if one.interaction_id else seen.get(one.client, 0)
            continue
        if one in least and one.revision < least[one]:
            kind = "written" if one.interaction_id else "shown"
            yield f"revision {one.revision} was {kind} to {one.client} after {least[one]}"
        seen[one.client] = max(seen.get(one.client, 0), one.revision)
        if one.interaction_id:
            written = max(written, one.revision)
