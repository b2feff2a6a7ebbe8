"""The statistics that the evaluation reports; they know only numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Bin(NamedTuple):
    """One bin of a calibration curve."""

    predicted: float
    """Mean of the predictions in it."""
    observed: float
    """Share of positives among them."""
    answers: int


def auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Return the probability that a positive scores higher than a negative; a tie counts one half.

    Raises `ValueError` where there are not both.
    """
    labels, scores = np.asarray(positive, dtype=bool), np.asarray(score, dtype=np.float64)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        raise ValueError("AUC needs positives and negatives.")
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[index]
    return float(
        (ranks[labels].sum() - positives * (positives + 1) / 2.0) / (positives * negatives)
    )


def calibration(positive: ArrayLike, probability: ArrayLike, bins: int = 10) -> list[Bin]:
    """Return predicted and observed shares in bins of equal width over [0, 1]; empty bins are left
    out.
    """
    labels, predicted = (
        np.asarray(positive, dtype=np.float64),
        np.asarray(probability, dtype=np.float64),
    )
    index = np.minimum((predicted * bins).astype(int), bins - 1)
    return [
        Bin(float(predicted[chosen].mean()), float(labels[chosen].mean()), int(chosen.sum()))
        for chosen in (index == number for number in range(bins))
        if chosen.any()
    ]


def calibration_error(curve: Sequence[Bin]) -> float:
    """Return the expected calibration error: |observed − predicted|, averaged over the answers
    behind each bin.
    """
    total = sum(found.answers for found in curve)
    return sum(abs(found.observed - found.predicted) * found.answers for found in curve) / total


def within_person(people: Sequence[Hashable], x: ArrayLike, y: ArrayLike) -> float:
    """Return Pearson's r between x and y after each person's own mean is taken from both.

    It says how well x follows the ups and downs of a person, not who lies high and who low. NaN
    where nothing varies.
    """
    return float(_ratio(_products(people, x, y).sum(axis=0)))


def within_person_interval(
    people: Sequence[Hashable], x: ArrayLike, y: ArrayLike, draws: int = 2000, seed: int = 1
) -> tuple[float, float]:
    """Return the 95 % interval of `within_person` by drawing people, not ratings, with
    replacement.
    """
    products = _products(people, x, y)
    chosen = np.random.default_rng(seed).integers(0, len(products), (draws, len(products)))
    low, high = np.percentile(_ratio(products[chosen].sum(axis=1)), (2.5, 97.5))
    return float(low), float(high)


def _products(people: Sequence[Hashable], x: ArrayLike, y: ArrayLike) -> Floats:
    """Per person, the sums xy, xx and yy around the person's means."""
    indexes: dict[Hashable, int] = {}
    who = np.array([indexes.setdefault(person, len(indexes)) for person in people])
    count = np.bincount(who)

    def centred(values: ArrayLike) -> Floats:
        numbers = np.asarray(values, dtype=np.float64)
        means: Floats = np.bincount(who, numbers) / count
        off: Floats = numbers - means[who]
        return off

    off_x, off_y = centred(x), centred(y)
    sums: Floats = np.stack(
        [np.bincount(who, product) for product in (off_x * off_y, off_x**2, off_y**2)], axis=1
    )
    return sums


def _ratio(sums: Floats) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
