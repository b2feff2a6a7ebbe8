"""Packed items behave like an ordered dictionary, whatever the keys look like side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import items
from brain_service.model.params import MAX_ITEMS

# Of two letters only, so that a key also stands across its neighbours.
keys = st.lists(st.sampled_from("ab"), min_size=8, max_size=8).map(
    lambda letters: "".join(letters).encode()
)


@given(st.lists(st.tuples(keys, st.integers(-9, 9).filter(bool)), max_size=300))
def test_what_is_put_is_taken_and_the_oldest_leaves(changes: list[tuple[bytes, int]]) -> None:
    packed = b"", b""
    expected: dict[bytes, int] = {}
    for key, count in changes:
        before, *rest = items.take(*packed, key)
        assert before == expected.pop(key, 0)
        packed = items.put(rest[0], rest[1], key, count)
        expected[key] = count
        if len(expected) > MAX_ITEMS:
            del expected[next(iter(expected))]
        assert list(items.listed(*packed).items()) == list(expected.items())


def test_an_item_that_is_not_remembered_changes_nothing() -> None:
    assert items.take(b"aaaaaaab" * 2, b"1" * 8, b"aaaaabaa") == (0, b"aaaaaaab" * 2, b"1" * 8)
