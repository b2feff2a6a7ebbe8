"""The database of people, relations, sessions and changes."""

from __future__ import annotations

from auth_service.store.change_log import ChangeBatch, ChangeLog, DirectorySnapshot
from auth_service.store.database import Database, open_database
from auth_service.store.identities import Identities, Told
from auth_service.store.people import Credentials, People
from auth_service.store.rosters import Rosters
from auth_service.store.session_table import (
    RefreshReusedError,
    Rotation,
    SessionEndedError,
    SessionTable,
)
from auth_service.store.tables import SCHEMA
from service_runtime.database.errors import StoreError, StoreUnavailableError

__all__ = [
    "SCHEMA",
    "ChangeBatch",
    "ChangeLog",
    "Credentials",
    "Database",
    "DirectorySnapshot",
    "Identities",
    "People",
    "RefreshReusedError",
    "Rosters",
    "Rotation",
    "SessionEndedError",
    "SessionTable",
    "StoreError",
    "StoreUnavailableError",
    "Told",
    "open_database",
]
