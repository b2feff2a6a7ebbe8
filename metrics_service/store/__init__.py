"""Keeps counters, message records and their sums per minute. It blocks: call it from threads."""

from __future__ import annotations

from metrics_service.store.sql_store import Store, Tally
from metrics_service.store.tables import SCHEMA
from service_runtime.database.errors import StoreError, StoreUnavailableError

__all__ = ["SCHEMA", "Store", "StoreError", "StoreUnavailableError", "Tally"]
