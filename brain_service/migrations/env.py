"""Runs the steps on the connection that `store` hands over, inside its transaction; not for
Alembic's own commands.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    # SQLite changes a table by copying it; batch mode lets one step serve both databases.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
