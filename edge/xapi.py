"""Reads xAPI statements as interactions and writes interactions as statements. Pure; docs/xapi.md
lists the supported parts of the standard.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from edge.frames import incoming
from edge.frames.incoming import BadFrameError, Context, InteractionData

ANY: Final = "*"
_MAILTO: Final = "mailto:"
_VERBS: Final = "http://adlnet.gov/expapi/verbs/"
HINT_VERB: Final = "http://id.tincanapi.com/verb/requested-hint"
_HINTS: Final = ("asked-for-hint", "requested-hint")
_TEST: Final = "http://adlnet.gov/expapi/activities/assessment"
_TOLD: Final = {
    "question_response": "answered",
    "assessment": "answered",
    "practice": "attempted",
    "content_view": "experienced",
}
PASSED_FROM: Final = 0.5
"""The scaled score from which an answer counts as right when the statement has no `success`."""

_IRI: Final = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20\x7f<>"{}|\\^`]{1,2000}""")

_DURATION: Final = re.compile(
    r"P(?=.*\d)(?:\d+(?:[.,]\d*)?[YMWD])*(?:T(?:\d+(?:[.,]\d*)?[HMS])*)?", re.ASCII
)
_TIMEDELTA: Final = TypeAdapter(timedelta)
_DAY_S: Final = 86_400.0
"""Longer durations were not one sitting; the model does not accept them."""
_KEPT_BYTES: Final = 128
"""Of names and of an item's id, as the model keeps them; characters may have several."""
_MOST_SKILLS: Final = 8
_MOST_COUNTED: Final = 1_000_000
_FIELDS: Final = {
    "data.learner_id": "actor.account.name",
    "data.content": "object.definition",
    "data.response": "result.response",
}
"""The statement's names of fields that an interaction takes over unchanged."""

Iri = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class StatementError(Exception):
    """A statement that cannot be taken; the sentence names the field and repeats nothing of it."""


def _like(beginning: str, what: str) -> Callable[[Any], str]:
    """Return a check for text: pydantic would take numbers, and more than the standard has."""
    pattern = re.compile(beginning)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise ValueError(f"should be {what}")
        return value

    return check


def _seconds(value: Any) -> float:
    """Return the length of a duration; infinity when it is too long to count."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("should be an ISO 8601 duration")
    try:
        return _TIMEDELTA.validate_python(value).total_seconds()
    except ValidationError:
        return math.inf


class Account(BaseModel):
    """An account in another system."""

    homePage: Iri
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Actor(BaseModel):
    """Who did it."""

    objectType: str = "Agent"
    account: Account | None = None
    mbox: Annotated[str, StringConstraints(max_length=300)] = ""


class Verb(BaseModel):
    """What they did."""

    id: Iri


class Definition(BaseModel):
    """What an activity is."""

    name: dict[str, str] = {}
    description: dict[str, str] = {}
    type: str = ""


class Activity(BaseModel):
    """What they did it with."""

    objectType: str = "Activity"
    id: Iri
    definition: Definition = Definition()


class Score(BaseModel):
    """How well it went."""

    scaled: Annotated[float, Field(ge=-1, le=1, strict=True)] | None = None


class Outcome(BaseModel):
    """What came of it."""

    success: StrictBool | None = None
    response: str | None = None
    score: Score = Score()
    duration: Annotated[float, BeforeValidator(_seconds)] | None = None
    extensions: dict[str, Any] = {}


class Around(BaseModel):
    """The activities around it."""

    parent: list[Activity] | Activity = []
    grouping: list[Activity] | Activity = []


class Situation(BaseModel):
    """What it was part of."""

    contextActivities: Around = Around()
    extensions: dict[str, Any] = {}


class Statement(BaseModel):
    """The part of an xAPI statement that is read; the rest is ignored."""

    id: uuid.UUID | None = None
    actor: Actor
    verb: Verb
    object: Activity
    result: Outcome = Outcome()
    context: Situation = Situation()
    timestamp: (
        Annotated[AwareDatetime, BeforeValidator(_like(r"\d{4}-", "an ISO 8601 time"))] | None
    ) = None


def mailbox(value: Any) -> str:
    """Return the e-mail address that a statement names its actor by; empty when it has none."""
    actor = value.get("actor") if isinstance(value, dict) else None
    mbox = actor.get("mbox") if isinstance(actor, dict) else None
    if not isinstance(mbox, str) or len(mbox) > 300 or not (mbox.isascii() and mbox.isprintable()):
        return ""
    return mbox.removeprefix(_MAILTO) if mbox.startswith(_MAILTO) else ""


def read(
    value: Any, homepages: Collection[str], mailboxes: Mapping[str, str] | None = None
) -> tuple[InteractionData, Context]:
    """Return a statement's interaction; `mailboxes` has learners' ids by e-mail address. Raises
    StatementError.
    """
    try:
        statement = Statement.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the statement"
        raise StatementError(f"{place}: {first['msg']}.") from None
    data: dict[str, Any] = {
        "learner_id": _learner(statement.actor, homepages, mailboxes or {}),
        "type": _type(statement),
        "content": _content(statement.object),
        "context": _context(statement),
    }
    if statement.result.response is not None:
        data["response"] = statement.result.response
    if statement.id is not None:
        data["interaction_id"] = str(statement.id)
    if statement.timestamp is not None:
        data["occurred_at"] = statement.timestamp.isoformat()
    try:
        # Decode it like any interaction: the same limits, the same words.
        frame = incoming.decode(
            json.dumps({"type": "virtual_brain_interact", "data": data}).encode()
        )
        assert isinstance(frame, incoming.VirtualBrainInteract)  # noqa: S101 - written above
        if frame.data.occurred_at is not None:
            incoming.check_moment(frame.data.occurred_at, "timestamp")
        return frame.data, incoming.decode_context(frame.data.context)
    except BadFrameError as error:
        told = str(error)
        for ours, theirs in _FIELDS.items():
            told = told.replace(ours, theirs)
        raise StatementError(told) from None


def _learner(actor: Actor, homepages: Collection[str], mailboxes: Mapping[str, str]) -> str:
    account = actor.account
    if actor.objectType != "Agent":
        raise StatementError("actor.objectType: only agents are supported.")
    if account is not None and actor.mbox:
        raise StatementError("actor: name the learner by an account or by mbox, not by both.")
    if account is None and actor.mbox:
        if not actor.mbox.startswith(_MAILTO):
            raise StatementError(f"actor.mbox: should begin with {_MAILTO}")
        found = mailboxes.get(actor.mbox.removeprefix(_MAILTO))
        if found is None:
            raise StatementError("actor.mbox: does not belong to a learner.")
        return found
    if account is None:
        raise StatementError("actor.account: name the learner by an account.")
    if ANY not in homepages and account.homePage not in homepages:
        raise StatementError("actor.account.homePage: is not one of EDGE_XAPI_HOMEPAGES.")
    return account.name


def _type(statement: Statement) -> str:
    iri, success = statement.verb.id, _correct(statement.result)
    around = statement.context.contextActivities
    verb = iri.removeprefix(_VERBS) if iri.startswith(_VERBS) else ""
    if iri.rstrip("/").rpartition("/")[2] in _HINTS:
        return "hint_request"
    if verb in ("answered", "attempted", "completed") and success is not None:
        if any(one.definition.type == _TEST for one in (*_all(around.parent), statement.object)):
            return "assessment"
        return "question_response" if verb == "answered" else "practice"
    if verb == "answered":
        raise StatementError("result: an answer needs `success` or `score.scaled`.")
    if verb in ("attempted", "completed", "experienced"):
        return "content_view"
    raise StatementError(
        "verb.id: must be answered, attempted, completed, experienced or asked-for-hint."
    )


def _correct(result: Outcome) -> bool | None:
    if result.success is not None:
        return result.success
    return None if result.score.scaled is None else result.score.scaled >= PASSED_FROM


def _content(activity: Activity) -> str:
    if activity.objectType != "Activity":
        raise StatementError("object.objectType: only activities are supported.")
    told = activity.definition.description or activity.definition.name
    return next(iter(told.values()), "") or activity.id


def _context(statement: Statement) -> dict[str, Any]:
    result, around = statement.result, statement.context.contextActivities
    context: dict[str, Any] = {"verb": statement.verb.id, "activity": statement.object.id}
    for grouping in _all(around.grouping)[:1]:
        name = next(iter(grouping.definition.name.values()), grouping.id)
        if subject := _name(name):
            context["subject"] = subject
    for extensions in (statement.context.extensions, result.extensions):
        for iri, value in extensions.items():
            name = iri.rstrip("/").rpartition("/")[2]
            # Anybody may mean anything by an extension: what does not fit costs no answer.
            if name in _READ and (fits := _READ[name](value)) is not None:
                context[name] = fits
    correct = _correct(result)
    if correct is not None:
        context["correct"] = correct
    if result.duration is not None and result.duration <= _DAY_S:
        context["time_taken"] = result.duration
    # Cut long ids at the front: the end tells items of one course apart.
    context["item_id"] = _kept(statement.object.id)[-_KEPT_BYTES:].decode(errors="ignore")
    return context


def _kept(name: str) -> bytes:
    """Return a name with spaces for what the model takes no name with."""
    return "".join(one if one.isprintable() else " " for one in name).encode()


def _name(value: Any) -> str | None:
    """Return the beginning of a name that the model keeps."""
    if not isinstance(value, str):
        return None
    return _kept(value)[:_KEPT_BYTES].decode(errors="ignore").strip() or None


def _skills(value: Any) -> str | list[str] | None:
    if not isinstance(value, list):
        return _name(value)
    return [name for one in value if (name := _name(one))][:_MOST_SKILLS] or None


def _difficulty(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 1 <= value <= 5 else None


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value <= _MOST_COUNTED else None


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "subject": _name,
    "skill": _skills,
    "difficulty": _difficulty,
    "hints": _count,
    "attempts": _count,
}
"""Extensions that the model reads, by the last part of their IRI, and what it reads of them."""


def _all(activities: list[Activity] | Activity) -> list[Activity]:
    return activities if isinstance(activities, list) else [activities]


def told(entry: Mapping[str, Any], learner_id: str, home_page: str) -> dict[str, Any]:
    """Return an exported interaction as a statement, which no store refuses for what stands in its
    context: with it, many refuse all that come beside it.
    """
    context = entry.get("context")
    context = context if isinstance(context, dict) else {}
    kind = str(entry["kind"])
    verb = HINT_VERB if kind == "hint_request" else _VERBS + _TOLD.get(kind, "experienced")
    result: dict[str, Any] = {}
    if isinstance(context.get("correct"), bool):
        result["success"] = context["correct"]
    if entry.get("response") is not None:
        result["response"] = entry["response"]
    if duration := _duration(context.get("time_taken")):
        result["duration"] = duration
    statement: dict[str, Any] = {
        "id": _statement_id(str(entry["interaction_id"]), learner_id),
        "actor": {
            "objectType": "Agent",
            "account": {"homePage": home_page, "name": learner_id},
        },
        "verb": {"id": _iri(context.get("verb")) or verb},
        "object": {
            "id": _activity(context, str(entry["interaction_id"])),
            "definition": {"description": {"und": entry["content"]}},
        },
    }
    for name, at in (("timestamp", entry["occurred_at"]), ("stored", entry["received_at"])):
        if at is not None:  # older versions took times that are none
            statement[name] = at
    if kind == "assessment":
        statement["object"]["definition"]["type"] = _TEST
    if result:
        statement["result"] = result
    return statement


def _duration(seconds: Any) -> str:
    """Return a time in ISO 8601; empty for an invalid one."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return ""
    if not 0 <= seconds <= _DAY_S:
        return ""
    return f"PT{abs(seconds):.6f}".rstrip("0").rstrip(".") + "S"


def _iri(value: Any) -> str:
    """Return what a context says when it is an IRI, else nothing."""
    return value if isinstance(value, str) and _IRI.fullmatch(value) else ""


def _activity(context: Mapping[str, Any], interaction_id: str) -> str:
    item = context.get("item_id")
    item = item if isinstance(item, str) and item else interaction_id
    urn = f"urn:aivo:item:{urllib.parse.quote(item, errors='replace')}"
    return _iri(context.get("activity")) or _iri(item) or urn


def _statement_id(interaction_id: str, learner_id: str) -> str:
    """Return the id as a UUID: statements came with one, interactions of a page too."""
    try:
        return str(uuid.UUID(interaction_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:aivo:{learner_id}:{interaction_id}"))
