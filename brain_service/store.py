"""The durable log in a SQL database: one schema for SQLite and PostgreSQL, written in arrival order.

Knows rows and bytes; what they mean is known by `codec` and `engine`. The only room that imports SQLAlchemy and Alembic
(besides the migrations it runs). Its shape follows what was measured: an append-only table, an integer per learner,
two unique indexes, one transaction per batch, the hot statement compiled once and handed to the driver's executemany.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from brain_service.bank import BankIncrements
from brain_service.journal import (
    AuditEntry,
    BankTotals,
    ConflictError,
    Found,
    Head,
    LogRow,
    Row,
    SchemaError,
    StoreUnavailableError,
)
from brain_service.params import NORM_WINDOW

T = TypeVar("T")

metadata = sa.MetaData()

# SQLite numbers rows by itself only in a column of type INTEGER.
_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# A learner's id is kept as a keyed digest only: erasing then leaves no name behind in pages that an index once split,
# and the audit log can prove an erasure without naming the person.
learners = sa.Table(
    "learners",
    metadata,
    sa.Column("learner_key", _serial, primary_key=True, autoincrement=True),
    sa.Column("learner_digest", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("learner_digest", name="learners_digest"),
    # Keys are never used twice: a brain with a stale cache must not write into another learner's log.
    sqlite_autoincrement=True,
)

# `learner_key` and `interaction_key` are NULL only in the empty shells that erasing leaves on SQLite.
log = sa.Table(
    "log",
    metadata,
    sa.Column("seq", _serial, primary_key=True, autoincrement=True),
    sa.Column("learner_key", sa.BigInteger, sa.ForeignKey("learners.learner_key", name="log_learner"), nullable=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("interaction_key", sa.LargeBinary, nullable=True),
    sa.Column("interaction_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("response", sa.Text, nullable=True),
    sa.Column("context_json", sa.LargeBinary, nullable=False),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    sa.Column("received_at_ms", sa.BigInteger, nullable=False),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("outcome", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("learner_key", "revision", name="log_learner_revision"),
    # The id first, so that time-ordered ids append to the index instead of landing all over it.
    sa.UniqueConstraint("interaction_key", "learner_key", name="log_interaction_learner"),
)

bank_items = sa.Table(
    "bank_items",
    metadata,
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("easiness", sa.Double, nullable=False),
    sa.Column("answers", sa.Double, nullable=False),
)

bank_norms = sa.Table(
    "bank_norms",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("mean", sa.Double, nullable=False),
    sa.Column("observations", sa.Double, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("audit_id", _serial, primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("learner_digest", sa.LargeBinary, nullable=False),
    sa.Column("learner_key", sa.BigInteger, nullable=False),
    sa.Column("interactions", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

BUSY_TIMEOUT_S: Final = 5.0
"""How long a statement waits for another process that writes the same SQLite file."""

_LOG_COLUMNS: Final = [column.name for column in log.columns if column.name != "seq"]
# Well under the number of variables that either database takes in one statement.
_IN_CHUNK: Final = 500
_FIND_CHUNK: Final = 50

_SQLITE_REASONS: Final = {
    "SQLITE_BUSY": "the database is locked by another process; try again",
    "SQLITE_LOCKED": "the database is locked by another process; try again",
    "SQLITE_FULL": "the disk is full; make room, nothing was written",
    "SQLITE_IOERR": "the disk failed to read or write the database",
    "SQLITE_CORRUPT": "the database file is damaged; stop the brain and restore a backup",
    "SQLITE_NOTADB": "the database file is damaged or is no SQLite database; stop the brain and restore a backup",
    "SQLITE_READONLY": "the database file may not be written; check its owner and mode",
    "SQLITE_CANTOPEN": "the database file cannot be opened; check the path, its owner and mode",
}


class SqlStore:
    """Implements `journal.Store` on a database. Make one with `open`; blocking work runs in threads of its own.

    Writes go through one thread, one at a time; reads through a few others, so that they never wait for a commit.
    Two processes may open the same SQLite file: what one would overwrite of the other's is a `ConflictError`.
    """

    def __init__(self, engine: sa.Engine, *, epoch: str, salt: bytes) -> None:
        self.epoch = epoch
        self._engine = engine
        self._salt = salt
        self._sqlite = engine.dialect.name == "sqlite"
        self._insert_log = _positional_insert(engine.dialect)
        self._merge_item, self._merge_norm = _bank_merges(engine.dialect)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")

    @classmethod
    async def open(cls, database: str | Path) -> SqlStore:
        """Open a database, given as a path of a SQLite file or as a SQLAlchemy URL, and bring its schema up to date.

        A new SQLite file is readable by its owner only. Raises `SchemaError` for a database of a newer version or of
        something else, `StoreUnavailableError` when it cannot be opened.
        """
        return await asyncio.to_thread(cls._open, database)

    @classmethod
    def _open(cls, database: str | Path) -> SqlStore:
        engine = _create_engine(database)
        try:
            with _clear_errors(), _begin(engine, write=True) as connection:
                _migrate(connection)
                identity = _identity(connection)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, epoch=identity["epoch"], salt=bytes.fromhex(identity["salt"]))

    async def close(self) -> None:
        """Finish what runs and close every connection; on SQLite this empties the write-ahead file. Harmless twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._engine.dispose()

    async def load(self, learner_ids: Sequence[str]) -> dict[str, Head]:
        """Return where these learners stand, in one read."""
        by_digest = {self._digest(learner_id): learner_id for learner_id in learner_ids}

        def work(connection: sa.Connection) -> dict[str, Head]:
            return {
                by_digest[digest]: Head(key, revision, occurred_at_ms, outcome, state)
                for digest, key, revision, occurred_at_ms, outcome, state in _rows_in(connection, _HEADS, by_digest)
            }

        return await self._read(work)

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        """Return the newest revisions, in one read that touches indexes only."""
        by_digest = {self._digest(learner_id): learner_id for learner_id in learner_ids}

        def work(connection: sa.Connection) -> dict[str, int]:
            return {by_digest[digest]: revision for digest, revision in _rows_in(connection, _REVISIONS, by_digest)}

        return await self._read(work)

    async def find(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Found]:
        """Return the rows of these (learner id, interaction id), in one transaction."""
        digests = {self._digest(learner_id): learner_id for learner_id, _ in pairs}

        def work(connection: sa.Connection) -> dict[tuple[str, str], Found]:
            keys = {digests[digest]: key for digest, key in _rows_in(connection, _KEYS, digests)}
            wanted = {(self._interaction_key(pair[1]), keys[pair[0]]): pair for pair in pairs if pair[0] in keys}
            found = {}
            for *place, revision, occurred_at_ms, outcome in _rows_of(connection, list(wanted)):
                if pair := wanted.get((place[0], place[1])):
                    found[pair] = Found(revision, occurred_at_ms, outcome)
            return found

        return await self._read(work)

    async def history(self, learner_id: str, *, after_revision: int, limit: int, newest: bool) -> list[LogRow]:
        """Return a page of one learner's log, oldest first."""
        columns = [log.c[name] for name in LogRow._fields]
        query = (
            sa.select(*columns).join_from(learners, log).where(learners.c.learner_digest == self._digest(learner_id))
        )
        if newest:
            query = query.order_by(log.c.revision.desc())
        else:
            query = query.where(log.c.revision > after_revision).order_by(log.c.revision)

        def work(connection: sa.Connection) -> list[LogRow]:
            return [LogRow(*row) for row in connection.execute(query.limit(limit))]

        rows = await self._read(work)
        return rows[::-1] if newest else rows

    async def commit(self, rows: Sequence[Row], increments: BankIncrements) -> dict[str, int]:
        """Write rows and increments in one transaction; durable (fsync) on return."""

        def work(connection: sa.Connection) -> dict[str, int]:
            keys = self._insert_learners(connection, {row.learner_id for row in rows if not row.learner_key})
            if rows:
                connection.exec_driver_sql(
                    self._insert_log,
                    [
                        (row[1] or keys[row[0]], row[2], self._interaction_key(row[3]), *row[3:])  # by place: it is hot
                        for row in rows
                    ],
                )
            if increments.items:
                connection.execute(self._merge_item, [row._asdict() for row in increments.items])
            if increments.norms:
                connection.execute(self._merge_norm, [row._asdict() for row in increments.norms])
            return keys

        return await self._write(work)

    def _insert_learners(self, connection: sa.Connection, learner_ids: Iterable[str]) -> dict[str, int]:
        by_digest = {self._digest(learner_id): learner_id for learner_id in learner_ids}
        if not by_digest:
            return {}
        connection.execute(sa.insert(learners), [{"learner_digest": digest} for digest in by_digest])
        return {by_digest[digest]: key for digest, key in _rows_in(connection, _KEYS, by_digest)}

    async def bank(self, items: Sequence[str], subjects: Sequence[str]) -> BankTotals:
        """Return the totals of these items and subjects, in one read."""

        def work(connection: sa.Connection) -> BankTotals:
            return BankTotals(
                {item: (easiness, answers) for item, easiness, answers in _rows_in(connection, _ITEMS, items)},
                {subject: (mean, count) for subject, mean, count in _rows_in(connection, _NORMS, subjects)},
            )

        return await self._read(work)

    async def erase(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Delete everything about a learner and return how many interactions went; the bytes leave the files too.

        On SQLite each row of the log shrinks to an empty shell in its place: deleting rows would make SQLite move their
        neighbours, which leaves copies of those in the slack of pages, out of reach of a later erasure.
        """
        digest = self._digest(learner_id)

        def work(connection: sa.Connection) -> int:
            key = connection.scalar(sa.select(learners.c.learner_key).where(learners.c.learner_digest == digest)) or 0
            emptied = sa.update(log).values(_SHELL) if self._sqlite else sa.delete(log)
            count = connection.execute(emptied.where(log.c.learner_key == key)).rowcount
            connection.execute(sa.delete(learners).where(learners.c.learner_key == key))
            self._insert_audit(connection, "erase", digest, key, requested_by, at_ms, count)
            return count

        count = await self._write(work)
        if self._sqlite:
            await self._run(self._writer, self._truncate_wal)
        return count

    def _truncate_wal(self) -> None:
        # Outside any transaction, which is what `_begin` would open.
        with closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            cursor.close()
        if busy:
            raise StoreUnavailableError(
                "the learner is erased, but another process keeps reading the database, so that old pages remain in "
                "its write-ahead file; erase the learner again to finish"
            )

    async def record_export(self, learner_id: str, *, requested_by: str, at_ms: int) -> int:
        """Write to the audit log that someone asked for everything about a learner; returns the newest revision."""
        digest = self._digest(learner_id)

        def work(connection: sa.Connection) -> int:
            key = connection.scalar(sa.select(learners.c.learner_key).where(learners.c.learner_digest == digest)) or 0
            newest = connection.scalar(sa.select(sa.func.max(log.c.revision)).where(log.c.learner_key == key)) or 0
            self._insert_audit(connection, "export", digest, key, requested_by, at_ms, newest)
            return newest

        return await self._write(work)

    async def audit(self, *, learner_id: str | None = None, after: int = 0) -> list[AuditEntry]:
        """Return lines of the audit log, oldest first."""
        columns = [column for column in audit.columns if column.name != "learner_digest"]
        query = sa.select(*columns).where(audit.c.audit_id > after).order_by(audit.c.audit_id)
        if learner_id is not None:
            query = query.where(audit.c.learner_digest == self._digest(learner_id))

        def work(connection: sa.Connection) -> list[AuditEntry]:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()]

        return await self._read(work)

    def _insert_audit(
        self, connection: sa.Connection, action: str, digest: bytes, key: int, requested_by: str, at_ms: int, count: int
    ) -> None:
        row = {"action": action, "learner_digest": digest, "learner_key": key, "requested_by": requested_by}
        connection.execute(sa.insert(audit), row | {"at_ms": at_ms, "interactions": count})

    def _digest(self, learner_id: str) -> bytes:
        return hashlib.blake2b(learner_id.encode(), key=self._salt, digest_size=16).digest()

    def _interaction_key(self, interaction_id: str) -> bytes:
        """Return 16 bytes for an id: a UUID's own, which keep its order in time, else a keyed digest.

        Only the canonical spelling counts as a UUID, or two different ids would be taken for one.
        """
        if len(interaction_id) == 36:
            digits = interaction_id.replace("-", "")
            try:
                key = bytes.fromhex(digits)
            except ValueError:
                return self._digest(interaction_id)
            canonical = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
            if len(key) == 16 and canonical == interaction_id and key.hex() == digits:
                return key
        return self._digest(interaction_id)

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        def transact() -> T:
            with _begin(self._engine, write=True) as connection:
                return work(connection)

        return await self._run(self._writer, transact)

    async def _read(self, work: Callable[[sa.Connection], T]) -> T:
        def transact() -> T:
            with _begin(self._engine, write=False) as connection:
                return work(connection)

        return await self._run(self._readers, transact)

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with _clear_errors():
                return work()

        try:
            running = asyncio.get_running_loop().run_in_executor(executor, guarded)
        except RuntimeError as error:
            raise StoreUnavailableError("the store is closed") from error
        return await running


# The newest row by its index, then the row itself: two steps into the log per learner, however long it is.
_newest = log.alias("newest")
_NEWEST_REVISION: Final = (
    sa.select(sa.func.max(_newest.c.revision)).where(_newest.c.learner_key == learners.c.learner_key).scalar_subquery()
)
_BY_DIGEST: Final = learners.c.learner_digest.in_(sa.bindparam("wanted", expanding=True))
_HEADS: Final = (
    sa.select(
        learners.c.learner_digest,
        log.c.learner_key,
        log.c.revision,
        log.c.occurred_at_ms,
        log.c.outcome,
        log.c.state,
    )
    .join_from(learners, log)
    .where(_BY_DIGEST, log.c.revision == _NEWEST_REVISION)
)
_REVISIONS: Final = sa.select(learners.c.learner_digest, _NEWEST_REVISION).where(_BY_DIGEST)
_KEYS: Final = sa.select(learners.c.learner_digest, learners.c.learner_key).where(_BY_DIGEST)
# Both columns of the index, because an id alone may be common to very many learners. As two lists: SQLite would read
# the whole log for a list of pairs.
_FIND: Final = sa.select(
    log.c.interaction_key, log.c.learner_key, log.c.revision, log.c.occurred_at_ms, log.c.outcome
).where(
    log.c.interaction_key.in_(sa.bindparam("interaction_keys", expanding=True)),
    log.c.learner_key.in_(sa.bindparam("learner_keys", expanding=True)),
)
_ITEMS: Final = sa.select(bank_items).where(bank_items.c.item.in_(sa.bindparam("wanted", expanding=True)))
_NORMS: Final = sa.select(bank_norms).where(bank_norms.c.subject.in_(sa.bindparam("wanted", expanding=True)))

_SHELL: Final[dict[str, Any]] = {
    "learner_key": None,
    "interaction_key": None,
    "interaction_id": "",
    "kind": "",
    "content": "",
    "response": None,
    "context_json": b"",
    "occurred_at_ms": 0,
    "received_at_ms": 0,
    "traceparent": "",
    "outcome": b"",
    "state": b"",
}


def _rows_in(connection: sa.Connection, query: sa.Select[Any], wanted: Iterable[Any]) -> Iterator[Any]:
    """Run a query with a bound list `wanted`, in pieces that a statement can take."""
    values = list(wanted)
    for start in range(0, len(values), _IN_CHUNK):
        yield from connection.execute(query, {"wanted": values[start : start + _IN_CHUNK]})


def _rows_of(connection: sa.Connection, places: Sequence[tuple[bytes, int]]) -> Iterator[Any]:
    """Run `_FIND` for (interaction key, learner key)s, in small pieces: it looks up every id for every learner of one.

    So it may yield rows that nobody asked for.
    """
    for start in range(0, len(places), _FIND_CHUNK):
        interaction_keys, learner_keys = zip(*places[start : start + _FIND_CHUNK], strict=True)
        wanted = {"interaction_keys": interaction_keys, "learner_keys": tuple(set(learner_keys))}
        yield from connection.execute(_FIND, wanted)


def _positional_insert(dialect: sa.Dialect) -> str:
    """Compile the hot insert once; its parameters are tuples in the order of `_LOG_COLUMNS`."""
    compiled = sa.insert(log).compile(dialect=dialect, column_keys=_LOG_COLUMNS)
    if not compiled.positional:
        raise SchemaError(f"the driver {dialect.driver} takes no positional parameters; use another one")
    return str(compiled)


def _bank_merges(dialect: sa.Dialect) -> tuple[Any, Any]:
    """Build the statements that add increments to the shared bank, as `bank.merge_item` and `bank.merge_norm` do."""
    insert: Any = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    delta: sa.BindParameter[float] = sa.bindparam("delta")
    answers: sa.BindParameter[float] = sa.bindparam("answers")
    merge_item = (
        insert(bank_items)
        .values(item=sa.bindparam("item"), easiness=sa.bindparam("start") + delta, answers=answers)
        .on_conflict_do_update(
            index_elements=["item"],
            set_={"easiness": bank_items.c.easiness + delta, "answers": bank_items.c.answers + answers},
        )
    )
    norm = insert(bank_norms)
    old, new = bank_norms.c, norm.excluded
    total = old.observations + new.observations
    window = sa.case((total < NORM_WINDOW, total), else_=float(NORM_WINDOW))
    share = sa.case((new.observations < window, new.observations / window), else_=1.0)
    merge_norm = norm.on_conflict_do_update(
        index_elements=["subject"],
        set_={"mean": old.mean + (new.mean - old.mean) * share, "observations": total},
    )
    return merge_item, merge_norm


def _create_engine(database: str | Path) -> sa.Engine:
    url = sa.make_url(database) if isinstance(database, str) and "://" in database else None
    if url is None:
        url = sa.URL.create("sqlite", database=str(database))
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url)
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made here, because SQLite would let everyone read it; its companion files take over the mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailableError(f"the database {path} cannot be opened: {error.strerror}") from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Python's driver must not begin transactions by itself: the listener below says which kind.
        connection.isolation_level = None
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes the lock at once: taking it later, after reading, fails when another process wrote in between.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# A row is some 2.5 KB: pages of 16 KB took a fifth less time a row than SQLite's 4 KB, into which only one row fits.
_SQLITE_PRAGMAS: Final = (
    "page_size=16384",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
)


@contextmanager
def _begin(engine: sa.Engine, *, write: bool) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        connection.execution_options(writes=write)
        with connection.begin():
            yield connection


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn the driver's errors into the store's, with a sentence that says what to do."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise ConflictError("something of this is in the log already") from error
    except sa.exc.DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        reason = _SQLITE_REASONS.get("_".join(name.split("_")[:2]))
        raise StoreUnavailableError(reason or f"the database refused: {type(error.orig).__name__}") from error
    except sa.exc.SQLAlchemyError as error:
        raise StoreUnavailableError(f"the database cannot be used: {type(error).__name__}") from error


def _migrate(connection: sa.Connection) -> None:
    """Bring the schema up to date, inside the caller's transaction."""
    config = AlembicConfig()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present == scripts.get_current_head():
        return
    if present is None:
        if tables := sa.inspect(connection).get_table_names():
            raise SchemaError(
                f"this is not a database of the brain: it has a table {tables[0]!r} but no schema version"
            )
    elif present not in {script.revision for script in scripts.walk_revisions()}:
        raise SchemaError(
            f"the database has schema {present}, made by a newer version of this program than this one, which knows "
            f"only up to {scripts.get_current_head()}; run that version or a later one"
        )
    alembic_command.upgrade(config, "head")


def _identity(connection: sa.Connection) -> dict[str, str]:
    """Return the epoch and the salt of the database, made once with it."""
    known = {name: value for name, value in connection.execute(sa.select(meta))}
    if not known:
        known = {"epoch": str(uuid.uuid4()), "salt": secrets.token_hex(32)}
        connection.execute(sa.insert(meta), [{"name": name, "value": value} for name, value in known.items()])
    return known
