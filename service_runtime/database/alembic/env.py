"""Runs steps on the connection that `schema` hands over, inside its transaction; not for Alembic's
own commands.
"""

from __future__ import annotations

from alembic import context

# SQLite changes a table by copying it; batch mode lets one step serve both databases.
context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
