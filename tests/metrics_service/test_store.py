"""What is saved is found again, sums add up, what is too old or erased is gone."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_service.aggregate import FleetCounters, Remembered, Retained
from metrics_service.latency import Histogram
from metrics_service.records import MINUTE_MS, BadQueryError, Query
from metrics_service.store import Store, StoreUnavailableError, Tally, rows
from metrics_service.store.sql_store import open_database
from metrics_service.store.tables import SCHEMA, metadata, tallies_table
from service_runtime.database import connections
from service_runtime.database.schema import migrate
from tests.metrics_service.support import NOW_MS, Exchange, batch, records, url
from tests.support.postgres import migrated

MINUTE = NOW_MS - NOW_MS % MINUTE_MS
NONE = Tally()


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = Store.open(migrated(address, SCHEMA))
    yield opened
    opened.close()


def emptied(folder: Path) -> Store:
    """Open a store that has nothing, whatever one had before it."""
    for file in folder.glob("metrics.sqlite3*"):
        file.unlink()
    return Store.open(url(folder))


def everything(store: Store, size: int = 100) -> list:  # type: ignore[type-arg]
    return [one for page in store.pages(from_ms=0, to_ms=None, size=size) for one in page]


def an_hour(**changes: object) -> Query:
    return replace(
        Query(
            from_ms=MINUTE - 30 * MINUTE_MS, to_ms=MINUTE + 30 * MINUTE_MS, interval_ms=MINUTE_MS
        ),
        **changes,
    )  # type: ignore[arg-type]


def test_a_new_database_has_nothing_and_belongs_to_its_owner(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/new/folder/metrics.sqlite3")

    assert store.load() == (Retained(), Tally())
    assert everything(store) == []
    assert stat.S_IMODE((tmp_path / "new/folder/metrics.sqlite3").stat().st_mode) == 0o600
    store.close()


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(store: Store) -> None:
    with store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_records_of_the_first_schema_are_gone_after_the_upgrade_and_sums_are_not(
    tmp_path: Path,
) -> None:
    database = open_database(url(tmp_path))
    secret = "Zebra-Quokka-4713"
    with database.write() as connection:
        migrate(connection, SCHEMA, "0001")
        connection.exec_driver_sql(
            f"INSERT INTO records VALUES (1, {MINUTE}, '{secret}', '', 'ping', 1, 2, NULL, 'ok',"
            " '', '', '')"
        )
        connection.exec_driver_sql(
            f"INSERT INTO sums VALUES ({MINUTE}, 'ping', '', 1, 'ok', -1, 1, 2, 0, 0)"
        )
    database.close()
    store = Store.open(url(tmp_path))

    assert everything(store) == []
    assert [(row.type, row.count) for row in store.analytics(an_hour())] == [("ping", 1)]
    assert store.forget_erased()
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()


counters = st.builds(
    FleetCounters,
    connections_opened=st.integers(0, 2**40),
    messages_sent=st.integers(0, 2**40),
    errors=st.integers(0, 9),
    latency=st.lists(st.floats(0, 1e6), max_size=5).map(Histogram.of),
)
retained = st.builds(
    Retained,
    totals=counters,
    edges=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.builds(Remembered, counters=counters, seen_at_ms=st.integers(0, 2**41)),
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(retained, min_size=1, max_size=4))
def test_what_was_saved_last_is_loaded_by_the_next_process(
    tmp_path: Path, history: list[Retained]
) -> None:
    first = Store.open(url(tmp_path))
    first.load()
    for one in history:
        first.save(one, Tally(recorded=3, dropped=1))
    first.close()
    second = Store.open(url(tmp_path))

    assert second.load() == (history[-1], Tally(recorded=3, dropped=1))
    second.close()


def test_tallies_never_go_back_in_whatever_order_they_are_written(store: Store) -> None:
    store.append([batch(Exchange())], Tally(recorded=5, dropped=2))
    store.save(Retained(), Tally(recorded=4, dropped=3))

    assert store.load()[1] == Tally(recorded=5, dropped=3)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_have_every_record_once_in_the_order_of_arrival(store: Store, size: int) -> None:
    some = [
        Exchange(at_ms=NOW_MS - index, user_id=f"u{index}", latency_us=999) for index in range(5)
    ]
    store.append([batch(*some[:2]), batch(some[2])], NONE)
    store.append([batch(*some[3:])], NONE)

    assert everything(store, size) == records(*some)
    within = [
        one for page in store.pages(from_ms=NOW_MS - 2, to_ms=NOW_MS, size=size) for one in page
    ]
    assert within == records(*some[1:3])


def test_an_answer_is_found_by_its_own_time(store: Store) -> None:
    store.append([batch(Exchange(latency_us=5_000_000))], NONE)

    assert [
        one.type for page in store.pages(from_ms=NOW_MS + 1, to_ms=None, size=9) for one in page
    ] == ["pong"]
    assert [
        one.type for page in store.pages(from_ms=0, to_ms=NOW_MS + 1, size=9) for one in page
    ] == ["ping"]


def as_edges_send(one: Exchange) -> Exchange:
    """Return an exchange without what it cannot have: an answer's metrics without an answer,
    contents about nobody.
    """
    if not one.answer:
        one = one._replace(answer_size=0, latency_us=0, answer_content="")
    return one if one.learner_id else one._replace(content="", answer_content="")


happenings = st.lists(
    st.builds(
        Exchange,
        at_ms=st.integers(MINUTE - 3 * MINUTE_MS, MINUTE + 3 * MINUTE_MS),
        user_id=st.sampled_from(["", "a", 'a"', "\0é"]),
        role=st.sampled_from(["", "teacher"]),
        type=st.sampled_from(["ping", "virtual_brain_interact"]),
        size=st.integers(0, 1000),
        answer=st.sampled_from(["", "pong", "error"]),
        answer_size=st.integers(0, 1000),
        latency_us=st.integers(0, 100_000_000),
        outcome=st.sampled_from(["ok", "forbidden"]),
        trace_id=st.sampled_from(["", "0af7651916cd43dd8448eb211c80319c"]),
        content=st.sampled_from(["", "{}"]),
        answer_content=st.sampled_from(["", "[]"]),
        learner_id=st.sampled_from(["", "l", 'l"']),
    ).map(as_edges_send),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(happenings, max_size=3), st.sampled_from([1, 2, 60]))
def test_sums_are_those_of_the_records_however_they_are_batched(
    tmp_path: Path, batches: list, minutes: int
) -> None:  # type: ignore[type-arg]
    store = emptied(tmp_path)
    if full := [batch(*some) for some in batches if some]:
        store.append(full, NONE)
    interval_ms = minutes * MINUTE_MS
    groups: dict[tuple, list] = {}  # type: ignore[type-arg]
    for exchange in (one for some in batches for one in some):
        for one in records(exchange):
            start_ms = (
                exchange.at_ms // interval_ms * interval_ms
            )  # an answer counts with its frame
            groups.setdefault((start_ms, one.type, one.role, one.direction), []).append(one)

    found = store.analytics(an_hour(interval_ms=interval_ms))
    kept = everything(store)
    store.close()

    assert Counter(kept) == Counter(records(*(one for some in batches for one in some)))
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
    store.append(
        [
            batch(
                *(
                    Exchange(type=kind, role=role)
                    for kind in ("ping", "pang")
                    for role in ("", "learner")
                )
            )
        ],
        NONE,
    )

    found = store.analytics(an_hour(types=("ping",), roles=("learner",)))

    assert [(row.type, row.role, row.count) for row in found] == [("ping", "learner", 1)]


def test_too_many_rows_are_refused_rather_than_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 2)
    store.append([batch(*(Exchange(type=f"t{index}") for index in range(3)))], NONE)

    with pytest.raises(BadQueryError):
        store.analytics(an_hour())


def test_what_is_too_old_goes_in_steps_and_the_rest_stays(store: Store) -> None:
    store.append(
        [batch(*(Exchange(at_ms=MINUTE - index * MINUTE_MS, answer="") for index in range(6)))],
        NONE,
    )
    steps = 0
    while store.prune(
        records_before_ms=MINUTE - MINUTE_MS, sums_before_ms=MINUTE - 3 * MINUTE_MS, most=2
    ):
        steps += 1

    assert [one.at_ms for one in everything(store)] == [MINUTE - MINUTE_MS, MINUTE]
    assert [row.start_ms for row in store.analytics(an_hour())] == [
        MINUTE - index * MINUTE_MS for index in (3, 2, 1, 0)
    ]
    assert steps >= 2


def erase(store: Store, *, user_id: str = "", learner_id: str = "", span: int = 10) -> int:
    erased, position = 0, 0
    while position is not None:
        count, position = store.erase(
            user_id=user_id, learner_id=learner_id, after=position, span=span
        )
        erased += count
    return erased


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(happenings, max_size=3),
    st.sampled_from(["a", 'a"', "\0é"]),
    st.sampled_from(["", "l", 'l"']),
)
def test_whoever_is_erased_nobody_else_is(
    tmp_path: Path, batches: list, user: str, learner: str
) -> None:  # type: ignore[type-arg]
    store = emptied(tmp_path)
    if full := [batch(*some) for some in batches if some]:
        store.append(full, NONE)
    everyone = records(*(one for some in batches for one in some))
    whose = {"learner_id": learner} if learner else {"user_id": user}
    rest = [
        one for one in everyone if (one.learner_id != learner if learner else one.user_id != user)
    ]

    erased = erase(store, **whose, span=2)
    kept = everything(store)
    store.close()

    assert (erased, Counter(kept)) == (len(everyone) - len(rest), Counter(rest))


def test_erased_records_leave_no_trace_in_the_files(tmp_path: Path) -> None:
    # Some builds of SQLite overwrite what is deleted by default; the service must not depend on
    # that.
    database = open_database(url(tmp_path))
    sa.event.listen(
        database.engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA secure_delete = OFF"),
    )
    with database.write() as connection:
        migrate(connection, SCHEMA)
    store = Store(database)
    secret = "Zebra-Quokka-4711"
    about = Exchange(user_id="person-4712", content=secret, learner_id="l")
    store.append(
        [batch(about, *[Exchange(user_id="other")] * 3), *[batch(Exchange(user_id="other"))] * 3],
        NONE,
    )
    assert secret.encode() in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    erased = erase(store, learner_id="l", span=2)

    assert erased == 2
    assert store.forget_erased()
    assert everything(store) == records(*[Exchange(user_id="other")] * 6)
    whole = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in whole
    assert b"person-4712" not in whole
    store.close()


def test_erasing_jumps_over_gaps(store: Store) -> None:
    store.append([batch(Exchange(user_id="a"))] * 50 + [batch(Exchange(user_id="b"))], NONE)
    while store.erase(user_id="a", learner_id="", after=0, span=10)[0]:
        pass
    assert store.erase(user_id="b", learner_id="", after=0, span=10) == (0, 10)
    for after in (10, 20, 30, 40):
        store.erase(user_id="a", learner_id="", after=after, span=10)

    assert store.erase(user_id="b", learner_id="", after=0, span=10) == (0, 50)
    assert store.erase(user_id="b", learner_id="", after=50, span=10) == (2, None)


def test_a_locked_database_is_unavailable_and_has_changed_nothing(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([batch(Exchange())], Tally(recorded=1))
    store.save(Retained(), Tally(recorded=2))
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0)
    monkeypatch.setitem(connections.SERVER, "options", "-c lock_timeout=1")
    impatient = Store.open(address)
    before = everything(impatient), impatient.load()
    with store.database.write() as connection:
        connection.execute(sa.update(tallies_table).values(value=3))
        with pytest.raises(StoreUnavailableError):
            impatient.append([batch(Exchange())], Tally(recorded=1))
        with pytest.raises(StoreUnavailableError):
            impatient.save(Retained(totals=FleetCounters(errors=1)), NONE)

    assert before[0] == everything(impatient)
    assert impatient.load() == (Retained(), Tally(recorded=3, dropped=3))
    impatient.save(Retained(totals=FleetCounters(errors=1)), NONE)
    assert impatient.load()[0].totals.errors == 1
    impatient.close()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "oracle+nothing://user:secret@host/db",
        "sqlite:////proc/x/y",
    ],
)
def test_an_unusable_address_is_told_without_its_password(bad: str) -> None:
    with pytest.raises(StoreUnavailableError) as told:
        Store.open(bad)
    assert "secret" not in str(told.value)
