"""The database of people, relations, sessions and changes. It knows no passwords, no tokens and no
transport.
"""

from __future__ import annotations

from auth_service.store.change_log import ChangeBatch, ChangeLog, Snapshot
from auth_service.store.database import Database, StoreUnavailable, open_database
from auth_service.store.people import Credentials, People
from auth_service.store.session_table import RefreshReused, Rotation, SessionEnded, SessionTable

__all__ = [
    "ChangeBatch",
    "ChangeLog",
    "Credentials",
    "Database",
    "People",
    "RefreshReused",
    "Rotation",
    "SessionEnded",
    "SessionTable",
    "Snapshot",
    "StoreUnavailable",
    "open_database",
]
