"""Tables of results, and the parts of documents that a program writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * max(3, width) for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def replace_part(path: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two lines of a document. Raises ValueError where it lacks one."""
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} needs the lines {begin!r} and {end!r}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
