"""The buckets are the contract's, sums are exact, and percentiles stay within a bucket of the
truth.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_service.latency import BOUNDS_MS, BUCKET_COUNT, EMPTY, Histogram, bucket_of

durations = st.floats(min_value=0.0, max_value=5_000.0, allow_nan=False)


@pytest.mark.parametrize(
    ("duration_ms", "bucket"),
    [
        (0.0, 0),
        (0.05, 0),
        (0.0501, 1),
        (0.1, 4),
        (0.8, 16),
        (0.81, 17),
        (BOUNDS_MS[62], 62),
        (2_400.0, 63),
        (1e9, 63),
    ],
)
def test_a_duration_lies_in_the_bucket_that_the_contract_says(
    duration_ms: float, bucket: int
) -> None:
    assert bucket_of(duration_ms) == bucket


def test_there_is_one_bound_less_than_buckets() -> None:
    assert len(BOUNDS_MS) == BUCKET_COUNT - 1
    assert BOUNDS_MS[0] == 0.05
    assert BOUNDS_MS[4] == pytest.approx(0.1)


def test_no_durations_give_zeros() -> None:
    assert (EMPTY.count, EMPTY.average_ms, EMPTY.percentile(0.99)) == (0, 0.0, 0.0)


@given(st.lists(durations), st.lists(durations))
def test_two_histograms_together_are_the_histogram_of_all(
    first: list[float], second: list[float]
) -> None:
    together = Histogram.of(first).plus(Histogram.of(second))
    whole = Histogram.of(first + second)

    assert together.counts == whole.counts
    assert together.sum_ms == pytest.approx(whole.sum_ms)
    assert (together.min_ms, together.max_ms) == (whole.min_ms, whole.max_ms)


@given(st.lists(durations), st.lists(durations))
def test_what_came_since_added_to_what_was_is_the_whole(
    first: list[float], second: list[float]
) -> None:
    whole = Histogram.of(first + second)

    again = Histogram.of(first).plus(whole.since(Histogram.of(first)))

    assert again.counts == whole.counts
    assert again.sum_ms == pytest.approx(whole.sum_ms, abs=1e-6)
    assert (again.min_ms, again.max_ms) == (whole.min_ms, whole.max_ms)


@given(st.lists(durations, min_size=1), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(
    samples: list[float], fraction: float
) -> None:
    true = sorted(samples)[max(0, math.ceil(fraction * len(samples)) - 1)]
    bucket = bucket_of(true)
    lower = BOUNDS_MS[bucket - 1] if bucket else 0.0
    upper = BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else max(samples)

    estimate = Histogram.of(samples).percentile(fraction)

    assert lower - 1e-9 <= estimate <= upper + 1e-9
    assert min(samples) <= estimate <= max(samples)


@given(st.lists(durations, min_size=1))
def test_percentiles_grow_with_their_fraction(samples: list[float]) -> None:
    histogram = Histogram.of(samples)
    values = [histogram.percentile(fraction / 20) for fraction in range(21)]

    assert values == sorted(values)
