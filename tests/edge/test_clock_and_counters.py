"""How times are written, and what is counted."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.frames.clock import rfc3339, timestamp
from edge.telemetry.counters import BUCKETS, Latency, Presence

quick = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_with_milliseconds_and_z(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


@quick
@given(st.integers(0, 253_402_300_799_999))
def test_every_time_reads_back_to_the_millisecond(ms: int) -> None:
    back = datetime.fromisoformat(rfc3339(ms))

    assert round(back.timestamp() * 1000) == ms


def test_timestamps_never_go_back() -> None:
    stamps = [timestamp() for _ in range(5000)]

    assert stamps == sorted(stamps)
    assert all(len(stamp) == 24 for stamp in stamps)


@quick
@given(st.lists(st.floats(0, 5000, allow_nan=False), min_size=1, max_size=100))
def test_a_latency_falls_into_the_bucket_whose_bounds_hold_it(seconds: list[float]) -> None:
    latency = Latency()
    for one in seconds:
        before = list(latency.counts)
        latency.observe(one)
        (index,) = [i for i, count in enumerate(latency.counts) if count != before[i]]
        ms = one * 1000

        assert index == BUCKETS - 1 or ms <= 0.05 * 2 ** (index / 4) * (1 + 1e-9)
        assert index == 0 or ms > 0.05 * 2 ** ((index - 1) / 4) * (1 - 1e-9)
    assert sum(latency.counts) == len(seconds)
    assert math.isclose(latency.sum_ms, sum(seconds) * 1000, rel_tol=1e-9, abs_tol=1e-9)
    assert (latency.min_ms, latency.max_ms) == (min(seconds) * 1000, max(seconds) * 1000)


@quick
@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0, 100)))
def test_absorbing_is_counting_both(first: list[float], second: list[float]) -> None:
    one, other, both = Latency(), Latency(), Latency()
    for seconds in first:
        one.observe(seconds)
        both.observe(seconds)
    for seconds in second:
        other.observe(seconds)
        both.observe(seconds)

    one.absorb(other)

    assert one.counts == both.counts
    assert (one.min_ms, one.max_ms) == (both.min_ms, both.max_ms)
    assert math.isclose(one.sum_ms, both.sum_ms, rel_tol=1e-9, abs_tol=1e-9)


@quick
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "take", "restart"]), st.sampled_from("abc")),
        max_size=80,
    )
)
def test_changes_of_presence_always_bring_a_listener_up_to_date(
    steps: list[tuple[str, str]],
) -> None:
    presence, model = Presence(), Counter[str]()
    heard: set[str] = set()

    def listen() -> None:
        came, went = presence.take_changes()
        assert came == sorted(came)
        assert not set(came) & heard
        assert set(went) <= heard
        heard.update(came)
        heard.difference_update(went)
        assert heard == set(+model)

    for step, name in steps:
        if step == "add":
            presence.add(name)
            model[name] += 1
        elif step == "remove" and model[name]:
            presence.remove(name)
            model[name] -= 1
        elif step == "take":
            listen()
        elif step == "restart":
            presence.restart_changes()
            heard.clear()
        assert len(presence) == len(+model)
    listen()
