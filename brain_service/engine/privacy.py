"""A learner's rights to their data: export everything stored about them, or erase it.

Depends on the storage and the model's terms, on no database and no transport. Works on a store
directly, so that the commands `export` and `erase` need no running brain. They are safe beside one,
too: the engine reads the audit log every second and at every conflict, drops what was erased from
memory and tells watchers; it cannot write an erased learner back, because the store never gives a
learner's key twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from brain_service.engine.storage import AuditEntry, LogRow, Store
from brain_service.model import Assessment, codec, levels
from brain_service.model.state import legible
from service_runtime import validation
from service_runtime.json_lines import on_one_line

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE: Final = 200


class BadRequestError(ValueError):
    """A request about someone's data without a learner or a requester; the text says which."""


def check(learner_id: str, requested_by: str) -> None:
    """Refuse a request that the audit log could not attribute. Raises `BadRequestError`."""
    if not validation.is_id(learner_id):
        raise BadRequestError(f"learner_id must be {validation.ID_RULE}")
    if not validation.is_name(requested_by):
        raise BadRequestError(f"requested_by must name who asks: {validation.NAME_RULE}")


async def export(
    store: Store, learner_id: str, *, requested_by: str, at_ms: int
) -> AsyncIterator[bytes]:
    """Yield everything stored about a learner as JSON lines, some at a time; the request is
    recorded first.

    Line 1 is a `learner` (id, epoch, revision; revision 0 means nothing is stored). Where the
    beginning of the log has left, a `base` says up to which revision, and the model's state there.
    Then comes each `interaction` with the assessment after it, oldest first, up to the revision of
    line 1; then the model's present `state`; then each `notice` that systems outside have not taken
    yet; then the `audit` lines about this learner. Last comes the `end`, with how many lines came
    before it and the SHA-256 of their bytes: an export without it is not whole.
    What the model made of a row is null where it is damaged. Raises `StoreUnavailableError` and
    `BadRequestError`.
    """
    check(learner_id, requested_by)
    count, digest = 0, hashlib.sha256()
    async for lines in _everything(store, learner_id, requested_by, at_ms):
        count += lines.count(b"\n")
        digest.update(lines)
        yield lines
    yield _line("end", lines=count, sha256=digest.hexdigest())


async def _everything(
    store: Store, learner_id: str, requested_by: str, at_ms: int
) -> AsyncIterator[bytes]:
    newest = await store.record_export(learner_id, requested_by=requested_by, at_ms=at_ms)
    heads = await store.load([learner_id])
    yield _line(
        "learner",
        learner_id=learner_id,
        epoch=store.epoch,
        revision=newest,
        exported_at=_rfc3339(at_ms),
    )
    head = heads.get(learner_id)
    base = None if head is None else (await store.bases([head.learner_key])).get(head.learner_key)
    if base is not None and base.revision:
        yield _state("base", base.revision, base.state)
    revision = 0
    while revision < newest:
        rows = await store.history(
            learner_id, after_revision=revision, limit=min(_PAGE, newest - revision), newest=False
        )
        if not rows:  # erased while being read
            break
        revision = rows[-1].revision
        yield b"".join(map(_interaction, rows))
    if head is not None:
        yield _state("state", head.revision, head.state)
    notices = await store.notices_of(learner_id)
    yield b"".join(_line("notice", message=json.loads(body)) for body in notices)
    yield b"".join(map(audit_line, await store.audit(learner_id=learner_id)))


def _state(line_type: str, revision: int, data: bytes) -> bytes:
    state = _readable(codec.decode_state, data)
    return _line(
        line_type, revision=revision, state=None if state is None else plain(legible(state))
    )


async def erase(store: Store, learner_id: str, *, requested_by: str, at_ms: int) -> int:
    """Delete everything stored about a learner and return the number of interactions; the request
    is audited.

    What stays is the audit log, with the learner only as a keyed digest, and what all learners
    together taught the item bank. Erasing an unknown learner is recorded too and returns 0.
    """
    check(learner_id, requested_by)
    return await store.erase(learner_id, requested_by=requested_by, at_ms=at_ms)


async def export_command(
    store: Store, learner_id: str, requested_by: str, write: Callable[[bytes], object]
) -> None:
    """Run `python -m brain_service export LEARNER --requested-by WHO`: write the lines."""
    async for lines in export(
        store, learner_id, requested_by=requested_by, at_ms=int(time.time() * 1000)
    ):
        write(lines)


async def erase_command(store: Store, learner_id: str, requested_by: str) -> str:
    """Run `python -m brain_service erase LEARNER --requested-by WHO`; returns the sentence to
    print.
    """
    count = await erase(store, learner_id, requested_by=requested_by, at_ms=int(time.time() * 1000))
    return (
        f"Erased {count} interactions of {learner_id}; the audit log says that {requested_by}"
        " asked."
    )


def _interaction(row: LogRow) -> bytes:
    assessment = _readable(codec.decode_assessment, row.assessment)
    return _line(
        "interaction",
        revision=row.revision,
        interaction_id=row.interaction_id,
        kind=row.kind,
        content=row.content,
        response=row.response,
        context=_json_or_text(row.context_json),
        occurred_at=_rfc3339(row.occurred_at_ms),
        received_at=_rfc3339(row.received_at_ms),
        traceparent=row.traceparent,
        levels=assessment and dict(zip(levels.NAMES, assessment.estimates.levels, strict=True)),
        assessment=assessment and _assessment(assessment),
    )


def _readable(decode: Callable[[bytes], T], data: bytes) -> T | None:
    """Decode the model's values; None if unreadable, which must not stop the export of a learner's
    own data.
    """
    try:
        return decode(data)
    except ValueError:
        logger.warning("an export leaves out what cannot be read", exc_info=True)
        return None


def _assessment(assessment: Assessment) -> dict[str, Any]:
    estimates = assessment.estimates
    drivers = {
        name: dict(zip(drivers, values, strict=True))
        for name, drivers, values in zip(
            levels.NAMES, levels.DRIVER_NAMES, estimates.contributions, strict=True
        )
    }
    return {
        "predicted_correct": assessment.predicted_correct,
        "performance": plain(assessment.performance),
        "mastery": plain(assessment.mastery),
        "recommendations": [
            {"code": each.code, "sentence": each.sentence, "skill": each.skill}
            for each in assessment.recommendations
        ],
        "drivers": drivers,
        "evidence": dict(zip(levels.NAMES, estimates.evidence, strict=True)),
        "model_version": assessment.model_version,
    }


def audit_line(entry: AuditEntry) -> bytes:
    """Write a line of the audit log as JSON."""
    return _line(
        "audit",
        at=_rfc3339(entry.at_ms),
        action=entry.action,
        requested_by=entry.requested_by,
        interactions=entry.interactions,
    )


def _line(line_type: str, **fields: Any) -> bytes:
    text = on_one_line({"type": line_type} | fields, allow_nan=False)
    # Half a character, which older versions took, is written as JSON escapes it.
    return text.encode(errors="backslashreplace") + b"\n"


def _json_or_text(data: bytes) -> Any:
    """Show a context as JSON, or as text what older versions took and no reader could parse."""
    if not data:
        return {}
    try:
        validation.check_object(data, most=len(data))
        return json.loads(data)
    except ValueError:
        return data.decode(errors="backslashreplace")


def plain(value: Any) -> Any:
    """Spell the model's values with the names of their fields."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _rfc3339(at_ms: int) -> str | None:
    if not validation.is_moment(at_ms):  # older versions took any number
        return None
    return (
        datetime.fromtimestamp(at_ms / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
