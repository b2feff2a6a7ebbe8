"""Keeps counters, message records and their sums per minute; it blocks, knows no event loop and no
transport.
"""

from __future__ import annotations

from metrics_service.store.database import StoreUnavailable
from metrics_service.store.sql_store import Store, Tally

__all__ = ["Store", "StoreUnavailable", "Tally"]
