"""What all learners share: how easy each item is, and how long things take in each subject.

Values in memory only, bounded by least recent use; it knows no database. Several brains keep one
bank each and exchange increments through the store.

Items merge by addition: easiness += Σ delta, answers += Σ answers, so the order of increments
changes nothing but rounding (tolerance 1e-9), except where brains met an unknown item at once and
started from different declared
difficulties: then the first start stays, and orders differ by at most the difference of the starts.
A subject's time norm is a mean with weight k/min(n, 200): below 200 observations order changes
nothing but rounding; above, swapping two increments of means x, y and counts k, l moves it by at
most |x − y|·(k/200)·(l/200).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Final, NamedTuple

from brain_service.model.interaction import Interaction
from brain_service.model.params import BANK_PRIOR, NORM_WINDOW
from brain_service.model.prediction import Statistics
from brain_service.model.update import Increments
from brain_service.model.values import maker

CAPACITY: Final = 200_000
SUBJECTS: Final = 10_000


class Value(NamedTuple):
    """One statistic: an item's easiness or a subject's mean log time, and the number of
    observations behind it.
    """

    value: float
    weight: float


class ItemIncrement(NamedTuple):
    """What was learned of an item: `start + delta` where it is new, else `+ delta`; and the answers
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
_statistics = maker(Statistics)


class BankIncrements(NamedTuple):
    """What one brain learned in a batch, or since it last wrote back."""

    items: tuple[ItemIncrement, ...] = ()
    norms: tuple[NormIncrement, ...] = ()
    day: int = 0
    """When it was written, in days since 1970; told by who writes."""


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


class _Learned:
    """What was learned of one item or subject, added up: in place, because each interaction adds to
    two of them.
    """

    __slots__ = ("count", "mean", "start", "sum")

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        """The easiness that an item started from."""
        self.sum = 0.0
        """Of what is to be added to an item's easiness."""
        self.mean = 0.0
        """Of a subject's log times."""
        self.count = 0

    def add_delta(self, delta: float, count: int = 1) -> None:
        self.sum += delta
        self.count += count

    def add_time(self, mean: float, count: int = 1) -> None:
        self.count += count
        self.mean = (
            mean if self.count == count else self.mean + (mean - self.mean) * count / self.count
        )

    def of_item(self, item: str) -> ItemIncrement:
        return _item_increment((item, self.start, self.sum, self.count))

    def of_subject(self, subject: str) -> NormIncrement:
        return _norm_increment((subject, self.mean, self.count))


class _Pending:
    """Increments that are being gathered, by item and subject."""

    def __init__(self) -> None:
        self.items: dict[str, _Learned] = {}
        self.norms: dict[str, _Learned] = {}

    def add(self, increments: BankIncrements) -> None:
        for item, start, delta, answers in increments.items:
            self.add_item(item, start, delta, answers)
        for subject, mean, observations in increments.norms:
            self.add_norm(subject, mean, observations)

    def add_item(self, item: str, start: float, delta: float, answers: int) -> None:
        learned = self.items.get(item)
        if learned is None:
            learned = self.items[item] = _Learned(start)
        learned.add_delta(delta, answers)

    def add_norm(self, subject: str, mean: float, observations: int) -> None:
        observed = self.norms.get(subject)
        if observed is None:
            observed = self.norms[subject] = _Learned()
        observed.add_time(mean, observations)

    def item(self, item: str) -> ItemIncrement | None:
        learned = self.items.get(item)
        return None if learned is None else learned.of_item(item)

    def norm(self, subject: str) -> NormIncrement | None:
        observed = self.norms.get(subject)
        return None if observed is None else observed.of_subject(subject)

    def rows(self) -> BankIncrements:
        return BankIncrements(
            tuple([learned.of_item(item) for item, learned in self.items.items()]),
            tuple([observed.of_subject(subject) for subject, observed in self.norms.items()]),
        )


class Bank:
    """The cache of one brain. Not safe for use from several threads at once.

    `prior` is the easiness of an unknown item without a declared difficulty. Increments that are
    not yet drained are never forgotten, whatever the capacity: drain them now and then (see
    `pending`).
    """

    def __init__(
        self, *, prior: float = BANK_PRIOR, capacity: int = CAPACITY, subjects: int = SUBJECTS
    ) -> None:
        self._prior = prior
        self._capacity = capacity
        self._subjects = subjects
        self._items: OrderedDict[str, Value] = OrderedDict()
        self._norms: OrderedDict[str, Value] = OrderedDict()
        self._pending = _Pending()

    @property
    def size(self) -> int:
        """How many items are in memory."""
        return len(self._items)

    @property
    def pending(self) -> int:
        """How many increments `drain` would return."""
        return len(self._pending.items) + len(self._pending.norms)

    def lookup(self, interaction: Interaction) -> Statistics:
        """What is known for one interaction; counts are 0 where nothing is."""
        return self.stage().lookup(interaction)

    def knows(self, item: str) -> bool:
        """Tell whether an item is in memory."""
        return item in self._items

    def missing(self, interactions: Iterable[Interaction]) -> tuple[frozenset[str], frozenset[str]]:
        """Items and subjects of these interactions that are not in memory and may be in the
        store.
        """
        items, subjects = set(), set()
        for interaction in interactions:
            if interaction.item not in self._items:
                items.add(interaction.item)
            if interaction.subject is not None and interaction.subject not in self._norms:
                subjects.add(interaction.subject)
        return frozenset(items), frozenset(subjects)

    def stage(self) -> Stage:
        """A view of the bank in which a batch can learn; nothing changes here before its
        `commit`.
        """
        return Stage(self)

    def load(
        self,
        items: Mapping[str, tuple[float, float]],
        norms: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Replace what is known by totals from the store, each (value, weight), with what was not
        yet drained on top.

        Totals that are not finite or have no weight are skipped: a damaged row must not harm
        predictions.
        """
        for name, (value, weight) in items.items():
            if weight > 0 and isfinite(value) and isfinite(weight):
                item, own = Value(value, weight), self._pending.item(name)
                _put(self._items, name, merge_item(item, own) if own else item, self._capacity)
        for name, (value, weight) in (norms or {}).items():
            if weight > 0 and isfinite(value) and isfinite(weight):
                norm, mine = Value(value, weight), self._pending.norm(name)
                _put(self._norms, name, merge_norm(norm, mine) if mine else norm, self._subjects)

    def merge(self, increments: BankIncrements) -> None:
        """Add what another brain learned; it is not drained again here."""
        for item in increments.items:
            _put(
                self._items, item.item, merge_item(self._items.get(item.item), item), self._capacity
            )
        for norm in increments.norms:
            _put(
                self._norms,
                norm.subject,
                merge_norm(self._norms.get(norm.subject), norm),
                self._subjects,
            )

    def drain(self) -> BankIncrements:
        """Take what was learned since the last call, to add it to the store; give it to `restore`
        if that fails.
        """
        rows = self._pending.rows()
        self._pending = _Pending()
        return rows

    def restore(self, increments: BankIncrements) -> None:
        """Take drained increments back after a failed write, for the next `drain`."""
        later, self._pending = self._pending.rows(), _Pending()
        self._pending.add(increments)
        self._pending.add(later)

    def _item(self, item: str) -> Value | None:
        value = self._items.get(item)
        if value is not None:
            self._items.move_to_end(item)
        return value

    def _norm(self, subject: str | None) -> Value | None:
        if subject is None:
            return None
        value = self._norms.get(subject)
        if value is not None:
            self._norms.move_to_end(subject)
        return value


class _Staged(_Learned):
    """The same of one batch, with what the bank had before it (`base`), and what that is with the
    batch.
    """

    __slots__ = ("base", "value", "weight")

    def __init__(self, base: Value | None, start: float = 0.0) -> None:
        super().__init__(start)
        self.base = base
        self.value, self.weight = (start, 0.0) if base is None else base


class Stage:
    """One batch's view of a bank: it sees what the batch has learned; the bank learns it only with
    `commit`.

    Dropping a stage forgets its batch. The bank may learn other things meanwhile: a commit adds, it
    does not replace.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._items: dict[str, _Staged] = {}
        self._norms: dict[str, _Staged] = {}

    def lookup(self, interaction: Interaction) -> Statistics:
        """What is known for one interaction, with what the batch learned before it."""
        bank, name, subject = self._bank, interaction.item, interaction.subject
        learned = self._items.get(name)
        observed = None if subject is None else self._norms.get(subject)
        easiness, answers = (
            (learned.value, learned.weight) if learned else bank._item(name) or (bank._prior, 0)
        )
        log_time, observations = (
            (observed.value, observed.weight) if observed else bank._norm(subject) or (0.0, 0)
        )
        return _statistics((easiness, answers, log_time, observations))

    def add(self, increments: Increments) -> None:
        """Learn from one interaction."""
        item, start, delta, subject, log_time, _ = increments
        if item is not None:
            learned = self._items.get(item)
            if learned is None:
                learned = self._items[item] = _Staged(self._bank._items.get(item), start)
            learned.add_delta(delta)
            learned.value += delta
            learned.weight += 1
        if subject is not None:
            observed = self._norms.get(subject)
            if observed is None:
                observed = self._norms[subject] = _Staged(self._bank._norms.get(subject))
            observed.add_time(log_time)
            observed.weight = weight = observed.weight + 1
            # As `merge_norm` does it, rounding included.
            observed.value += (log_time - observed.value) * (
                1 / (weight if weight < NORM_WINDOW else NORM_WINDOW)
            )

    def commit(self, *, written: bool = False) -> None:
        """Let the bank learn what the batch learned; `written` says that the store has it, so it is
        not drained.

        Committing twice learns nothing more.
        """
        bank, pending = self._bank, self._bank._pending
        for item, learned in self._items.items():
            present = bank._items.get(item)
            value = _value((learned.value, learned.weight))
            if present is not learned.base:
                value = merge_item(present, learned.of_item(item))
            _put(bank._items, item, value, bank._capacity)
            if not written:
                pending.add_item(item, learned.start, learned.sum, learned.count)
        for subject, observed in self._norms.items():
            present = bank._norms.get(subject)
            value = _value((observed.value, observed.weight))
            if present is not observed.base:
                value = merge_norm(present, observed.of_subject(subject))
            _put(bank._norms, subject, value, bank._subjects)
            if not written:
                pending.add_norm(subject, observed.mean, observed.count)
        self._items, self._norms = {}, {}


def _put(values: OrderedDict[str, Value], name: str, value: Value, capacity: int) -> None:
    values[name] = value
    values.move_to_end(name)
    if len(values) > capacity:
        values.popitem(last=False)
