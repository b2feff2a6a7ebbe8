"""A database that a build of `vb-ssm/0.1` wrote, and what that build read of it.

`tests/golden/databases/brain-vb-ssm-0.1.sqlite3.gz` has four learners (a fifth was erased), 94
interactions of all kinds, and a bank; the JSON beside it has their states and last outcomes.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any, Final

_DATABASES: Final = Path(__file__).parents[2] / "golden" / "databases"
LEARNERS: Final = ("anna", "ben", "cleo", "emil")
EXPECTED: Final[dict[str, Any]] = json.loads(
    (_DATABASES / "brain-vb-ssm-0.1.json").read_text(encoding="utf-8")
)


def unpacked(folder: Path) -> Path:
    """Put the database into a folder, as a brain of that build left it when it stopped."""
    path = folder / "brain.sqlite3"
    path.write_bytes(gzip.decompress((_DATABASES / "brain-vb-ssm-0.1.sqlite3.gz").read_bytes()))
    return path


def stored(path: Path) -> dict[str, list[bytes]]:
    """Return the states and outcomes of all rows of the log of that build, past all code of
    ours.
    """
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT state, outcome FROM log WHERE learner_key IS NOT NULL")
        states, outcomes = zip(*rows, strict=True)
        return {"states": list(states), "outcomes": list(outcomes)}
    finally:
        connection.close()
