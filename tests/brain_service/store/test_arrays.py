"""A server reads arrays as they were written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.store.arrays import bigints, byteas, ints, uuids
from harness.postgres import Postgres

Server = psycopg.Connection[tuple[object, ...]]

_READ = "SELECT %b::int[], %b::bigint[], %b::uuid[], %b::bytea[]"


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Server]:
    with psycopg.connect(postgres.make("arrays"), autocommit=True) as connection:
        yield connection


@settings(deadline=None, max_examples=50)
@given(
    small=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=70),
    large=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=70),
    keys=st.lists(st.binary(min_size=16, max_size=16), max_size=70),
    values=st.lists(st.binary(max_size=300), max_size=70),
)
def test_what_is_written_is_what_is_read(
    server: Server,
    small: list[int],
    large: list[int],
    keys: list[bytes],
    values: list[bytes],
) -> None:
    arrays = [ints(small), bigints(large), uuids(keys), byteas(values)]
    for prepare in (False, True):
        found = server.execute(_READ, arrays, prepare=prepare).fetchone()
        assert found == (small, large, [uuid.UUID(bytes=key) for key in keys], values)
