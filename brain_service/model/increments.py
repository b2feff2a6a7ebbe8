"""What brains learn of items and subjects, and how it adds up.

Items merge by addition: easiness += Σ delta, answers += Σ answers, so the order of increments
changes nothing but rounding (tolerance 1e-9), except where brains met an unknown item at once and
started from different declared difficulties: then the first start stays, and orders differ by at
most the difference of the starts. A subject's time norm is a mean with weight k/min(n, 200): below
200 observations order changes nothing but rounding; above, swapping two increments of means x, y
and counts k, l moves it by at most |x − y|·(k/200)·(l/200).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from brain_service.model.params import NORM_WINDOW
from brain_service.model.values import maker


class Value(NamedTuple):
    """One statistic: an item's easiness or a subject's mean log time, and the number of
    observations behind it.
    """

    value: float
    weight: float


class ItemIncrement(NamedTuple):
    """What was learned about an item: `start + delta` if it is new, else `+ delta`; and the answers
    to add.
    """

    item: str
    start: float
    delta: float
    answers: int


class NormIncrement(NamedTuple):
    """What was observed in a subject: the mean of new log times and their number."""

    subject: str
    mean: float
    observations: int


_value, _item_increment, _norm_increment = maker(Value), maker(ItemIncrement), maker(NormIncrement)


class BankIncrements(NamedTuple):
    """What one brain learned in a batch, or since it last wrote back."""

    items: tuple[ItemIncrement, ...] = ()
    norms: tuple[NormIncrement, ...] = ()
    day: int = 0
    """When it was written, in days since 1970, set by the writer."""


def merge_item(old: Value | None, new: ItemIncrement) -> Value:
    """Add an increment to an item. In SQL: insert (start + delta, answers), else value += delta,
    weight += answers.
    """
    if old is None:
        return _value((new.start + new.delta, new.answers))
    return _value((old.value + new.delta, old.weight + new.answers))


def merge_norm(old: Value | None, new: NormIncrement) -> Value:
    """Add new observations to a subject's norm, a mean whose newest value weighs at least 1/200.

    In SQL: insert (mean, observations), else value += (new.mean − value) · least(1.0,
    1.0·new.observations / least(weight + new.observations, 200)), weight += new.observations. A
    plain `value += delta` would count the mean twice where two brains start a subject.
    """
    if old is None:
        return _value((new.mean, new.observations))
    weight = old.weight + new.observations
    share = min(1.0, new.observations / min(weight, NORM_WINDOW))
    return _value((old.value + (new.mean - old.value) * share, weight))


def add_items(old: ItemIncrement | None, new: ItemIncrement) -> ItemIncrement:
    """Add up what was learned of one item; the first start stays."""
    if old is None:
        return new
    item, start, delta, answers = old
    return _item_increment((item, start, delta + new.delta, answers + new.answers))


def add_norms(old: NormIncrement | None, new: NormIncrement) -> NormIncrement:
    """Add up what was observed in one subject."""
    if old is None:
        return new
    subject, mean, count = old
    count += new.observations
    return _norm_increment((subject, mean + (new.mean - mean) * new.observations / count, count))


class Gathered:
    """Increments added up by item and by subject."""

    __slots__ = ("items", "norms")

    def __init__(self) -> None:
        """Begin with none."""
        self.items: dict[str, ItemIncrement] = {}
        self.norms: dict[str, NormIncrement] = {}

    def add(self, items: Iterable[ItemIncrement], norms: Iterable[NormIncrement] = ()) -> None:
        """Add what was learned of items and observed in subjects."""
        gathered = self.items
        for item in items:
            gathered[item.item] = add_items(gathered.get(item.item), item)
        for norm in norms:
            self.norms[norm.subject] = add_norms(self.norms.get(norm.subject), norm)

    def rows(self) -> BankIncrements:
        """Return it, one row an item or subject."""
        return BankIncrements(tuple(self.items.values()), tuple(self.norms.values()))
