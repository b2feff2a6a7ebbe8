"""Feeds logs to the learner model by the doors that the engine uses: checked interactions, one
bank, `apply`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_service.model import (
    Assessment,
    Increments,
    Interaction,
    LearnerState,
    apply,
    interaction_from_context,
)
from brain_service.model.bank import Bank
from brain_service.model.codec import encode_state
from evaluation import data

TRIAL_S = 2.5
EDNET_PRIOR, NBACK_PRIOR = 0.65, 0.0
"""Easiness of an unknown item under which the reference calculation made the golden files."""


class Replay:
    """Learners who share one item bank. With `learning=False` the bank stays as it is; the learners
    still learn. With `once=True` a learner teaches an item once, as in a brain; the reference
    calculation lets every answer teach. With `lessons=False` learners share items and times alone:
    the reference calculation knows nothing else.
    """

    def __init__(
        self, bank: Bank, *, learning: bool = True, once: bool = False, lessons: bool = True
    ) -> None:
        self.bank = bank
        self.states: dict[str, LearnerState] = {}
        self._learning = learning
        self._lessons = lessons
        self._taught: set[tuple[str, str]] | None = set() if once else None

    def step(self, learner: str, interaction: Interaction, now: float) -> Assessment:
        """Apply one interaction and return what the model says of it."""
        stage = self.bank.stage()
        applied = apply(self.states.get(learner), stage.lookup(interaction), interaction, now)
        if self._learning:
            increments = applied.increments
            if not self._teaches(learner, increments):
                increments = increments._replace(item=None)
            stage.add(increments if self._lessons else increments._replace(lesson=None))
            stage.commit(written=True)
        self.states[learner] = applied.state
        return applied.assessment

    def _teaches(self, learner: str, increments: Increments) -> bool:
        taught, item = self._taught, increments.item
        if taught is None or item is None:
            return True
        first = (learner, item) not in taught
        taught.add((learner, item))
        return first

    def digest(self) -> str:
        """Return a hash of the stored bytes of all states."""
        digest = hashlib.sha256()
        for learner in sorted(self.states):
            digest.update(encode_state(self.states[learner]))
        return digest.hexdigest()


def frames(replay: Replay, log: Iterable[Mapping[str, Any]]) -> list[Assessment]:
    """Replay a log of frames as a client sends them."""
    return [
        replay.step(
            frame["learner_id"],
            interaction_from_context(frame["type"], frame["content"], frame["context"]),
            frame["ts"],
        )
        for frame in log
    ]


def nback(path: Path) -> Iterator[tuple[data.Trial | data.Rating, float, Assessment]]:
    """Replay all n-back trials; yield each trial and rating with the person's time so far and what
    the model says then.

    A trial takes 2.5 s from one letter to the next.
    """
    replay = Replay(Bank(prior=NBACK_PRIOR))
    trials: defaultdict[str, int] = defaultdict(int)
    last: dict[str, Assessment] = {}
    for row in data.nback(path):
        if isinstance(row, data.Trial):
            trials[row.person] += 1
            context = {
                "item_id": f"n{row.n}",
                "skill": "nback",
                "correct": row.correct,
                "difficulty": float(row.n),
            }
            context["time_taken"] = row.seconds
            frame = nback_trial(row.person, context, TRIAL_S * trials[row.person])
            last[row.person] = frames(replay, [frame])[0]
        yield row, TRIAL_S * trials[row.person], last[row.person]


def nback_trial(person: str, trial: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return a trial of the n-back task as a frame; every level of the task is one item."""
    fields = ("item_id", "skill", "correct", "difficulty", "time_taken")
    return {
        "type": "question_response",
        "content": "n-back",
        "learner_id": person,
        "ts": now,
        "context": {field: trial[field] for field in fields},
    }


def ednet_digest(path: Path) -> str:
    """Replay the EdNet log and return the hash of what is remembered afterwards."""
    replay = Replay(Bank(prior=EDNET_PRIOR))
    frames(replay, data.json_lines(path, "ednet_kt4_frames.jsonl.gz"))
    return replay.digest()


if __name__ == "__main__":  # a process of its own, with its own hash seed, asks for the digest
    import os

    print(ednet_digest(data.folder(os.environ)))
