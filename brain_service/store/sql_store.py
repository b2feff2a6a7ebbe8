"""The store: what the engine asks for, each in a transaction."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from brain_service.engine.notices import Notice
from brain_service.engine.storage import (
    Aged,
    AuditEntry,
    BankTotals,
    Base,
    Declared,
    Head,
    LogRow,
    Rebuilt,
    Row,
    Shortened,
    StateStamp,
    StoreUnavailableError,
)
from brain_service.model.increments import BankIncrements
from brain_service.store import audit_log, bank_rows, heads, learners, outbox
from brain_service.store.appending import append_to_postgres, append_to_sqlite, link
from brain_service.store.bank_rows import BankRows, too_many, too_old
from brain_service.store.chain import (
    chain_end,
    chain_end_of,
    log_row,
    page,
    replace_head,
)
from brain_service.store.entries import uuid_bytes
from brain_service.store.heads import Heads
from brain_service.store.identity import identity
from brain_service.store.outbox import SqlOutbox
from brain_service.store.shortening import aged, bases, shorten
from brain_service.store.statements import (
    FORGOTTEN,
    HEADS,
    KEYS,
    REVISIONS,
    STAMPS,
    rows_in,
    rows_of,
)
from brain_service.store.tables import SCHEMA, bank_items, bank_norms
from brain_service.store.transactions import READERS, Transactions
from service_runtime.database.connections import (
    Database,
    at_once,
    directly,
    looking,
    postgres_connection,
    sqlite_connection,
    truncate_wal,
)
from service_runtime.database.faults import translated
from service_runtime.database.schema import prepare

# Pages of 8 KB: a learner's first interaction since the brain started writes one of its own, and
# the heads of active learners are in few of them. SQLite's own cache of 2 MB is enough for
# time-ordered ids, not for others, which land all over their index.
_PRAGMAS: Final = ("page_size=8192", "cache_size=-32768", "secure_delete=ON")


class SqlStore:
    """Implements `storage.Store` on a database. Make one with `open`.

    Two processes may open the same SQLite file: overwriting the other's data is a `ConflictError`.
    """

    def __init__(
        self,
        database: Database,
        *,
        epoch: str,
        salt: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.epoch = epoch
        self.database = database
        self._salt = salt
        self._bank = BankRows(database.engine.dialect)
        self._heads = Heads()
        self._recorders = audit_log.Recorders(clock)
        self._transactions = Transactions(database)
        self._read, self._look = self._transactions.read, self._transactions.look
        self._write = self._transactions.write
        self.written, self.pace = self._transactions.connection, self._transactions.pace
        self.outbox = SqlOutbox(self._read, self._write)

    @classmethod
    async def open(
        cls, database: str | Path, *, clock: Callable[[], float] = time.time
    ) -> SqlStore:
        """Open a database by its address and bring its schema up to date.

        `clock` tells the time in Unix seconds.

        A new SQLite file is readable by its owner only. Raises `SchemaError` for a database of a
        newer version or of something else, `StoreUnavailableError` when it cannot be opened.
        """
        return await asyncio.to_thread(cls._open, database, clock)

    @classmethod
    def _open(cls, database: str | Path, clock: Callable[[], float]) -> SqlStore:
        opened = Database.open(database, connections=1 + READERS, pragmas=_PRAGMAS)
        try:
            prepare(opened, SCHEMA)
            with opened.write() as connection:
                known = identity(connection)
            with translated():
                salt = bytes.fromhex(known["salt"])
                return cls(opened, epoch=known["epoch"], salt=salt, clock=clock)
        except BaseException:
            opened.close()
            raise

    async def close(self) -> None:
        """Finish what runs and close every connection; on SQLite this empties the write-ahead file.
        Harmless twice.
        """
        await asyncio.to_thread(self._transactions.close)

    async def load(self, learner_ids: Sequence[str], *, to_write: bool = False) -> dict[str, Head]:
        """Return where these learners stand, in one read."""
        by_digest = {self.digest(learner_id): learner_id for learner_id in learner_ids}
        if to_write:
            return await self._transactions.on_writer(partial(self._load_for_writer, by_digest))

        def work(connection: sa.Connection) -> dict[str, Head]:
            return _heads_of(rows_in(connection, HEADS, by_digest), by_digest)

        return await self._look(work)

    def _load_for_writer(self, by_digest: Mapping[bytes, str]) -> dict[str, Head]:
        """Read on the connection that writes, without SQLAlchemy. On SQLite that has the pages at
        hand when they are committed, while a reader's cache is empty after each commit; a server
        has a statement ready there.
        """
        if self.database.is_sqlite:
            with looking(self.written) as driver:
                return _heads_of(heads.load(driver, by_digest), by_digest)
        with at_once(self.written) as server:
            return _heads_of(heads.load_from_postgres(server, list(by_digest)), by_digest)

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the newest revisions, in one read that touches indexes only."""
        by_digest = {self.digest(learner_id): learner_id for learner_id in learner_ids}

        def work(connection: sa.Connection) -> dict[str, int]:
            return {
                by_digest[digest]: revision
                for digest, revision in rows_in(connection, REVISIONS, by_digest)
            }

        return await self._look(work)

    async def find(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], LogRow]:
        """Return the rows of these (learner id, interaction id), in one transaction."""
        digests = {self.digest(learner_id): learner_id for learner_id, _ in pairs}

        def work(connection: sa.Connection) -> dict[tuple[str, str], LogRow]:
            keys = {digests[digest]: key for digest, key in rows_in(connection, KEYS, digests)}
            wanted = {
                (self.interaction_key(pair[1]), keys[pair[0]]): pair
                for pair in pairs
                if pair[0] in keys
            }
            found = {}
            for key, owner, revision, entry in rows_of(connection, list(wanted)):
                if pair := wanted.get((key, owner)):
                    found[pair] = log_row(key, revision, entry)
            return found

        return await self._read(work)

    async def history(
        self, learner_id: str, *, after_revision: int, limit: int, newest: bool
    ) -> list[LogRow]:
        """Return a page of one learner's log, oldest first."""
        digest = self.digest(learner_id)
        return await self._read(
            lambda connection: page(
                connection,
                chain_end(connection, digest),
                after=after_revision,
                limit=limit,
                newest=newest,
            )
        )

    async def interactions(
        self, learner_key: int, *, after_revision: int, limit: int
    ) -> list[LogRow]:
        """Return a page of the log of the learner with this key, oldest first."""
        return await self._read(
            lambda connection: page(
                connection, chain_end_of(connection, learner_key), after=after_revision, limit=limit
            )
        )

    async def stamps(self, *, after: int, limit: int, stamp: int) -> list[StateStamp]:
        """Return learners that have interactions, in the order of their keys, those after one."""
        bounds = {"after": after, "limit": limit, "stamp": stamp}
        return await self._read(
            lambda connection: [StateStamp(*row) for row in connection.execute(STAMPS, bounds)]
        )

    async def rebuild(self, learners: Sequence[Rebuilt]) -> list[int]:
        """Replace the newest states, in one transaction."""

        def work(connection: sa.Connection) -> list[int]:
            return [
                each.learner_key
                for each in sorted(learners)
                if replace_head(connection, each, self._heads)
            ]

        return await self._write(work)

    async def aged(self, *, before_ms: int, limit: int) -> list[Aged]:
        """Return the oldest rows of all learners, up to the first received at a time or later."""
        return await self._read(partial(aged, before_ms=before_ms, limit=limit))

    async def bases(self, learner_keys: Sequence[int]) -> dict[int, Base]:
        """Return where the logs of these learners begin."""
        return await self._read(partial(bases, learner_keys=learner_keys))

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions up to which the logs of these learners were deleted."""
        by_digest = {self.digest(learner_id): learner_id for learner_id in learner_ids}
        return await self._look(
            lambda connection: {
                by_digest[digest]: revision
                for digest, revision in rows_in(connection, FORGOTTEN, by_digest)
            }
        )

    async def shorten(self, learners: Sequence[Shortened]) -> int:
        """Delete rows from the log and store states in their place, in one transaction."""
        return await self._write(partial(shorten, learners=learners))

    async def commit(
        self,
        rows: Sequence[Row],
        increments: BankIncrements,
        notices: Sequence[Notice] = (),
        recorded: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Write rows, increments, notices and who recorded in one transaction; durable (fsync) on
        return.
        """

        def work(connection: sa.Connection) -> dict[str, int]:
            new = {row.learner_id for row in rows if not row.learner_key}
            keys = learners.add(connection, {self.digest(one): one for one in new})
            if rows:
                linked = link(rows, keys, self.digest)
                if self.database.is_sqlite:
                    append_to_sqlite(sqlite_connection(connection), *linked, self._heads)
                else:
                    append_to_postgres(postgres_connection(connection), *linked)
            self._bank.add(connection, increments)
            if notices:
                known = {row.learner_id: row.learner_key for row in rows}
                outbox.insert(connection, notices, known | keys)
            if recorded:
                self._recorders.add(connection, recorded)
            return keys

        def append() -> dict[str, int]:
            self._append(rows)
            return {}

        if not (notices or recorded or increments.items or increments.norms):
            if not rows:
                return {}
            if all([row.learner_key for row in rows]):
                return await self._transactions.on_writer(append)
        return await self._write(work)

    def commit_at_once(self, row: Row) -> bool:
        """Write one row on the calling thread, if commits were quick lately and nobody else
        writes.
        """
        return self._transactions.here(lambda: self._append((row,)))

    def _append(self, rows: Sequence[Row]) -> None:
        """Append rows of known learners without SQLAlchemy, which costs more than SQLite in a lone
        commit.
        """
        linked = link(rows, {}, self.digest)
        if not self.database.is_sqlite:
            with at_once(self.written) as server:
                append_to_postgres(server, *linked)
            return
        began = time.perf_counter()
        with directly(self.written) as driver:
            append_to_sqlite(driver, *linked, self._heads)
        self.pace.took(time.perf_counter() - began)

    async def bank(self, items: Sequence[str], subjects: Sequence[str]) -> BankTotals:
        """Return the totals of these items and subjects, in one read."""
        return await self._look(lambda connection: bank_rows.totals(connection, items, subjects))

    async def prune_bank(self, *, before_day: int, items: int, subjects: int) -> int:
        """Delete rows of the bank that are old or too many, in transactions of their own."""
        removed = 0
        for table, most in ((bank_items, items), (bank_norms, subjects)):
            for find in (partial(too_old, before_day=before_day), partial(too_many, most=most)):
                while names := await self._read(partial(find, table=table)):
                    await self._write(partial(bank_rows.remove, table=table, names=names))
                    removed += len(names)
        return removed

    async def declare(self, kind: str, names: Collection[str]) -> tuple[int, int]:
        """Replace the declared names of a kind."""
        return await self._write(partial(bank_rows.declare, kind=kind, names=names))

    async def declared(self, known: str) -> Declared | None:
        """Return what is declared; None while its version is the known one."""
        return await self._read(partial(bank_rows.declared, known=known))

    async def erase(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Delete everything about a learner, also from the files' bytes, and return the number of
        interactions.
        """
        digest = self.digest(learner_id)

        count = await self._write(
            partial(learners.erase, digest=digest, requested_by=requested_by, at_ms=at_ms)
        )
        if self.database.is_sqlite:
            await self._transactions.on_writer(self._truncate_wal)
        return count

    def _truncate_wal(self) -> None:
        if not truncate_wal(self.written):
            raise StoreUnavailableError(
                "the learner is erased, but another process keeps reading the database, so that old"
                " pages remain in its write-ahead file; erase the learner again to finish"
            )

    async def record_export(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Write to the audit log that someone asked for everything about a learner; returns the
        newest revision.
        """
        return await self._write(
            partial(
                learners.note_export,
                digest=self.digest(learner_id),
                requested_by=requested_by,
                at_ms=at_ms,
            )
        )

    async def notices_of(self, learner_id: str) -> list[bytes]:
        """Return the bodies of a learner's undelivered notices."""
        digest = self.digest(learner_id)
        return await self._read(lambda connection: outbox.bodies(connection, digest))

    async def record_rebuild(self, action: str, *, at_ms: int, learners: int) -> None:
        """Write to the audit log that rebuilding begins or has ended."""
        await self._write(
            partial(audit_log.note_rebuild, action=action, at_ms=at_ms, learners=learners)
        )

    async def audit(self, *, learner_id: str | None = None, after: int = 0) -> list[AuditEntry]:
        """Return lines of the audit log, oldest first."""
        digest = None if learner_id is None else self.digest(learner_id)
        return await self._read(partial(audit_log.lines, digest=digest, after=after))

    async def newest_audit(self, limit: int) -> list[AuditEntry]:
        """Return the last lines of the audit log, of all kinds, oldest first."""
        return await self._read(partial(audit_log.newest, limit=limit))

    def digest(self, learner_id: str) -> bytes:
        """Return the keyed digest by which a learner is found."""
        return hashlib.blake2b(learner_id.encode(), key=self._salt, digest_size=16).digest()

    def interaction_key(self, interaction_id: str) -> bytes:
        """Return the 16 bytes under which an id is found: a UUID's own, else a keyed digest."""
        return uuid_bytes(interaction_id) or self.digest(interaction_id)


def _heads_of(
    rows: Iterable[tuple[bytes, int, int, bytes]], by_digest: Mapping[bytes, str]
) -> dict[str, Head]:
    return {
        by_digest[digest]: Head(key, revision, *heads.unpack(head))
        for digest, key, revision, head in rows
    }
