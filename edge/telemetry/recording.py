"""Queues records of frames until they are sent; bounded, it drops rather than waits.

Each frame of a client makes one entry together with its answer. Updates and room events, which go
to many sockets, are only counted (`counters`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

OK = "ok"
UNKNOWN = "unknown"
"""Type of a frame that is not understood, so that strangers cannot invent types."""

MANY: Final = 500
"""Slots that justify a message: what waits longer has left the processor's caches when it is
sent.
"""

_CONTENT_PER_PLACE = 256
"""Bytes of content that take one slot of the queue, so that contents cannot fill the memory."""
_MOST_SLOTS = 4_096
"""Slots of one batch, unless one entry has more: one message stays near a megabyte."""


class Exchange(NamedTuple):
    """A client's frame and its outcome."""

    started: float
    """When it arrived, in seconds of the edge's clock."""
    answered: float
    """When `answer` was written."""
    user_id: str
    """Empty before authentication, as is `role`."""
    role: str
    type: str
    size: int
    """Bytes of its payload."""
    answer: str
    """Type of the frame that answered it; empty when none did."""
    answer_size: int
    outcome: str
    """`ok`, or the code of the error that answered it."""
    trace_id: str
    content: bytes
    answer_content: bytes
    learner_id: str
    """The learner both contents are about; empty when no content is kept."""


Entry = tuple[float, float, str, str, str, int, str, int, str, str, bytes, bytes, str]
"""An Exchange as it waits: a plain tuple is several times cheaper to make."""

# Indices of an Exchange's fields in it.
_ANSWERED: Final = 1
_ANSWER: Final = 6
_CONTENT: Final = 10
_ANSWER_CONTENT: Final = 11
_LEARNER: Final = 12


class NoReceipt:
    """Of a frame while nothing is recorded."""

    __slots__ = ()

    def understood(self, type: str, frame: Any = None) -> None:
        """The frame's type is known; `frame` is its content, if decoded."""

    def identified(self, user_id: str, role: str) -> None:
        """The frame's user is known."""

    def answered(self, answer: str, payload: bytes, outcome: str = OK, trace_id: str = "") -> None:
        """The frame is answered by a frame of type `answer`, or by none when that is empty."""

    def unanswered(self, outcome: str = OK, trace_id: str = "") -> None:
        """The frame gets no answer."""


NO_RECEIPT: Final = NoReceipt()


class Receipt(NoReceipt):
    """A frame that waits for its answer. Each frame makes one, so little is done here."""

    __slots__ = (
        "_content",
        "_learner_id",
        "_recording",
        "_role",
        "_size",
        "_started",
        "_type",
        "_user_id",
    )

    def __init__(
        self, recording: Recording, user_id: str, role: str, started: float, payload: bytes
    ) -> None:
        """Note a frame that was received at `started` by the edge's clock."""
        self._recording = recording
        self._started = started
        self._size = len(payload)
        self._content = payload if recording.keeps_content else b""
        self._learner_id = ""
        self._user_id = user_id
        self._role = role
        self._type = UNKNOWN

    def understood(self, type: str, frame: Any = None) -> None:
        """Note the type, and the learner the content is about; content is kept only if it is about
        one learner and can be erased with them.
        """
        self._type = type
        if self._content and frame is not None:
            self._learner_id = getattr(getattr(frame, "data", frame), "learner_id", "")
            if not self._learner_id:
                self._content = b""

    def identified(self, user_id: str, role: str) -> None:
        """Note whose frame it is."""
        self._user_id, self._role = user_id, role

    def answered(self, answer: str, payload: bytes, outcome: str = OK, trace_id: str = "") -> None:
        """Record the frame with its answer, a frame of type `answer`; or without one, when that is
        empty.
        """
        recording = self._recording
        # Refused content is not part of the learner's record, and may come from a stranger.
        learner_id = self._learner_id if outcome == OK else ""
        entry = (
            self._started,
            recording.clock(),
            self._user_id,
            self._role,
            self._type,
            self._size,
            answer,
            len(payload),
            outcome,
            trace_id,
            self._content if learner_id else b"",
            payload if learner_id else b"",
            learner_id,
        )
        recording.add(entry)

    def unanswered(self, outcome: str = OK, trace_id: str = "") -> None:
        """Record a frame that gets no answer."""
        self.answered("", b"", outcome, trace_id)


class NoRecording:
    """Of an edge that records nothing."""

    def receipt(self, user_id: str, role: str, started: float, payload: bytes) -> NoReceipt:
        """Return what takes the frame's answer."""
        return NO_RECEIPT


NO_RECORDING: Final = NoRecording()


class Recording(NoRecording):
    """The queue of one edge."""

    def __init__(self, *, capacity: int, keeps_content: bool, clock: Callable[[], float]) -> None:
        """Hold `capacity` slots: an entry takes one, and one more per 256 bytes of content."""
        self.keeps_content = keeps_content
        self.clock = clock
        """Monotonic seconds."""
        self.dropped = 0
        """Messages that found the queue full, ever."""
        self.sent = 0
        """Messages that were handed on, ever."""
        self._capacity = capacity
        self._many = min(MANY, capacity // 2)
        self.on_many: Callable[[], None] | None = None
        """Called whenever an entry finds many slots taken, so that they can be sent before their
        time.
        """
        self._slots = 0
        self._waiting: deque[Entry] = deque()
        self._in_hand: list[Entry] = []
        self.is_on = True
        """False while the service keeps no records."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_hand)

    @property
    def lag_s(self) -> float:
        """How long the oldest entry has waited, in seconds; 0 when none does."""
        oldest = next(iter(self._in_hand or self._waiting), None)
        return 0.0 if oldest is None else self.clock() - oldest[_ANSWERED]

    def receipt(self, user_id: str, role: str, started: float, payload: bytes) -> NoReceipt:
        """Note a frame that was received at `started` by the edge's clock, until its answer."""
        return Receipt(self, user_id, role, started, payload) if self.is_on else NO_RECEIPT

    def add(self, entry: Entry) -> None:
        """Keep an entry, or drop and count it when none is free."""
        slots = _slots(entry) if self.keeps_content else 1
        if self._slots + slots > self._capacity:
            self.dropped += 2 if entry[_ANSWER] else 1
        elif self.is_on:
            self._slots += slots
            self._waiting.append(entry)
            if self._slots > self._many and self.on_many is not None:
                self.on_many()

    # Who sends

    def batch(self, most: int) -> list[Entry]:
        """Take the oldest entries in hand, or return those still in hand because sending them
        failed.
        """
        if not self._in_hand:
            waiting, slots = self._waiting, 0
            if not self.keeps_content:
                self._in_hand = [waiting.popleft() for _ in range(min(most, len(waiting)))]
            while waiting and len(self._in_hand) < most and slots < _MOST_SLOTS:
                self._in_hand.append(waiting.popleft())
                slots += _slots(self._in_hand[-1])
        return self._in_hand

    def hand_over(self, *, refused: bool = False) -> None:
        """The entries in hand were sent or given up."""
        if refused:
            self.dropped += messages(self._in_hand)
        else:
            self.sent += messages(self._in_hand)
        self._slots -= sum(map(_slots, self._in_hand)) if self.keeps_content else len(self._in_hand)
        self._in_hand = []

    def switch(self, is_on: bool) -> None:
        """Record from now on, or stop and forget what waits."""
        self.is_on = is_on
        if not is_on:
            self._waiting.clear()
            self._in_hand = []
            self._slots = 0

    def forget(self, learner_id: str) -> None:
        """Drop every entry that has content about a learner; that is an erasure and not counted as
        dropped.
        """
        self._waiting = deque(entry for entry in self._waiting if entry[_LEARNER] != learner_id)
        self._in_hand = [entry for entry in self._in_hand if entry[_LEARNER] != learner_id]
        self._slots = sum(map(_slots, self._waiting)) + sum(map(_slots, self._in_hand))


def messages(entries: list[Entry]) -> int:
    """Return how many messages, frames and answers, the entries record."""
    return sum(2 if entry[_ANSWER] else 1 for entry in entries)


def _slots(entry: Entry) -> int:
    return 1 + (len(entry[_CONTENT]) + len(entry[_ANSWER_CONTENT])) // _CONTENT_PER_PLACE
