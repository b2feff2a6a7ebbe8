"""What a database refuses, in one sentence each that may be shown to an operator."""

from __future__ import annotations


class StoreError(Exception):
    """The base of what a store raises. The text has no password and no value of a row."""


class StoreUnavailableError(StoreError):
    """The store did not do it and nothing changed: locked, full, unreachable, damaged. A later try
    may succeed.

    Where a connection broke while a transaction was being committed, nobody can tell whether it
    was: then trying again must be harmless.
    """


class ConflictError(StoreUnavailableError):
    """Another change came in between, or something written is there already. Nothing changed."""


class SchemaError(StoreError):
    """The database was made by another version of this program, or is none of ours."""
