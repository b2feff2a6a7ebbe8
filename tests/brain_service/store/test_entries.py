"""Rows as bytes: whatever comes is what is read again, and damage is told."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.engine.storage import Row
from brain_service.store import heads
from brain_service.store.entries import BadEntryError, pack, unpack, uuid_bytes

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
moments = st.integers(1 - 2**46, 2**46 - 1)
"""Two of them are never further apart than six bytes tell; those that are let in lie nearer."""
rows = st.builds(
    Row,
    st.just("ada"),
    st.just(1),
    st.integers(1, 2**31 - 1),
    st.one_of(st.uuids().map(str), st.uuids().map(lambda one: str(one).upper()), text),
    text,
    st.one_of(text, st.just("long " * 99)),
    st.one_of(st.none(), text),
    st.binary(max_size=300),
    moments,
    moments,
    st.one_of(st.just(""), st.just(TRACE), st.just(TRACE.upper()), st.just(TRACE[:-1]), text),
    st.binary(max_size=300),
    st.just(b""),
)


@given(rows)
def test_a_row_is_read_as_it_was_written(row: Row) -> None:
    key = uuid_bytes(row.interaction_id)
    entry = pack(row, id_is_told=key is not None)

    assert unpack(entry, row.revision, key or b"digest") == (row.revision, *row[3:12])


def test_an_id_of_another_spelling_is_another_id() -> None:
    canonical = str(uuid.uuid4())
    assert uuid_bytes(canonical) == uuid.UUID(canonical).bytes
    for other in (canonical.replace("-", ""), f" {canonical[1:]}", f"{canonical[:-1]}g", "é" * 36):
        assert uuid_bytes(other) is None


@given(rows, st.data())
def test_what_is_cut_off_or_of_a_later_layout_is_never_misread(
    row: Row, data: st.DataObject
) -> None:
    entry = pack(row, id_is_told=False)
    with pytest.raises(BadEntryError):
        unpack(entry[: data.draw(st.integers(0, len(entry) - 1))], 1, b"")
    with pytest.raises(BadEntryError):
        unpack(b"\xfe" + entry[1:], 1, b"")


@given(moments, st.binary(max_size=500), st.binary(max_size=900))
def test_a_head_is_read_as_it_was_written(at_ms: int, assessment: bytes, state: bytes) -> None:
    head = heads.pack(at_ms, assessment, state)
    for kept in (head, head + bytes(99)):
        assert heads.unpack(kept) == (at_ms, assessment, state)
        assert kept[heads.STATE_AT :].startswith(state)
