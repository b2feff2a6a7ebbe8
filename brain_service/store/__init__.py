"""The durable log in a SQL database: one schema for SQLite and PostgreSQL, written in arrival
order.

Rows and bytes; `codec` and `engine` say what they mean. Shaped by measurements: an append-only
table, an integer per learner, two unique indexes, one transaction per group, the hot statement
compiled once for the driver's executemany.
"""

from brain_service.store.sql_store import SqlStore
from brain_service.store.tables import SCHEMA

__all__ = ["SCHEMA", "SqlStore"]
