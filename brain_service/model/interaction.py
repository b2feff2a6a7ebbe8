"""What a learner did, checked: the only way for untrusted fields into the model.

Only the fields' rules are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final, NamedTuple

from service_runtime import validation

ANSWERING: Final = frozenset({"question_response", "assessment", "practice"})
"""Kinds whose `correct` is evidence; on the other kinds it is ignored."""
KINDS: Final = ANSWERING | {"content_view", "hint_request"}

MAX_SKILLS_PER_ITEM: Final = 8
MAX_NAME: Final = 128
MAX_CONTENT: Final = 16_384
MAX_RESPONSE: Final = 16_384
MAX_CONTEXT_BYTES: Final = 64 * 1024
MAX_TIME_S: Final = 3600.0
"""Longer times on one interaction count as this."""
ABSURD_TIME_S: Final = 86_400.0
MAX_COUNT: Final = 1000
ANONYMOUS_SKILL: Final = ""
"""The skill of an interaction that names none; learned from but never shown."""
_NO_SKILLS: Final = (ANONYMOUS_SKILL,)


class BadInteractionError(ValueError):
    """An interaction that cannot be used; the message is one sentence for its sender."""


class Interaction(NamedTuple):
    """One thing a learner did. Build it with `interaction_from_context` or `checked`; None means
    unknown.

    `item` names what it was about: `context.item_id`, else a stable hash of the content. `skills`
    are those it exercises, at least one (the anonymous one); a skill named twice counts twice, as
    in the data that the weights were fitted on. `difficulty` is 1 (easy) to 5 (hard), `time_taken`
    seconds, `hints` and `attempts` counts on this item so far, the present attempt included.
    """

    kind: str
    item: str
    skills: tuple[str, ...] = (ANONYMOUS_SKILL,)
    content: str = ""
    subject: str | None = None
    correct: bool | None = None
    difficulty: float | None = None
    time_taken: float | None = None
    hints: int | None = None
    attempts: int | None = None


def interaction_from_context(kind: str, content: str, context: Mapping[str, object]) -> Interaction:
    """Check the loose fields of a request and return them as an `Interaction`; unknown fields are
    ignored.

    Refused with `BadInteractionError`: any field of the wrong type (a boolean is not a number, a
    number is not a boolean), and what `checked` refuses. A field that is absent or None is missing,
    and stays missing.
    """
    if not isinstance(content, str):
        raise BadInteractionError("content must be a string.")
    get = context.get
    correct = get("correct")
    if correct is not None and correct is not True and correct is not False:
        raise BadInteractionError("context.correct must be true or false, or be left out.")
    return checked(
        kind,
        content,
        item_id=_text("item_id", get("item_id")),
        skills=_texts("skill", get("skill")),
        subject=_text("subject", get("subject")),
        correct=correct,
        difficulty=_number("difficulty", get("difficulty")),
        time_taken=_number("time_taken", get("time_taken")),
        hints=_number("hints", get("hints")),
        attempts=_number("attempts", get("attempts")),
    )


def checked(
    kind: str,
    content: str,
    *,
    item_id: str | None,
    skills: Sequence[str],
    subject: str | None,
    correct: bool | None,
    difficulty: float | None,
    time_taken: float | None,
    hints: float | None,
    attempts: float | None,
) -> Interaction:
    """Check fields that have the right types already and return them as an `Interaction`; None is
    missing.

    Bounded silently: difficulty to 1…5, time_taken to an hour, hints and attempts to 1000. Refused
    with
    `BadInteractionError`: an unknown kind, empty content without `item_id`, content over 16,384
    characters, more than 8 skills, names that are empty, over 128 bytes (UTF-8) or contain control
    characters, numbers that are not finite, negative times and counts, a time_taken over a day, and
    counts that are not whole. `correct` is kept only for answers.
    """
    if kind not in KINDS:
        raise BadInteractionError(f"type must be one of {', '.join(sorted(KINDS))}.")
    if len(content) > MAX_CONTENT:
        raise BadInteractionError(
            f"content must have at most {MAX_CONTENT} characters; send a shorter one or only"
            " item_id."
        )
    if item_id is not None:
        _check_name("item_id", item_id)
    elif not content:
        raise BadInteractionError("content is empty; send the content or context.item_id.")
    if len(skills) > MAX_SKILLS_PER_ITEM:
        raise BadInteractionError(
            f"context.skill must name at most {MAX_SKILLS_PER_ITEM} skills; send the main ones."
        )
    for skill in skills:
        _check_name("skill", skill)
    if subject is not None:
        _check_name("subject", subject)
    if difficulty is not None:
        _check_finite("difficulty", difficulty)
        difficulty = 1.0 if difficulty < 1.0 else 5.0 if difficulty > 5.0 else difficulty
    if time_taken is not None:
        _check_finite("time_taken", time_taken)
        if time_taken < 0:
            raise BadInteractionError(
                "context.time_taken must be seconds, zero or more; leave it out where it is not"
                " known."
            )
        if time_taken > ABSURD_TIME_S:
            raise BadInteractionError(
                "context.time_taken must be seconds, at most a day; leave it out where it is not"
                " known."
            )
        time_taken = MAX_TIME_S if time_taken > MAX_TIME_S else time_taken
    return Interaction(
        kind,
        content_key(content) if item_id is None else item_id,
        tuple(skills) or _NO_SKILLS,
        content,
        subject,
        correct if kind in ANSWERING else None,
        difficulty,
        time_taken,
        None if hints is None else _count("hints", hints),
        None if attempts is None else _count("attempts", attempts),
    )


def check_carried(
    *,
    learner_id: str,
    interaction_id: str,
    content: str,
    response: str | None,
    context_json: bytes,
    occurred_at_ms: int,
    received_at_ms: int,
) -> None:
    """Check the parts of an interaction that are stored but not read by the model, so that they
    cannot spoil the group they are written with.

    Refused with `BadInteractionError`: ids that are none, text that a database does not take (NUL,
    half a character), a response over 16,384 characters, a `context_json` that is no JSON object or
    over 64 KiB (empty: none), and times outside 1970 to 9999, Unix milliseconds (0: unknown).
    """
    if not validation.is_id(learner_id):
        raise BadInteractionError(f"learner_id must be {validation.ID_RULE}.")
    if not validation.is_id(interaction_id):
        raise BadInteractionError(f"interaction_id must be {validation.ID_RULE}.")
    if not _storable(content):
        raise BadInteractionError("content must be valid text without NUL characters.")
    if response is not None:
        if len(response) > MAX_RESPONSE:
            raise BadInteractionError(f"response must have at most {MAX_RESPONSE:,} characters.")
        if not _storable(response):
            raise BadInteractionError("response must be valid text without NUL characters.")
    if context_json:
        try:
            validation.check_object(context_json, most=MAX_CONTEXT_BYTES)
        except validation.OutsideError as error:
            raise BadInteractionError(f"context_json {error}.") from None
    for name, ms in (("occurred_at_ms", occurred_at_ms), ("received_at_ms", received_at_ms)):
        if ms and not validation.is_moment(ms):
            raise BadInteractionError(
                f"{name} must be Unix milliseconds between 1970 and 9999, or 0."
            )


def _storable(text: str) -> bool:
    """Return whether both databases accept a text: no lone surrogates, no NUL."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def content_key(content: str) -> str:
    """Name an item that has no id by its content: the same text always gets the same name, on every
    machine.
    """
    digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=12)
    return "~" + digest.hexdigest()


def _check_name(field: str, value: str) -> None:
    size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_NAME:
        raise BadInteractionError(
            f"context.{field} must have 1 to {MAX_NAME} bytes; leave it out if unknown."
        )
    if not value.isprintable():
        raise BadInteractionError(f"context.{field} must not contain control characters.")


def _check_finite(field: str, value: float) -> None:
    if not isfinite(value):
        raise BadInteractionError(f"context.{field} must be a finite number.")


def _count(field: str, value: float) -> int:
    _check_finite(field, value)
    if value < 0 or value != int(value):
        raise BadInteractionError(f"context.{field} must be a whole number, zero or more.")
    return min(int(value), MAX_COUNT)


def _text(field: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadInteractionError(f"context.{field} must be a string.")
    return value


def _texts(field: str, value: object) -> Sequence[str]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise BadInteractionError(f"context.{field} must be a string or a list of strings.")
    if not all(isinstance(each, str) for each in value):
        raise BadInteractionError(f"context.{field} must be a list of strings.")
    return value


def _number(field: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInteractionError(f"context.{field} must be a number.")
    if isinstance(value, int):
        # No rule tells larger ones apart, and a float could not hold every one of them.
        value = min(max(value, -(2**53)), 2**53)
    return float(value)
