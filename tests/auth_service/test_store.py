"""The database, on a real SQLite file."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import update

from auth_service.domain import (
    AlreadyExistsError,
    Change,
    InvalidInputError,
    NotFoundError,
    Relation,
    RelationKind,
    Role,
    User,
    new_id,
)
from auth_service.store import (
    ChangeLog,
    StoreUnavailableError,
    open_database,
)
from auth_service.store.change_log import RECORDS
from auth_service.store.tables import SCHEMA, metadata, users
from service_runtime.database import connections
from service_runtime.database.schema import configured
from tests.auth_service.harness import Stored
from tests.support.postgres import migrated

HOUR_MS = 3_600_000


def add_user(stored: Stored, email: str = "ann@school.example", role: Role = Role.TEACHER) -> str:
    user = User(
        user_id=new_id(), email=email, role=role, display_name="", disabled=False, created_at_ms=1
    )
    stored.people.create_user(user, "hash", actor="test")
    return user.user_id


def relate(stored: Stored, kind: RelationKind, subject: str, object: str) -> None:
    stored.people.add_relation(Relation(kind=kind, subject=subject, object=object), actor="test")


def changes_after(stored: Stored, seq: int) -> tuple[Change, ...]:
    batch = stored.log.since(seq, stored.clock.ms())
    assert batch is not None
    return batch.changes


def newest(stored: Stored) -> int:
    return stored.log.snapshot(stored.clock.ms()).seq


def test_migrations_make_exactly_the_tables_of_the_schema(stored: Stored) -> None:
    with stored.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})

        assert compare_metadata(context, metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(stored: Stored) -> None:
    with stored.database.write() as connection:
        command.downgrade(configured(connection, SCHEMA), "base")
        assert sqlalchemy.inspect(connection).get_table_names() == ["alembic_version"]
    migrated(stored.url, SCHEMA)

    assert newest(stored) == 0


def test_a_failed_migration_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new.sqlite3")
    real = command.upgrade

    def fail_at_the_end(*arguments: object) -> None:
        real(*arguments)
        raise RuntimeError("power cut")

    monkeypatch.setattr(command, "upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError):
        database.prepare()

    with database.read() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
    database.close()


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    databases = [open_database(f"sqlite:///{tmp_path}/new.sqlite3") for _ in range(4)]
    failures: list[BaseException] = []

    def migrate(index: int) -> None:
        try:
            databases[index].prepare()
        except BaseException as error:
            failures.append(error)

    # Alembic's context is one per process, so the file is contended by a lock held in another
    # connection instead.
    with databases[0].write():
        thread = threading.Thread(target=migrate, args=(1,))
        thread.start()
    thread.join()
    for index in (2, 3):
        migrate(index)

    assert failures == []
    assert ChangeLog(databases[0]).snapshot(0).seq == 0
    for database in databases:
        database.close()


def test_the_file_is_private_durable_and_lets_readers_in(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/auth.sqlite3")
    with database.read() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        ]
        enforced = connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
    database.close()

    assert pragmas == ["wal", 2]
    assert enforced == 1
    assert stat.S_IMODE((tmp_path / "auth.sqlite3").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:////proc/none/x", "what://x"]
)
def test_an_unusable_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        open_database(url)

    assert not url or url not in str(caught.value)


def test_an_address_belongs_to_one_user(stored: Stored) -> None:
    user_id = add_user(stored)
    before = stored.log.snapshot(0)

    with pytest.raises(AlreadyExistsError) as caught:
        add_user(stored)

    assert "ann@" not in str(caught.value)
    assert stored.log.snapshot(0) == before
    assert len(stored.log.audit_entries(10)) == 1
    found = stored.people.credentials("ann@school.example")
    assert found is not None
    assert (found.user.user_id, found.password_hash) == (user_id, "hash")


def test_unknown_users_are_not_found(stored: Stored) -> None:
    assert stored.people.credentials("ann@school.example") is None
    for call in (
        lambda: stored.people.user("nobody"),
        lambda: stored.people.set_disabled("nobody", True, actor="test"),
        lambda: stored.people.set_password("nobody", "hash", actor="test"),
        lambda: relate(stored, RelationKind.TEACHES, "nobody", "c"),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert stored.log.audit_entries(10) == []


def test_learner_and_class_ids_are_taken_once(stored: Stored) -> None:
    stored.people.create_learner("l", "", actor="test")
    stored.people.create_class("c", "", actor="test")

    with pytest.raises(AlreadyExistsError):
        stored.people.create_learner("l", "", actor="test")
    with pytest.raises(AlreadyExistsError):
        stored.people.create_class("c", "", actor="test")


def test_a_relation_needs_both_ends_and_a_fitting_role(stored: Stored) -> None:
    learner_user = add_user(stored, role=Role.LEARNER)
    stored.people.create_learner("l", "", actor="test")
    stored.people.create_class("c", "", actor="test")

    for kind, subject, object in (
        (RelationKind.IS_LEARNER, learner_user, "nobody"),
        (RelationKind.ENROLLED, "l", "nowhere"),
        (RelationKind.ENROLLED, "nobody", "c"),
    ):
        with pytest.raises(NotFoundError):
            relate(stored, kind, subject, object)
    with pytest.raises(InvalidInputError, match="learner cannot have the relation teaches"):
        relate(stored, RelationKind.TEACHES, learner_user, "c")


def test_a_snapshot_has_all_relations_and_deleting_a_learner_takes_them_along(
    stored: Stored,
) -> None:
    teacher, parent = add_user(stored), add_user(stored, "p@school.example", Role.GUARDIAN)
    stored.people.create_learner("l", "Lea", actor="test")
    stored.people.create_class("c", "Class 5a", actor="test")
    stored.people.create_class("nameless", "", actor="test")
    relate(stored, RelationKind.ENROLLED, "l", "c")
    relate(stored, RelationKind.ENROLLED, "l", "nameless")
    relate(stored, RelationKind.TEACHES, teacher, "c")
    relate(stored, RelationKind.GUARDIAN_OF, parent, "l")

    full = stored.log.snapshot(0)
    stored.people.delete_learner("l", actor="test")
    changed = stored.log.since(full.seq, 0)

    people = {person.user_id: person for person in full.people}
    assert people[teacher].classes_taught == {"c"}
    assert people[parent].wards == {"l"}
    assert full.learners[0].class_ids == {"c", "nameless"}
    assert full.learners[0].class_names == {"c": "Class 5a"}
    assert changed is not None
    assert set(changed.changes) == {
        Change(learner_id="l"),
        Change(user_id=parent),
        Change(user_id=teacher),
    }
    assert changed.learners == {"l": None}
    assert changed.people[parent] is not None
    assert changed.people[parent].wards == frozenset()
    stored.people.create_learner("l", "Lea", actor="test")
    assert stored.log.snapshot(0).learners[0].class_ids == frozenset()


def test_what_changes_nothing_is_not_logged(stored: Stored) -> None:
    user_id = add_user(stored)
    stored.people.create_class("c", "", actor="test")
    relate(stored, RelationKind.TEACHES, user_id, "c")
    seq, audited = newest(stored), len(stored.log.audit_entries(100))

    relate(stored, RelationKind.TEACHES, user_id, "c")
    stored.people.set_disabled(user_id, False, actor="test")
    stored.people.remove_relation(
        Relation(kind=RelationKind.TEACHES, subject="x", object="y"), actor="test"
    )
    stored.people.delete_learner("nobody", actor="test")
    stored.sessions.revoke("no session")

    assert changes_after(stored, seq) == ()
    assert audited == len(stored.log.audit_entries(100))


def test_the_audit_log_tells_who_did_what_to_whom(stored: Stored) -> None:
    user_id = add_user(stored)
    stored.people.create_class("c", "", actor="test")
    relate(stored, RelationKind.TEACHES, user_id, "c")
    stored.people.set_disabled(user_id, True, actor="test")

    told = [
        (entry.actor, entry.action, entry.subject, entry.detail)
        for entry in stored.log.audit_entries(3)
    ]

    assert told == [
        ("test", "create-class", "c", ""),
        ("test", "relate", user_id, "teaches c"),
        ("test", "disable-user", user_id, ""),
    ]


def test_a_follower_that_missed_forgotten_changes_is_sent_to_a_snapshot(stored: Stored) -> None:
    add_user(stored)
    seq = newest(stored)
    add_user(stored, "bob@school.example")

    stored.log.forget_before(stored.clock.ms() + 1)

    assert stored.log.since(seq, 0) is None
    assert stored.log.since(seq + 99, 0) is None
    assert changes_after(stored, seq + 1) == ()


def test_users_come_in_pages_by_id(stored: Stored) -> None:
    ids = sorted(add_user(stored, f"u{number}@school.example") for number in range(5))

    first = stored.people.list_users(after="", limit=3)
    rest = stored.people.list_users(after=first[-1].user_id, limit=3)

    assert ids == [user.user_id for user in first + rest]


def test_a_busy_database_is_unavailable_and_changes_nothing(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = add_user(stored)
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0)
    monkeypatch.setitem(connections.SERVER, "options", "-c lock_timeout=1")
    impatient = open_database(stored.url)
    move = update(users).values(display_name="Bea")
    with stored.database.write() as connection:
        connection.execute(move)
        with (
            pytest.raises(StoreUnavailableError, match="try again"),
            impatient.write() as other,
        ):
            other.execute(move)
    impatient.close()

    assert stored.people.user(ann).display_name == "Bea"


def test_no_value_of_a_row_shows_in_an_error(stored: Stored) -> None:
    with (
        pytest.raises(StoreUnavailableError) as caught,
        stored.database.read() as connection,
    ):
        connection.execute(
            sqlalchemy.text("SELECT :email FROM nowhere"), {"email": "ann@school.example"}
        )

    assert "ann@" not in str(caught.value)
    assert "ann@" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("learners", "subject", "named"),
    [
        ([], "0 learners", ""),
        (["l-ada"], "l-ada", ""),
        (["l-ada", "l-ben"], "2 learners", "; l-ada, l-ben"),
        ([f"l-{number:0126}" for number in range(3)], "3 learners", None),
        ([f"l-{number}" for number in range(1_000)], "1000 learners", None),
    ],
)
def test_who_sent_records_of_whom_is_one_line_for_90_days(
    stored: Stored, learners: list[str], subject: str, named: str | None
) -> None:
    counts = "stored 3, duplicates 0, refused 1"
    stored.people.note_records("u-lms", learners, counts)

    [entry] = stored.log.audit_entries(10, only=RECORDS)
    assert (entry.actor, entry.action, entry.subject) == ("u-lms", "send-records", subject)
    assert len(entry.detail) <= 300
    if named is None:
        first, *others, last = entry.detail.removeprefix(counts + "; ").split(", ")
        assert {first, *others} <= set(learners)
        assert last == "…"
    else:
        assert entry.detail == counts + named
    assert stored.log.audit_entries(10) == []

    stored.clock.now_s += 90 * 86_400 + 1
    stored.sessions.sweep()
    assert stored.log.audit_entries(10, only=RECORDS) == []
