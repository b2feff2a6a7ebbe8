"""Adapts content to a learner's present state: transparently, reversibly, without inventing
anything.

No language model is involved. It regroups and frames the author's own words and lists what it did;
a generative adapter could implement `ContentAdapter`. Thresholds are proposals, not findings.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

from brain_service.model.assessment import Assessment
from brain_service.model.habits import Band
from brain_service.model.meaning import NAMES

CHUNKED: Final = "chunked"
BREAK_SUGGESTED: Final = "break_suggested"
LONG_TEXT: Final = 280
"""Texts longer than this are chunked for a loaded or tired learner."""
CHUNK: Final = 200
"""A chunk ends with the first sentence end after this many characters."""
LOADED: Final = 0.7
FATIGUED: Final = 0.7
FRUSTRATED: Final = 0.6
AT_EASE: Final = 0.5
_TASKS: Final = frozenset({"question", "exercise", "assessment", "practice"})
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])\s+")
_BREAK: Final = "\n\n"


class Request(NamedTuple):
    """Content to adapt."""

    content: str
    content_type: str
    """Such as "question" or "explanation"; tasks get step prompts, other content does not."""
    target_difficulty: float | None = None
    """1–5 as requested by the caller; overrides the model's suggestion."""
    focus_areas: tuple[str, ...] = ()


class Change(NamedTuple):
    """One thing that was done."""

    code: str
    """One of `chunked`, `scaffolded`, `easier`, `harder`, `target_difficulty`, `focus`,
    `break_suggested`.
    """
    description: str
    """What was done, for a person."""
    reason: str
    """The evidence, such as "cognitive_load 0.84 above 0.70"."""
    undo: str
    """How to undo it, for a person."""
    added: str = ""
    """The paragraph that was added, as it stands in the content; empty when nothing was added."""


class Adapted(NamedTuple):
    """The content as it should be shown, and what was done to it, in order; no changes means it is
    the original.
    """

    content: str
    changes: tuple[Change, ...]


def original(adapted: Adapted) -> str:
    """Undo every change: the content exactly as its author wrote it."""
    content = adapted.content
    for change in adapted.changes:
        if change.code == BREAK_SUGGESTED:
            content = content.removesuffix(_BREAK + change.added)
        elif change.added:
            content = content.removeprefix(change.added + _BREAK)
    if any(change.code == CHUNKED for change in adapted.changes):
        content = content.replace(
            _BREAK, " "
        )  # a text with such breaks of its own is never chunked
    return content


class ContentAdapter(Protocol):
    """Adapts content to a learner's assessment (None: unknown learner, change only what was
    requested).
    """

    def adapt(self, request: Request, assessment: Assessment | None) -> Adapted:
        """Return the adapted content; it must list every change, and each must be reversible."""
        ...


class RuleAdapter:
    """Adapts by fixed rules, the same input always to the same output."""

    def adapt(self, request: Request, assessment: Assessment | None) -> Adapted:
        """Chunk a long text, put lines above it (focus, difficulty, steps) and a break hint below,
        where they fit.
        """
        chunks, body = (
            (None, request.content) if assessment is None else _chunk(request.content, assessment)
        )
        above = [
            line
            for line in (
                _focus(request),
                _difficulty(request, assessment),
                _steps(request, assessment),
            )
            if line
        ]
        below = _suggest_break(assessment)
        parts = [*(line.added for line in above), body, *([below.added] if below else [])]
        changes = [chunks, *above, below]
        return Adapted(
            _BREAK.join(parts), tuple(change for change in changes if change is not None)
        )


def _chunk(text: str, assessment: Assessment) -> tuple[Change | None, str]:
    reason = _above_usual(assessment, "cognitive_load", LOADED) or _above_usual(
        assessment, "fatigue_level", FATIGUED
    )
    if len(text) <= LONG_TEXT or _BREAK in text or not reason:
        return None, text
    pieces, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        # A gap other than one space could not be restored exactly, so it stays.
        if end.group() == " " and end.end() < len(text) and end.start() - start >= CHUNK:
            pieces.append(text[start : end.start()])
            start = end.end()
    if not pieces:
        return None, text
    pieces.append(text[start:])
    description = f"Split the text into {len(pieces)} paragraphs; no word was changed."
    return Change(
        CHUNKED, description, reason, "Join the paragraphs of the text with one space."
    ), _BREAK.join(pieces)


def _focus(request: Request) -> Change | None:
    if not request.focus_areas:
        return None
    added = "Focus: " + ", ".join(request.focus_areas) + "."
    return _above(
        "focus", added, "Named the focus areas above the content.", "the request names focus_areas"
    )


def _difficulty(request: Request, assessment: Assessment | None) -> Change | None:
    if request.target_difficulty is not None:
        added = f"Target difficulty: {min(max(request.target_difficulty, 1.0), 5.0):g} of 5."
        return _above(
            "target_difficulty",
            added,
            "Stated the difficulty asked for.",
            "the request names target_difficulty",
        )
    for found in assessment.recommendations if assessment else ():
        evidence = ", ".join(
            f"{name} {value:.2f}" for name, value in zip(found.reasons, found.values, strict=True)
        )
        if found.advice.shift > 0:
            added = "Challenge: after this one, try a harder variation."
            return _above("harder", added, "Invited the learner to a harder variation.", evidence)
        if found.advice.shift < 0:
            added = "Warm-up: start with the part you already know."
            return _above(
                "easier", added, "Invited the learner to start with what is known.", evidence
            )
    return None


def _steps(request: Request, assessment: Assessment | None) -> Change | None:
    if assessment is None or request.content_type not in _TASKS:
        return None
    advised = [
        found.code
        for found in assessment.recommendations
        if found.code in ("scaffold", "worked_example")
    ]
    frustrated = _above_usual(assessment, "frustration_level", FRUSTRATED)
    confidence = assessment.level("confidence_level")
    if advised:
        reason = f"recommended: {advised[0]}"
    elif frustrated and confidence < AT_EASE:
        reason = f"{frustrated} and confidence_level {confidence:.2f} below {AT_EASE:.2f}"
    else:
        return None
    added = (
        "Step by step: 1) What is given? 2) What is asked? 3) Which rule connects them? 4) Try only"
        " the first step."
    )
    return _above("scaffolded", added, "Put four guiding steps above the task.", reason)


def _above_usual(assessment: Assessment, name: str, threshold: float) -> str:
    """Return the evidence that a level is higher than usual for the learner or, while that is
    unknown, above a threshold; empty if neither.
    """
    level, meaning = assessment.level(name), assessment.meaning
    band = Band.TOO_EARLY if meaning is None else meaning.band(name)
    if meaning is None or band is Band.TOO_EARLY:
        return f"{name} {level:.2f} above {threshold:.2f}" if level > threshold else ""
    if band not in (Band.HIGHER, Band.MUCH_HIGHER):
        return ""
    usual = meaning.comparison(assessment.estimates).usual[NAMES.index(name)]
    return f"{name} {level:.2f}, usually {usual:.2f}"


def _suggest_break(assessment: Assessment | None) -> Change | None:
    for found in assessment.recommendations if assessment else ():
        if found.code == "take_break":
            told = dict(zip(found.reasons, found.values, strict=True))
            reason = ", ".join(_TIRED_BY[name].format(value) for name, value in told.items())
            added = "This is a good moment for a short break."
            description = "Suggested a short break below the content."
            return Change(BREAK_SUGGESTED, description, reason, "Remove the last paragraph.", added)
    return None


_TIRED_BY: Final = {"tank": "fatigue tank {:.2f}", "active_s": "{:.0f} seconds active"}


def _above(code: str, added: str, description: str, reason: str) -> Change:
    return Change(
        code, description, reason, f"Remove the paragraph that starts with “{added[:20]}”.", added
    )
