"""What a brain's SQLite file has in its log, read past the store."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from brain_service.engine.storage import LogRow
from brain_service.store.entries import unpack


def read_log(path: Path) -> list[tuple[int, LogRow]]:
    """Return (learner key, row) of all rows in the order of their places, without shells."""
    address = f"file:{path}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as file:
        query = (
            "SELECT learner_key, revision, interaction_key, entry FROM log"
            " WHERE learner_key IS NOT NULL ORDER BY seq"
        )
        return [
            (owner, unpack(entry, revision, key))
            for owner, revision, key, entry in file.execute(query)
        ]
