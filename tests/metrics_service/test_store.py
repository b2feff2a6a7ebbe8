"""What is saved is found again, sums add up, what is too old or erased is gone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_service.aggregate import Counters, Remembered, Retained
from metrics_service.latency import Histogram
from metrics_service.records import MINUTE_MS, BadQuery, Query
from metrics_service.store import Store, StoreUnavailable, Tally, database, rows
from metrics_service.store.tables import metadata
from tests.metrics_service.support import NOW_MS, record, url

MINUTE = NOW_MS - NOW_MS % MINUTE_MS
NONE = Tally()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(url(tmp_path))
    yield opened
    opened.close()


def everything(store: Store, size: int = 100) -> list:  # type: ignore[type-arg]
    return [one for page in store.pages(from_ms=0, to_ms=None, size=size) for one in page]


def an_hour(**changes: object) -> Query:
    return replace(
        Query(from_ms=MINUTE - 30 * MINUTE_MS, to_ms=MINUTE + 30 * MINUTE_MS, interval_ms=MINUTE_MS), **changes
    )  # type: ignore[arg-type]


def test_a_new_database_has_nothing_and_belongs_to_its_owner(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/new/folder/metrics.sqlite3")

    assert store.load() == (Retained(), Tally())
    assert everything(store) == []
    assert stat.S_IMODE((tmp_path / "new/folder/metrics.sqlite3").stat().st_mode) == 0o600
    store.close()


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(store: Store) -> None:
    with database.reading(store._engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


counters = st.builds(
    Counters,
    connections_opened=st.integers(0, 2**40),
    messages_sent=st.integers(0, 2**40),
    errors=st.integers(0, 9),
    latency=st.lists(st.floats(0, 1e6), max_size=5).map(Histogram.of),
)
retained = st.builds(
    Retained,
    totals=counters,
    edges=st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.builds(Remembered, counters=counters, seen_at_ms=st.integers(0, 2**41))
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(retained, min_size=1, max_size=4))
def test_what_was_saved_last_is_loaded_by_the_next_process(tmp_path: Path, history: list[Retained]) -> None:
    first = Store.open(url(tmp_path))
    first.load()
    for one in history:
        first.save(one, Tally(recorded=3, dropped=1))
    first.close()
    second = Store.open(url(tmp_path))

    assert second.load() == (history[-1], Tally(recorded=3, dropped=1))
    second.close()


def test_tallies_never_go_back_in_whatever_order_they_are_written(store: Store) -> None:
    store.append([record()], Tally(recorded=5, dropped=2))
    store.save(Retained(), Tally(recorded=4, dropped=3))

    assert store.load()[1] == Tally(recorded=5, dropped=3)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_have_every_record_once_in_the_order_of_arrival(store: Store, size: int) -> None:
    records = [record(at_ms=NOW_MS - index, user_id=f"u{index}") for index in range(5)]
    store.append(records[:3], NONE)
    store.append(records[3:], NONE)

    assert everything(store, size) == records
    assert list(store.pages(from_ms=NOW_MS - 2, to_ms=NOW_MS, size=size)) in (
        [records[1:3]],
        [[records[1]], [records[2]]],
    )


happenings = st.lists(
    st.builds(
        record,
        at_ms=st.integers(MINUTE - 3 * MINUTE_MS, MINUTE + 3 * MINUTE_MS),
        role=st.sampled_from(["", "teacher"]),
        type=st.sampled_from(["ping", "virtual_brain_interact"]),
        direction=st.sampled_from([1, 2]),
        outcome=st.sampled_from(["ok", "forbidden"]),
        bytes=st.integers(0, 1000),
        latency_ms=st.none() | st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happenings, max_size=3), st.sampled_from([1, 2, 60]))
def test_sums_are_those_of_the_records_however_they_are_batched(tmp_path: Path, batches: list, minutes: int) -> None:  # type: ignore[type-arg]
    (tmp_path / "metrics.sqlite3").unlink(missing_ok=True)
    (tmp_path / "metrics.sqlite3-wal").unlink(missing_ok=True)
    (tmp_path / "metrics.sqlite3-shm").unlink(missing_ok=True)
    store = Store.open(url(tmp_path))
    for batch in filter(None, batches):
        store.append(batch, NONE)
    interval_ms = minutes * MINUTE_MS
    groups: dict[tuple, list] = {}  # type: ignore[type-arg]
    for one in (one for batch in batches for one in batch):
        groups.setdefault((one.at_ms // interval_ms * interval_ms, one.type, one.role, one.direction), []).append(one)

    found = store.analytics(an_hour(interval_ms=interval_ms))
    store.close()

    assert [(row.start_ms, row.type, row.role, row.direction) for row in found] == sorted(groups)
    for row in found:
        members = groups[row.start_ms, row.type, row.role, row.direction]
        latencies = Histogram.of([one.latency_ms for one in members if one.latency_ms is not None])
        assert row.count == len(members)
        assert row.errors == sum(one.outcome != "ok" for one in members)
        assert row.bytes == sum(one.bytes for one in members)
        assert row.latency.counts == latencies.counts
        assert row.latency.sum_ms == pytest.approx(latencies.sum_ms)
        assert row.latency.max_ms == latencies.max_ms


def test_analytics_filter_by_type_and_role(store: Store) -> None:
    store.append([record(type=kind, role=role) for kind in ("ping", "pong") for role in ("", "learner")], NONE)

    found = store.analytics(an_hour(types=("ping",), roles=("learner",)))

    assert [(row.type, row.role, row.count) for row in found] == [("ping", "learner", 1)]


def test_too_many_rows_are_refused_rather_than_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 2)
    store.append([record(type=f"t{index}") for index in range(3)], NONE)

    with pytest.raises(BadQuery):
        store.analytics(an_hour())


def test_what_is_too_old_goes_in_steps_and_the_rest_stays(store: Store) -> None:
    store.append([record(at_ms=MINUTE - index * MINUTE_MS) for index in range(6)], NONE)
    steps = 0
    while store.prune(records_before_ms=MINUTE - MINUTE_MS, sums_before_ms=MINUTE - 3 * MINUTE_MS, most=2):
        steps += 1

    assert [one.at_ms for one in everything(store)] == [MINUTE, MINUTE - MINUTE_MS]
    assert [row.start_ms for row in store.analytics(an_hour())] == [
        MINUTE - index * MINUTE_MS for index in (3, 2, 1, 0)
    ]
    assert steps >= 2


def test_erased_records_leave_no_trace_in_the_files(tmp_path: Path) -> None:
    # Some builds of SQLite overwrite what is deleted by default; the service must not depend on that.
    engine = database.create_engine(url(tmp_path))
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete = OFF"))
    database.migrate(engine)
    store = Store(engine)
    secret = "Zebra-Quokka-4711"
    store.append([record(content=secret, learner_id="l"), *(record(user_id="other") for _ in range(9))], NONE)
    assert secret.encode() in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    erased, position = 0, 0
    while position is not None:
        count, position = store.erase(user_id="", learner_id="l", after=position, span=3)
        erased += count

    assert erased == 1
    assert store.forget_erased()
    assert len(everything(store)) == 9
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_erasing_jumps_over_gaps(store: Store) -> None:
    store.append([record(user_id="a") for _ in range(50)] + [record(user_id="b")], NONE)
    while store.erase(user_id="a", learner_id="", after=0, span=10)[0]:
        pass
    assert store.erase(user_id="b", learner_id="", after=0, span=10) == (0, 10)
    for after in (10, 20, 30, 40):
        store.erase(user_id="a", learner_id="", after=after, span=10)

    assert store.erase(user_id="b", learner_id="", after=0, span=10) == (0, 50)
    assert store.erase(user_id="b", learner_id="", after=50, span=10) == (1, None)


def test_a_locked_database_is_unavailable_and_has_changed_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0)
    impatient = Store.open(url(tmp_path))
    with database.writing(store._engine) as connection:
        assert connection.in_transaction()
        with pytest.raises(StoreUnavailable):
            impatient.append([record()], Tally(recorded=1))
        with pytest.raises(StoreUnavailable):
            impatient.save(Retained(totals=Counters(errors=1)), NONE)

    assert (everything(impatient), impatient.load()) == ([], (Retained(), Tally()))
    impatient.save(Retained(totals=Counters(errors=1)), NONE)
    assert impatient.load()[0].totals.errors == 1
    impatient.close()


@pytest.mark.parametrize(
    "bad",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "oracle+nothing://user:secret@host/db", "sqlite:////proc/x/y"],
)
def test_an_unusable_address_is_told_without_its_password(bad: str) -> None:
    with pytest.raises(StoreUnavailable) as told:
        Store.open(bad)
    assert "secret" not in str(told.value)
