"""The durable log in a SQL database: one schema for SQLite and PostgreSQL, written in arrival
order.

Knows rows and bytes; what they mean is known by `codec` and `engine`. Only it and the
migrations import SQLAlchemy. Its shape follows what was measured: an
append-only table, an integer per learner, two unique indexes, one transaction per group, the hot
statement compiled once and handed to the driver's executemany.
"""

from brain_service.store.sql_store import SqlStore
from brain_service.store.tables import SCHEMA

__all__ = ["SCHEMA", "SqlStore"]
