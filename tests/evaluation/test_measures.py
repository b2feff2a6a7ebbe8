"""The statistics give the values that follow from their definitions by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import measures

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 1, 1], [0.5, 0.5, 0.9], 0.75),
        ([1, 0, 1, 0], [0.8, 0.4, 0.4, 0.1], 0.875),
        ([0, 1, 0, 1], [3, 3, 3, 3], 0.5),
    ],
)
def test_auc_counts_ties_as_one_half(
    labels: list[int], scores: list[float], expected: float
) -> None:
    assert measures.auc(labels, scores) == pytest.approx(expected)


@given(SCORES)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, int]]) -> None:
    above = [score for label, score in pairs if label]
    below = [score for label, score in pairs if not label]
    won = sum((high > low) + 0.5 * (high == low) for high in above for low in below)

    assert measures.auc(*zip(*pairs, strict=True)) == pytest.approx(won / (len(above) * len(below)))


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], []])
def test_auc_of_one_kind_alone_is_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="positives and negatives"):
        measures.auc(labels, [0.5] * len(labels))


def test_a_calibration_curve_has_one_point_per_filled_bin() -> None:
    curve = measures.calibration([1, 0, 1, 1], [0.12, 0.18, 0.9, 1.0])

    assert [tuple(found) for found in curve] == [
        pytest.approx((0.15, 0.5, 2)),
        pytest.approx((0.95, 1.0, 2)),
    ]


@pytest.mark.parametrize(
    ("labels", "probabilities", "expected"),
    [
        ([1, 0], [0.5, 0.5], 0.0),
        ([1, 1], [0.5, 0.5], 0.5),
        ([1, 0, 1, 1], [0.12, 0.18, 0.9, 1.0], 0.5 * 0.35 + 0.5 * 0.05),
        ([1, 1, 1, 0], [0.95, 0.95, 0.95, 0.05], 0.05),
    ],
)
def test_calibration_error_weighs_bins_by_their_answers(
    labels: list[int], probabilities: list[float], expected: float
) -> None:
    assert measures.calibration_error(measures.calibration(labels, probabilities)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("people", "x", "y", "expected"),
    [
        ("aabb", [1, 2, 11, 12], [5, 6, 1, 2], 1.0),
        ("aabb", [1, 2, 11, 12], [6, 5, 2, 1], -1.0),
        ("aabb", [1, 2, 3, 4], [1, 2, 2, 1], 0.0),
        ("aaa", [1, 2, 3], [1, 3, 2], 0.5),
    ],
)
def test_within_person_r_ignores_differences_between_people(
    people: str, x: list[float], y: list[float], expected: float
) -> None:
    assert measures.within_person(people, x, y) == pytest.approx(expected)


def test_within_person_r_of_what_never_varies_is_nan() -> None:
    assert math.isnan(measures.within_person("aabb", [1, 1, 2, 2], [1, 2, 3, 4]))


def test_the_interval_of_r_holds_r_and_is_the_same_every_time() -> None:
    draw = np.random.default_rng(3)
    people = np.repeat(np.arange(40), 4).tolist()
    x = draw.normal(size=160)
    y = x + draw.normal(size=160)

    low, high = measures.within_person_interval(people, x, y)

    assert low < measures.within_person(people, x, y) < high
    assert high - low < 0.4
    assert (low, high) == measures.within_person_interval(people, x, y)
