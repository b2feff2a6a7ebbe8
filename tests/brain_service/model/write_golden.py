"""Writes what today's model says of a simulated log, line by line: `python -m
tests.brain_service.model.write_golden`. A version's file is written once; where numbers change, so
does the version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from brain_service.model import VERSION, LearnerState, apply, interaction_from_context
from brain_service.model.bank import Bank
from demo.simulator import act, fresh_mind, make_pupil

FOLDER: Final = Path(__file__).parents[2] / "golden" / "model"
LEARNERS: Final = ("demo-mia", "demo-noa", "demo-ali")
STEPS: Final = 80
DIGITS: Final = 9


def path_of(version: str) -> Path:
    """Return where the file of a version is."""
    return FOLDER / f"{version.replace('/', '-')}.jsonl"


def lines() -> Iterator[dict[str, Any]]:
    """Yield what the model says after each step of three simulated learners who take turns."""
    bank, states = Bank(), dict[str, LearnerState]()
    pupils = {learner: make_pupil(learner, 5) for learner in LEARNERS}
    minds = {learner: fresh_mind(pupil) for learner, pupil in pupils.items()}
    for step in range(STEPS):
        for learner, pupil in pupils.items():
            minds[learner], action = act(pupil, minds[learner])
            interaction = interaction_from_context(action.kind, action.content, action.context)
            stage = bank.stage()
            now = 1_700_000_000.0 + 40.0 * step
            applied = apply(states.get(learner), stage.lookup(interaction), interaction, now)
            stage.add(applied.increments)
            stage.commit(written=True)
            states[learner] = applied.state
            yield told(learner, applied.assessment)


def told(learner: str, assessment: Any) -> dict[str, Any]:
    """What is compared of an assessment."""
    meaning = assessment.meaning
    return {
        "learner": learner,
        "predicted": rounded(assessment.predicted_correct),
        "levels": [rounded(level) for level in assessment.estimates.levels],
        "mastery": {each.skill: rounded(each.probability) for each in assessment.mastery},
        "bands": list(meaning.bands),
        "struggle": rounded(meaning.struggle),
        "attention": [meaning.attention, meaning.code],
        "advice": [each.advice.number for each in assessment.recommendations],
    }


def rounded(value: float | None) -> float | None:
    """Nine digits: neither the processor nor the interpreter changes those."""
    return None if value is None else round(value, DIGITS)


def main() -> None:
    """Write the file of today's version."""
    FOLDER.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines())
    path_of(VERSION).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
