"""Converts the JSON lines of a brain's export for other systems."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from edge import xapi
from service_runtime.json_lines import on_one_line

KINDS: Final = {
    "jsonl": ("jsonl", "application/x-ndjson"),
    "xapi": ("xapi.jsonl", "application/x-ndjson"),
    "csv": ("csv", "text/csv; charset=utf-8"),
}
"""File extension and media type."""

_COLUMNS: Final = ("revision", "interaction_id", "kind", "content", "response", "correct",
                   "time_taken", "occurred_at", "received_at")  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin formulas; the last four are full-width forms of the first four."""


async def as_statements(
    parts: AsyncIterator[bytes], learner_id: str, home_page: str
) -> AsyncIterator[bytes]:
    """Yield the interactions as xAPI statements, one a line."""

    def statement(entry: dict[str, Any]) -> str:
        return on_one_line(xapi.told(entry, learner_id, home_page)) + "\n"

    async for part in _written(parts, statement):
        yield part


async def as_csv(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the interactions as CSV (RFC 4180) with a first line of names."""
    yield _row(_COLUMNS).encode()

    def row(entry: dict[str, Any]) -> str:
        context = entry.get("context")
        values = {**(context if isinstance(context, dict) else {}), **entry}
        return _row(tuple(values.get(name) for name in _COLUMNS))

    async for part in _written(parts, row):
        yield part


def _row(values: tuple[Any, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(value) for value in values])
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """Keep a spreadsheet from evaluating what a learner wrote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


async def _written(
    parts: AsyncIterator[bytes], write: Callable[[dict[str, Any]], str]
) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        entries = [json.loads(line) for line in lines if line]
        found = "".join(write(one) for one in entries if one.get("type") == "interaction")
        if found:
            yield found.encode(errors="replace")
