"""What all learners share: how easy each item is, and how long things take in each subject.

Values in memory only, bounded by least recent use; it knows no database. Several brains keep one bank each and exchange
*increments* through the store. An item's easiness is `base + delta`: deltas and counts of all brains add up, and of
several bases (brains that met an unknown item at once) the smallest counts, so items merge to the same place in any order
(within rounding). A subject's time norm is a mean with weight 1/min(n, 200); merged in another order it differs by at
most |difference of the means| · k₁k₂/200², and not at all below 200 observations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import isfinite
from typing import Final, NamedTuple, TypeVar

from brain_service.interaction import Interaction
from brain_service.model import Increments, Statistics
from brain_service.params import BANK_PRIOR, NORM_WINDOW

_Row = TypeVar("_Row")

CAPACITY: Final = 200_000
SUBJECTS: Final = 10_000


class ItemRow(NamedTuple):
    """An item's statistics, or an increment to them: then `delta` and `count` are what to add, `base` what to start from."""

    item: str
    base: float
    delta: float
    count: int


class NormRow(NamedTuple):
    """A subject's mean log time and count, or an increment: then the mean and number of the new observations."""

    subject: str
    mean: float
    count: int


class BankIncrements(NamedTuple):
    """What one brain learned since it last wrote back."""

    items: tuple[ItemRow, ...] = ()
    norms: tuple[NormRow, ...] = ()


def merge_item(old: ItemRow | None, new: ItemRow) -> ItemRow:
    """Add an increment to an item; commutative and associative within rounding.

    In SQL: `base = least(base, new.base), delta = delta + new.delta, count = count + new.count`.
    """
    if old is None:
        return new
    return ItemRow(old.item, min(old.base, new.base), old.delta + new.delta, old.count + new.count)


def merge_norm(old: NormRow | None, new: NormRow) -> NormRow:
    """Add the mean of new observations to a norm, with weight k/min(n + k, 200).

    In SQL: `mean = mean + (new.mean − mean) · least(1.0, 1.0 · new.count / least(count + new.count, 200))`.
    """
    if old is None or new.count <= 0:
        return new if old is None else old
    count = old.count + new.count
    weight = min(1.0, new.count / min(count, NORM_WINDOW))
    return NormRow(old.subject, old.mean + (new.mean - old.mean) * weight, count)


def _pool_norms(old: NormRow | None, new: NormRow) -> NormRow:
    """Pool two sets of new observations into one: a plain weighted mean."""
    if old is None:
        return new
    count = old.count + new.count
    return NormRow(old.subject, old.mean + (new.mean - old.mean) * new.count / count, count)


class _Learned:
    """Increments that are being gathered, by item and subject."""

    def __init__(self) -> None:
        self.items: dict[str, ItemRow] = {}
        self.norms: dict[str, NormRow] = {}

    def add(self, increments: BankIncrements) -> None:
        for row in increments.items:
            self.items[row.item] = merge_item(self.items.get(row.item), row)
        for norm in increments.norms:
            self.norms[norm.subject] = _pool_norms(self.norms.get(norm.subject), norm)

    def rows(self) -> BankIncrements:
        return BankIncrements(tuple(self.items.values()), tuple(self.norms.values()))


class Bank:
    """The cache of one brain. Not safe for use from several threads at once.

    `prior` is the easiness of an unknown item without a declared difficulty.
    """

    def __init__(self, *, prior: float = BANK_PRIOR, capacity: int = CAPACITY, subjects: int = SUBJECTS) -> None:
        self._prior = prior
        self._capacity = capacity
        self._subjects = subjects
        self._items: OrderedDict[str, ItemRow] = OrderedDict()
        self._norms: OrderedDict[str, NormRow] = OrderedDict()
        self._pending = _Learned()

    def __len__(self) -> int:
        """How many items are known."""
        return len(self._items)

    @property
    def pending(self) -> int:
        """How many rows `drain` would return."""
        return len(self._pending.items) + len(self._pending.norms)

    def lookup(self, interaction: Interaction) -> Statistics:
        """What is known for one interaction; count 0 where nothing is."""
        return _statistics(self._item(interaction.item), self._norm(interaction.subject), self._prior)

    def missing(self, interactions: Iterable[Interaction]) -> tuple[frozenset[str], frozenset[str]]:
        """Items and subjects of these interactions that are not in memory and may be in the store."""
        items, subjects = set(), set()
        for interaction in interactions:
            if interaction.item not in self._items:
                items.add(interaction.item)
            if interaction.subject is not None and interaction.subject not in self._norms:
                subjects.add(interaction.subject)
        return frozenset(items), frozenset(subjects)

    def stage(self) -> Stage:
        """A view of the bank in which a batch can learn; nothing changes here before its `commit`."""
        return Stage(self)

    def merge(self, increments: BankIncrements) -> None:
        """Add what another brain learned; it is not written back again."""
        for row in increments.items:
            _put(self._items, row.item, merge_item(self._items.get(row.item), row), self._capacity)
        for norm in increments.norms:
            _put(self._norms, norm.subject, merge_norm(self._norms.get(norm.subject), norm), self._subjects)

    def load(self, rows: BankIncrements) -> None:
        """Replace what is known by rows from the store (totals), keeping on top what was learned and not yet written.

        Rows with numbers that are not finite or a count below 1 are skipped: a damaged row must not harm predictions.
        """
        for row in rows.items:
            if row.count > 0 and isfinite(row.base) and isfinite(row.delta):
                own = self._pending.items.get(row.item)
                _put(self._items, row.item, merge_item(row, own) if own else row, self._capacity)
        for norm in rows.norms:
            if norm.count > 0 and isfinite(norm.mean):
                mine = self._pending.norms.get(norm.subject)
                _put(self._norms, norm.subject, merge_norm(norm, mine) if mine else norm, self._subjects)

    def drain(self) -> BankIncrements:
        """Take what was learned since the last call, to add it to the store; give it to `restore` if that fails."""
        rows = self._pending.rows()
        self._pending = _Learned()
        return rows

    def restore(self, increments: BankIncrements) -> None:
        """Take drained increments back after a failed write, for the next `drain`."""
        self._pending.add(increments)

    def _item(self, item: str) -> ItemRow | None:
        row = self._items.get(item)
        if row is not None:
            self._items.move_to_end(item)
        return row

    def _norm(self, subject: str | None) -> NormRow | None:
        if subject is None:
            return None
        norm = self._norms.get(subject)
        if norm is not None:
            self._norms.move_to_end(subject)
        return norm

    def _learn(self, increments: BankIncrements, items: dict[str, ItemRow], norms: dict[str, NormRow]) -> None:
        self._pending.add(increments)
        for item, row in items.items():
            _put(self._items, item, row, self._capacity)
        for subject, norm in norms.items():
            _put(self._norms, subject, norm, self._subjects)


class Stage:
    """One batch's view of a bank: it sees what the batch has learned, and the bank learns it only with `commit`.

    Dropping it forgets the batch. Between making it and committing it, the bank must not be changed by others: a commit
    puts the rows the batch computed in the place of those it saw.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._items: dict[str, ItemRow] = {}
        self._norms: dict[str, NormRow] = {}
        self._learned = _Learned()

    def lookup(self, interaction: Interaction) -> Statistics:
        """What is known for one interaction, with what the batch learned before it."""
        bank, subject = self._bank, interaction.subject
        row = self._items.get(interaction.item) or bank._item(interaction.item)
        norm = None if subject is None else self._norms.get(subject) or bank._norm(subject)
        return _statistics(row, norm, bank._prior)

    def add(self, increments: Increments) -> None:
        """Learn from one interaction."""
        item, base, delta, subject, log_time = increments
        rows: tuple[ItemRow, ...] = ()
        norms: tuple[NormRow, ...] = ()
        if item is not None:
            old = self._items.get(item) or self._bank._items.get(item)
            row = ItemRow(item, base if old is None else old.base, delta, 1)
            self._items[item] = merge_item(old, row)
            rows = (row,)
        if subject is not None:
            norm = NormRow(subject, log_time, 1)
            self._norms[subject] = merge_norm(self._norms.get(subject) or self._bank._norms.get(subject), norm)
            norms = (norm,)
        self._learned.add(BankIncrements(rows, norms))

    def increments(self) -> BankIncrements:
        """What the batch has learned so far."""
        return self._learned.rows()

    def commit(self) -> None:
        """Let the bank learn what the batch learned. Committing twice learns nothing more."""
        self._bank._learn(self._learned.rows(), self._items, self._norms)
        self._items, self._norms, self._learned = {}, {}, _Learned()


def _statistics(row: ItemRow | None, norm: NormRow | None, prior: float) -> Statistics:
    easiness, count = (prior, 0) if row is None else (row.base + row.delta, row.count)
    log_time, time_count = (0.0, 0) if norm is None else (norm.mean, norm.count)
    return Statistics(easiness, count, log_time, time_count)


def _put(rows: OrderedDict[str, _Row], key: str, row: _Row, capacity: int) -> None:
    rows[key] = row
    rows.move_to_end(key)
    if len(rows) > capacity:
        rows.popitem(last=False)
