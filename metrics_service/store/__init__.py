"""Keeps counters, message records and their sums per minute; it blocks, knows no event loop and no
transport.
"""

from __future__ import annotations

from metrics_service.store.sql_store import Store, Tally
from metrics_service.store.tables import SCHEMA
from service_runtime.database.errors import StoreError, StoreUnavailableError

__all__ = ["SCHEMA", "Store", "StoreError", "StoreUnavailableError", "Tally"]
