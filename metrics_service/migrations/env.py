"""Runs migrations on the connection and in the transaction that `Store.open` passes."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite alters tables by copying them.
    render_as_batch=True,
)
context.run_migrations()
