"""The checker itself: what it must accept, and each kind of fault that it must find."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.history import Operation, violations


def op(client: str, id: str, began: float, ended: float, revision: int) -> Operation:
    return Operation(client, "ada", id, began, ended, revision)


@pytest.mark.parametrize(
    ("operations", "log", "found"),
    [
        ([op("a", "x", 0, 1, 1), op("a", "y", 2, 3, 2)], "xy", ""),
        ([op("a", "x", 0, 9, 2), op("b", "y", 1, 2, 1)], "yx", ""),
        ([op("a", "x", 0, 1, 1), op("b", "", 2, 3, 0)], "x", ""),
        ([op("a", "x", 0, 1, 1), op("a", "", 2, 3, 0)], "x", "was shown to a after 1"),
        ([op("a", "", 0, 1, 1), op("a", "", 2, 3, 0)], "x", "was shown to a after 1"),
        ([op("a", "x", 0, 1, 2), op("b", "y", 2, 3, 1)], "yx", "was written to b after 3"),
        ([op("a", "x", 0, 1, 1)], "", "is not in the log"),
        ([op("a", "x", 0, 1, 1)], "y", "of another"),
        ([op("a", "x", 0, 1, 1)], "xx", "twice"),
        ([op("b", "", 0, 1, 1), op("a", "x", 2, 3, 1)], "x", "before it was asked for"),
        ([op("a", "x", 0, 1, 1), op("b", "y", 2, 3, 1)], "x", "of another"),
    ],
    ids=[
        "one after the other", "at the same time", "another client may be told later",
        "own write not shown", "shown less than before", "written behind what had ended",
        "acknowledged and lost", "acknowledged as another", "stored twice", "read from the future",
        "two writes under one revision",
    ],
)  # fmt: skip
def test_what_is_found(operations: list[Operation], log: str, found: str) -> None:
    told = violations(operations, {"ada": list(log)})

    assert bool(told) == bool(found), told
    assert any(found in text for text in told) or not found, told


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_any_history_that_happened_one_after_the_other_is_accepted(
    chance: random.Random, size: int
) -> None:
    """Each operation takes effect at a moment between its beginning and its end."""
    log: list[str] = []
    operations = []
    free = dict.fromkeys("abc", 0.0)
    for moment in range(size):
        client = chance.choice("abc")
        began = max(free[client], moment - chance.random() * 3)
        if began > moment:
            continue
        ended = free[client] = moment + chance.random() * 3
        id = ""
        if chance.random() < 0.6:
            id = f"i{moment}"
            log.append(id)
        operations.append(op(client, id, began, ended, len(log)))

    assert violations(operations, {"ada": log}) == []
