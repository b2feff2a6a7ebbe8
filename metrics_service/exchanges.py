"""Records of edges: browsers' frames with their answers, in columns.

A batch is taken in, checked, summed and stored column by column, which costs a fraction of what a
value per message would. Only exports and erasures look at single messages.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple, TypeVar

from metrics_service.records import MINUTE_MS, MOST_MS, Direction, MessageRecord
from service_runtime import validation

MOST = 2_000
"""Exchanges of one batch."""

TRACE_BYTES = 16

_UNTRACED = bytes(TRACE_BYTES)
_CONTENT_PER_PLACE = 256
_LONGEST_ROLE = 32
_CODE = re.compile(r"[a-z0-9_]{1,64}")

T = TypeVar("T")


class BadRecordError(Exception):
    """A batch contradicts itself or is out of range; none of it is kept."""


class Kind(NamedTuple):
    """What many exchanges have in common; `answer` is empty when there was none."""

    role: str
    type: str
    answer: str
    outcome: str


class Content(NamedTuple):
    """What both frames of the exchange at index `exchange` said about a learner."""

    exchange: int
    learner_id: str
    content: str
    answer_content: str


@dataclass(frozen=True, kw_only=True)
class Exchanges:
    """Frames and their answers, in the order in which they ended; each column has a value for every
    one.
    """

    first_ms: int
    """When the earliest frame came, Unix milliseconds."""
    after_ms: Sequence[int]
    users: Sequence[str]
    """Ids that `user` points to; empty for who had not authenticated."""
    user: Sequence[int]
    kinds: Sequence[Kind]
    """What `kind` points to."""
    kind: Sequence[int]
    size: Sequence[int]
    """Bytes of the frame's payload."""
    answer_size: Sequence[int]
    latency_us: Sequence[int]
    trace_ids: bytes = b""
    """16 bytes for every exchange, zeros where there is no trace; or nothing at all."""
    contents: Sequence[Content] = ()
    """Empty unless the edge records contents."""

    def __len__(self) -> int:
        return len(self.kind)

    @functools.cached_property
    def messages(self) -> int:
        """Messages they consist of: frames and answers."""
        return sum(
            count * (2 if self.kinds[kind].answer else 1)
            for kind, count in Counter(self.kind).items()
        )

    @functools.cached_property
    def slots(self) -> int:
        """Slots they take in a queue: one per message, and one more per 256 characters of
        content.
        """
        size = sum(len(one.content) + len(one.answer_content) for one in self.contents)
        return self.messages + size // _CONTENT_PER_PLACE

    @functools.cached_property
    def last_ms(self) -> int:
        """A moment that no message of them is after, Unix milliseconds."""
        return (
            self.first_ms + max(self.after_ms, default=0) + max(self.latency_us, default=0) // 1000
        )

    def without(self, *, user_id: str = "", learner_id: str = "") -> Exchanges:
        """Return a copy without a user's messages, or without content about a learner, and without
        their ids.
        """
        if user_id:
            gone = {index for index, user in enumerate(self.users) if user == user_id}
            return self._where([user not in gone for user in self.user]) if gone else self
        about = {one.exchange for one in self.contents if one.learner_id == learner_id}
        return self._where([index not in about for index in range(len(self))]) if about else self

    def by_minute(self) -> Iterator[Exchanges]:
        """Split them by the minute in which the frames arrived."""
        first, last = self._minute(0), self._minute(max(self.after_ms, default=0))
        if first == last:
            yield self
            return
        minutes = [self._minute(after_ms) for after_ms in self.after_ms]
        for minute in sorted(set(minutes)):
            yield self._where([one == minute for one in minutes])

    def records(self) -> Iterator[MessageRecord]:
        """Yield each message: a frame, then its answer if it has one."""
        contents = {one.exchange: one for one in self.contents}
        for index, (after_ms, user, kind, latency_us) in enumerate(
            zip(self.after_ms, self.user, self.kind, self.latency_us, strict=True)
        ):
            role, type_, answer, outcome = self.kinds[kind]
            trace_id = self.trace_ids[index * TRACE_BYTES : (index + 1) * TRACE_BYTES]
            content = contents.get(index)
            frame = MessageRecord(
                at_ms=self.first_ms + after_ms,
                user_id=self.users[user],
                role=role,
                type=type_,
                direction=Direction.INBOUND,
                bytes=self.size[index],
                latency_ms=latency_us / 1000 if answer else None,
                outcome=outcome,
                trace_id="" if trace_id == _UNTRACED else trace_id.hex(),
                content=content.content if content else "",
                learner_id=content.learner_id if content else "",
            )
            yield frame
            if answer:
                yield MessageRecord(
                    at_ms=frame.at_ms + latency_us // 1000,
                    user_id=frame.user_id,
                    role=role,
                    type=answer,
                    direction=Direction.OUTBOUND,
                    bytes=self.answer_size[index],
                    latency_ms=None,
                    outcome=outcome,
                    trace_id=frame.trace_id,
                    content=content.answer_content if content else "",
                    learner_id=frame.learner_id,
                )

    def _minute(self, after_ms: int) -> int:
        return (self.first_ms + after_ms) // MINUTE_MS

    def _where(self, keep: Sequence[bool]) -> Exchanges:
        kept = list(compress(range(len(self)), keep))
        moved = {old: new for new, old in enumerate(kept)}
        users, user = _reduced(self.users, list(compress(self.user, keep)))
        kinds, kind = _reduced(self.kinds, list(compress(self.kind, keep)))
        after_ms = list(compress(self.after_ms, keep))
        earliest = min(after_ms, default=0)
        return Exchanges(
            first_ms=self.first_ms + earliest,
            after_ms=[one - earliest for one in after_ms],
            users=users,
            user=user,
            kinds=kinds,
            kind=kind,
            size=list(compress(self.size, keep)),
            answer_size=list(compress(self.answer_size, keep)),
            latency_us=list(compress(self.latency_us, keep)),
            trace_ids=b"".join(
                self.trace_ids[index * TRACE_BYTES : (index + 1) * TRACE_BYTES] for index in kept
            ),
            contents=[
                one._replace(exchange=moved[one.exchange])
                for one in self.contents
                if keep[one.exchange]
            ],
        )


def _reduced(values: Sequence[T], column: Sequence[int]) -> tuple[list[T], list[int]]:
    """Return only the values that a column points to, and the column that points to them there."""
    used = {old: new for new, old in enumerate(dict.fromkeys(column))}
    return [values[old] for old in used], [used[old] for old in column]


def check(batch: Exchanges) -> None:
    """Raise BadRecordError, which names the column, unless a batch is as the contract says."""
    size = len(batch)
    columns = (batch.after_ms, batch.user, batch.size, batch.answer_size, batch.latency_us)
    if size > MOST or any(len(column) != size for column in columns):
        raise BadRecordError(f"every column must have the same number of values, at most {MOST}")
    problems = {
        "first_ms": not size or 0 < batch.first_ms <= MOST_MS,
        "after_ms": batch.last_ms <= MOST_MS,
        "users": len(batch.users) <= size
        and all(len(one) <= validation.MAX_ID for one in batch.users),
        "user": max(batch.user, default=-1) < len(batch.users),
        "kinds": len(batch.kinds) <= size and all(map(_is_kind, batch.kinds)),
        "kind": max(batch.kind, default=-1) < len(batch.kinds),
        "trace_ids": len(batch.trace_ids) in (0, size * TRACE_BYTES),
        "contents": len({one.exchange for one in batch.contents if one.exchange < size})
        == len(batch.contents)
        and all(1 <= len(one.learner_id) <= validation.MAX_ID for one in batch.contents),
    }
    for name, is_good in problems.items():
        if not is_good:
            raise BadRecordError(
                f"{name} of the exchanges is out of range; nothing of the batch was kept"
            )


@functools.lru_cache(maxsize=1024)
def _is_kind(kind: Kind) -> bool:
    are_codes = all(not one or _CODE.fullmatch(one) for one in kind)
    return bool(are_codes and kind.type and kind.outcome and len(kind.role) <= _LONGEST_ROLE)
