"""A group of interactions on its way through the engine: what it computes on new values.

Applies the model and encodes rows; changes nothing outside itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from brain_service import model
from brain_service.engine.notices import Notice, Notifier
from brain_service.engine.publication import Publication
from brain_service.engine.storage import Head, LogRow, Row
from brain_service.engine.submission import Applied, Failed, Submission
from brain_service.model import (
    BadInteractionError,
    Increments,
    Interaction,
    LearnerState,
    Signs,
    Statistics,
    codec,
    interaction_from_context,
)
from brain_service.model.bank import Stage
from brain_service.model.params import PARAMS_HASH
from brain_service.model.values import maker


class Entry(NamedTuple):
    """A learner in memory: the stored values, where possible in the model's terms.

    The last assessment stays encoded: it is rarely read again, and as objects its hundred numbers
    would take ten times the memory and push useful data out of the processor's caches.
    """

    key: int
    state: LearnerState
    constants: bytes
    """The hash of those under which all of the state was computed."""
    signs: Signs
    """Of the last assessment."""
    assessment: bytes
    """That assessment, encoded."""
    occurred_at_ms: int


_row, _entry, _applied, _publication = maker(Row), maker(Entry), maker(Applied), maker(Publication)


class Doubt(NamedTuple):
    """An answer of which the log must tell whether it was the learner's first to its item."""

    learner_key: int
    learner_id: str
    revision: int
    increments: Increments


Admit = Callable[[Submission, Statistics, Increments], Increments]
"""Returns the part of an interaction's increments that the bank learns at once; see
`Teaching.admit`.
"""


class Group:
    """A group computed on new values; nothing outside has changed yet."""

    __slots__ = (
        "admit", "applied", "doubts", "failed", "learners", "notices", "notifier", "publications",
        "recorded", "rows", "stage",
    )  # fmt: skip

    def __init__(
        self,
        stage: Stage,
        learners: dict[str, Entry | None],
        admit: Admit,
        notifier: Notifier | None = None,
    ) -> None:
        self.notifier = notifier
        self.notices: list[Notice] = []
        self.stage = stage
        self.learners = learners
        self.admit = admit
        self.doubts: list[Doubt] = []
        self.rows: list[Row] = []
        self.applied: list[tuple[Submission, Applied]] = []
        self.publications: list[Publication] = []
        self.failed: list[tuple[Submission, Failed]] = []
        self.recorded: Counter[str] = Counter()
        """Interactions to audit, by who recorded them."""

    def changed(self) -> dict[str, Entry]:
        """Return the learners that the group changed, as they are after it."""
        moved = [submission.learner_id for submission, _ in self.applied]
        return {
            learner_id: entry
            for learner_id in moved
            if (entry := self.learners[learner_id]) is not None
        }

    def apply(self, submission: Submission) -> None:
        """Apply the model to one interaction. If the model raises, nothing here has changed."""
        learner_id, interaction = submission.learner_id, submission.interaction
        traceparent = submission.traceparent
        before = self.learners[learner_id]
        if before is None:
            key, state, constants, signs, at_ms = (
                0,
                None,
                PARAMS_HASH,
                model.QUIET,
                submission.at_ms,
            )
        else:
            key, state, constants, signs, _, at_ms = before
            at_ms = max(at_ms, submission.at_ms)
        statistics = self.stage.lookup(interaction)
        state, assessment, increments = model.apply(state, statistics, interaction, at_ms / 1000)
        assessment, encoded = codec.told(assessment)
        row = _row((
            learner_id,
            key,
            state.revision,
            submission.interaction_id,
            interaction.kind,
            interaction.content,
            submission.response,
            submission.context_json or _context_json(interaction),
            at_ms,
            submission.received_at_ms,
            traceparent,
            encoded,
            codec.encode_state(state, constants),
        ))  # fmt: skip
        now = model.signs(assessment)
        crossings = model.crossings(signs, now, assessment)
        if self.notifier is not None and signs[-1] != now[-1]:
            self.notices += self.notifier.notices(learner_id, int(signs[-1]), assessment, at_ms)
        taught = self.admit(submission, statistics, increments)
        self.stage.add(taught)
        if taught.repeated is None:
            self.doubts.append(Doubt(key, learner_id, state.revision, increments))
        self.learners[learner_id] = _entry((key, state, constants, now, encoded, at_ms))
        if submission.recorded_by:
            self.recorded[submission.recorded_by] += 1
        self.rows.append(row)
        self.applied.append((submission, _applied((assessment, False))))
        self.publications.append(
            _publication(
                (learner_id, state.revision, assessment, crossings, traceparent, at_ms, False)
            )
        )


def read_entry(head: Head) -> Entry:
    """Read a stored learner. Raises `ValueError` when its bytes are damaged or of an unknown
    layout.
    """
    return Entry(
        head.learner_key,
        codec.decode_state(head.state),
        codec.constants_of(head.state),
        model.signs(codec.decode_assessment(head.assessment)),
        head.assessment,
        head.occurred_at_ms,
    )


def read_interaction(row: LogRow) -> Interaction | None:
    """Rebuild the model's input from a logged interaction; None where today's rules refuse it."""
    try:
        context = json.loads(row.context_json or b"{}")
        return interaction_from_context(row.kind, row.content, context)
    except (BadInteractionError, ValueError, AttributeError, RecursionError):
        return None


def _context_json(interaction: Interaction) -> bytes:
    """Write the model's input as the context a client would have sent, so that the log can be
    replayed.
    """
    skills = [skill for skill in interaction.skills if skill]
    fields = {
        "correct": interaction.correct,
        "difficulty": interaction.difficulty,
        "subject": interaction.subject,
        "skill": skills or None,
        "time_taken": interaction.time_taken,
        "hints": interaction.hints,
        "attempts": interaction.attempts,
        "item_id": None if interaction.item.startswith("~") else interaction.item,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
