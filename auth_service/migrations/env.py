"""Runs migrations on the connection and in the transaction that `Database.migrate` passes."""

from __future__ import annotations

from alembic import context

from auth_service.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters tables by copying them.
    render_as_batch=True,
)
context.run_migrations()
