"""Errors of databases, each with one sentence for operators."""

from __future__ import annotations


class StoreError(Exception):
    """The base of what a store raises. The text has no password and no value of a row."""


class StoreUnavailableError(StoreError):
    """The store did not do it and nothing changed: locked, full, unreachable, damaged. A later try
    may succeed.

    If a connection broke during a commit, its outcome is unknown: a retry must then be harmless.
    """


class ConflictError(StoreUnavailableError):
    """Another change came in between, or something written is there already. Nothing changed."""


class SchemaError(StoreError):
    """The database was made by another version of this program, or is not ours."""
