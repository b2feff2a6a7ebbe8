"""The engine's bounded cache of learners and answers; the store has the truth.

Answers are kept encoded. Resends are rare, and as objects thousands of assessments would be costly
to free long after they have left the processor's caches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from brain_service.engine.group import Entry
from brain_service.engine.storage import Head
from brain_service.engine.submission import Applied
from brain_service.model import codec
from brain_service.model.params import PARAMS_HASH


class Memory:
    """The most recently used learners, as stored, and the latest answers."""

    def __init__(self, *, learners: int, answers: int) -> None:
        self._max_learners = learners
        self._max_answers = answers
        self._learners: OrderedDict[str, Entry] = OrderedDict()
        self._keeps_outdated = True
        self._answers: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._writing: Collection[str] = ()
        self._overtaken: dict[str, int] = {}
        self._all_overtaken = False
        self._in_touch = True

    @property
    def size(self) -> int:
        """How many learners are in memory."""
        return len(self._learners)

    @property
    def answers(self) -> int:
        """How many answers are remembered."""
        return len(self._answers)

    def get(self, learner_id: str) -> Entry | None:
        """Return a learner; None when the store must be asked."""
        return self._learners.get(learner_id)

    def newest(self, learner_id: str) -> Entry | None:
        """Return a learner for a read; None also while other brains may have changed it
        unnoticed.
        """
        return self._learners.get(learner_id) if self._in_touch else None

    # Other brains

    def write(self, learner_ids: Collection[str]) -> None:
        """Remember what other brains publish about these learners until they are `put`: the commit
        in progress may finish before, and its answer arrive later.
        """
        self._writing = learner_ids
        self._all_overtaken = False
        if self._overtaken:
            self._overtaken = {}

    def hear(self, learner_id: str, revision: int) -> bool:
        """Another brain moved a learner to this revision (0: erased it); return whether an erased
        one was in memory.
        """
        entry = self._learners.get(learner_id)
        if entry is not None and (entry.state.revision < revision or not revision):
            del self._learners[learner_id]
        if learner_id in self._writing:
            self._overtaken[learner_id] = max(revision, self._overtaken.get(learner_id, 0))
        return not revision

    def lose_touch(self) -> None:
        """Stop answering reads from memory: other brains may be ahead unnoticed."""
        self._in_touch = False

    def regain_touch(self) -> None:
        """Drop all learners: any of them may have changed unnoticed."""
        self._in_touch = True
        self._learners.clear()
        self._all_overtaken = True

    def _is_overtaken(self, learner_id: str, entry: Entry) -> bool:
        if self._all_overtaken:
            return True
        heard = self._overtaken.get(learner_id)
        return heard is not None and (heard == 0 or heard > entry.state.revision)

    def keep_outdated(self, kept: bool) -> None:
        """Set whether learners with states of older constants may continue.

        They may not during a rebuild of all. Those in memory are dropped: they may be rebuilt
        already.
        """
        self._keeps_outdated = kept
        for learner_id, entry in list(self._learners.items()):
            if entry.constants != PARAMS_HASH:
                del self._learners[learner_id]

    def keeps(self, entry: Entry) -> bool:
        """Return whether a learner may continue; others must be rebuilt first."""
        return entry.constants == PARAMS_HASH or self._keeps_outdated

    def put(self, learner_id: str, entry: Entry) -> None:
        """Keep a learner's newly committed values."""
        if (not self._keeps_outdated and not self.keeps(entry)) or (
            (self._overtaken or self._all_overtaken) and self._is_overtaken(learner_id, entry)
        ):
            self._learners.pop(learner_id, None)
            return
        self._learners[learner_id] = entry
        self._learners.move_to_end(learner_id)
        if len(self._learners) > self._max_learners:
            self._learners.popitem(last=False)

    def answer(self, name: tuple[str, str]) -> Applied | None:
        """Return the answer given to (learner id, interaction id), if it was given lately."""
        written = self._answers.get(name)
        return None if written is None else read_answer(written)

    def keep_answer(self, name: tuple[str, str], assessment: bytes) -> None:
        """Keep an answer as it was written, for a resend."""
        self._answers[name] = assessment
        if len(self._answers) > self._max_answers:
            self._answers.popitem(last=False)

    def forget_answers(self) -> None:
        """Drop all answers; resends are then found in the store."""
        self._answers.clear()

    def kept(self, learner_ids: Collection[str]) -> list[str]:
        """Return which of these learners are in memory."""
        return [learner_id for learner_id in learner_ids if learner_id in self._learners]

    def drop_stale(self, learner_ids: Collection[str], heads: Mapping[str, Head]) -> list[str]:
        """Drop these learners, and return those that were erased from the store."""
        gone = []
        for learner_id in learner_ids:
            entry, head = self._learners.pop(learner_id, None), heads.get(learner_id)
            if entry is None:
                continue  # it was dropped while the store was read
            if head is None or head.learner_key != entry.key:
                gone.append(learner_id)
        return gone

    def with_keys(self, keys: Collection[int]) -> list[str]:
        """Return the learners that have one of these keys of the store."""
        return [learner_id for learner_id, entry in self._learners.items() if entry.key in keys]

    def erase(self, learner_ids: Collection[str]) -> None:
        """Drop learners and every answer they got."""
        erased = set(learner_ids)
        for learner_id in erased:
            self._learners.pop(learner_id, None)
        for name in [name for name in self._answers if name[0] in erased]:
            del self._answers[name]


def read_answer(assessment: bytes) -> Applied:
    """Return an answer that was given before. Raises `ValueError` when its bytes are damaged."""
    return Applied(codec.decode_assessment(assessment), duplicate=True)
