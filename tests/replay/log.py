"""Reads logs of real interactions in both published shapes.

A log of frames has one JSON object a line, in the shape of an interaction with `ts` (seconds since
1970). A log of first attempts is a table with the columns user_id, item_id, timestamp (seconds),
correct and skill_id. Both may be gzipped.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

_COLUMNS = ["user_id", "item_id", "timestamp", "correct", "skill_id"]


class BadLogError(Exception):
    """The file is no log that can be replayed; the message names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One interaction of a log."""

    line: int
    """Place in the file, from 0, not counting a header."""
    at_s: float
    """When it happened, seconds since 1970."""
    learner_id: str
    interaction_id: str
    """Follows from the file's content and the line, so that a second replay is all duplicates."""
    data: dict[str, Any]
    """`data` of a `virtual_brain_interact` frame."""


def read_log(path: Path, *, limit: int | None = None, run: str = "") -> list[Entry]:
    """Return the first `limit` interactions in file order; another `run` gives them other ids.
    Raises BadLogError.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadLogError(f"cannot read {path}: {error}") from error
    mark = f"replay-{hashlib.sha256(content).hexdigest()[:12]}{'-' if run else ''}{run}"
    lines = io.StringIO(content.decode("utf-8", "replace"))
    first = lines.readline()
    rows = (
        _table(lines)
        if first.rstrip("\r\n").split("\t") == _COLUMNS
        else _frames(_again(first, lines))
    )
    entries: list[Entry] = []
    for line, (at_s, data) in enumerate(rows):
        if limit is not None and line >= limit:
            break
        interaction_id = f"{mark}-{line:07}"
        told = data | {"interaction_id": interaction_id, "occurred_at": rfc3339(at_s)}
        entries.append(
            Entry(
                line=line,
                at_s=at_s,
                learner_id=data["learner_id"],
                interaction_id=interaction_id,
                data=told,
            )
        )
    if not entries:
        raise BadLogError(f"{path} has no interactions")
    return entries


def rfc3339(at_s: float) -> str:
    """Return a time as the protocol writes it: UTC with milliseconds."""
    text = datetime.fromtimestamp(round(at_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _again(first: str, rest: TextIO) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _frames(lines: Iterator[str]) -> Iterator[tuple[float, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            at_s = float(row.pop("ts"))
            yield (
                at_s,
                {key: value for key, value in row.items() if value is not None}
                | {
                    "learner_id": str(row["learner_id"]),
                    "type": str(row["type"]),
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadLogError(
                f"line {number} is neither a frame nor a header of first attempts: {error!r}"
            ) from error


def _table(lines: TextIO) -> Iterator[tuple[float, dict[str, Any]]]:
    for number, line in enumerate(lines, 2):
        try:
            user, item, at, correct, skill = line.rstrip("\r\n").split("\t")
            if correct not in ("0", "1"):
                raise ValueError(f"correct is {correct}")
            context: dict[str, Any] = {"correct": correct == "1", "item_id": item}
            if skill:
                context["skill"] = skill
            yield (
                float(at),
                {
                    "learner_id": f"assist17-{user}",
                    "type": "question_response",
                    "content": f"item {item}",
                    "context": context,
                },
            )
        except ValueError as error:
            raise BadLogError(f"line {number}: {error}") from error
