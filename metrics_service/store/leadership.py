"""Leader election: of several services on one PostgreSQL one works, the others stand by.

Totals are sums of edges' reports; two services that both wrote them would count twice. The lead is
tied to a database connection, so a service that dies gives it up at once. A SQLite file needs no
leader: it belongs to one machine and one service.
"""

from __future__ import annotations

import sqlalchemy as sa

from service_runtime.database.connections import Database
from service_runtime.database.faults import translated

_KEY = 0x6169766F6D  # "aivom": any number that nobody else uses as a lock in this database


class Leadership:
    """The right to write; it blocks and belongs into threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        """Take the lead or keep it; False while another service has it.

        Raises StoreUnavailableError when the server cannot be asked; then nobody else can take it
        either, except from the moment on when it is back.
        """
        if self.database.engine.dialect.name == "sqlite":
            return True
        with translated():
            if self._connection is not None:
                try:
                    self._connection.execute(sa.select(1))
                except sa.exc.DBAPIError:
                    self.give_up()
                else:
                    return True
            connection = self.database.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
            if connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_KEY))):
                self._connection = connection
                return True
            connection.close()
            return False

    def give_up(self) -> None:
        """Let another service lead; harmless without it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # Closed for good: returned to the pool it would keep the lock.
            connection.invalidate()
            connection.close()
