"""Databases that older builds wrote, and what those builds read of them.

`tests/golden/databases/brain-vb-ssm-*.sqlite3.gz` each have four learners (a fifth was erased), all
kinds of interactions, and a bank; the JSON beside it has their states and last outcomes. Those from
0.2 on were written by `write_database`.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from brain_service.store.entries import unpack

DATABASES: Final = Path(__file__).parents[2] / "golden" / "databases"
LEARNERS: Final = ("anna", "ben", "cleo", "emil")


def name_of(version: str) -> str:
    """Return what the files of a version are called, without their endings."""
    return f"brain-{version.replace('/', '-')}"


VERSIONS: Final = tuple(
    sorted(path.stem.removeprefix("brain-") for path in DATABASES.glob("*.json"))
)
EXPECTED: Final[dict[str, dict[str, Any]]] = {
    version: json.loads((DATABASES / f"{name_of(version)}.json").read_text(encoding="utf-8"))
    for version in VERSIONS
}
"""What each build read, by its version."""


def unpacked(folder: Path, version: str) -> Path:
    """Put a database into a folder, as a brain of that build left it when it stopped."""
    path = folder / "brain.sqlite3"
    packed = DATABASES / f"{name_of(version)}.sqlite3.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def stored(path: Path, column: str = "outcome") -> list[bytes]:
    """Return the outcomes of all rows of the log of that build, or another column of them."""
    connection = sqlite3.connect(path)
    try:
        names = [row[1] for row in connection.execute("PRAGMA table_info(log)")]
        rows = connection.execute("SELECT * FROM log WHERE learner_key IS NOT NULL")
        found = [dict(zip(names, row, strict=True)) for row in rows]
    finally:
        connection.close()
    if column in names:
        return [row[column] for row in found]
    return [
        unpack(row["entry"], row["revision"], row["interaction_key"]).assessment for row in found
    ]
