"""What all learners share: how easy each item is, and how long work takes in each subject.

In memory only, bounded by least recent use. Several brains keep one bank each and exchange
increments through the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Final, cast

from brain_service.model.increments import (
    BankIncrements,
    Gathered,
    ItemIncrement,
    NormIncrement,
    Value,
    merge_item,
    merge_norm,
)
from brain_service.model.interaction import Interaction
from brain_service.model.params import (
    BANK_PRIOR,
    ITEM_OUTLOOK_GAIN,
    PASSAGE_GAIN,
    SUBJECT_OUTLOOK_GAIN,
    TASK_OUTLOOK_GAIN,
    Gain,
)
from brain_service.model.population import (
    Lesson,
    Population,
    Shared,
    is_shared,
    kind_of,
    learn,
    learn_usual,
    outlook_row,
    rows,
    shared,
    start_of,
    step,
    subject_of,
)
from brain_service.model.prediction import Statistics, item_key
from brain_service.model.update import Increments
from brain_service.model.values import maker

CAPACITY: Final = 200_000
SUBJECTS: Final = 10_000


_statistics, _item_increment, _norm_increment = (
    maker(Statistics),
    maker(ItemIncrement),
    maker(NormIncrement),
)
_OUTLOOK_GAINS: Final = (ITEM_OUTLOOK_GAIN, TASK_OUTLOOK_GAIN, SUBJECT_OUTLOOK_GAIN)


@lru_cache(maxsize=65_536)
def item_row(item: str) -> str:
    """Return the name of an item's outlook row: what tends to follow it."""
    return outlook_row(item_key(item))


@lru_cache(maxsize=65_536)
def kind_rows(skills: tuple[str, ...], subject: str | None) -> tuple[str, str, str, str]:
    """Return the names of the outlook rows of a kind of task and of a subject, and of how that kind
    goes after itself and after another.
    """
    task, about, after_itself, after_another = map(outlook_row, kind_of(skills, subject))
    return task, about, after_itself, after_another


class Bank:
    """The cache of one brain. Not safe for use from several threads at once.

    `prior` is the easiness of an unknown item without a declared difficulty. Undrained increments
    are never dropped, whatever the capacity: drain them periodically (see `pending`).
    """

    def __init__(
        self, *, prior: float = BANK_PRIOR, capacity: int = CAPACITY, subjects: int = SUBJECTS
    ) -> None:
        self._prior = prior
        self._capacity = capacity
        self._subjects = subjects
        self._items: OrderedDict[str, Value] = OrderedDict()
        self._norms: OrderedDict[str, Value] = OrderedDict()
        self._shared: OrderedDict[str | None, Shared] = OrderedDict()
        self._pending = Gathered()
        self._changes = 0
        """A counter of changes, lookups excluded."""

    @property
    def size(self) -> int:
        """How many items are in memory."""
        return len(self._items)

    @property
    def pending(self) -> int:
        """How many increments `drain` would return."""
        return len(self._pending.items) + len(self._pending.norms)

    def lookup(self, interaction: Interaction) -> Statistics:
        """Return the statistics for one interaction; counts are 0 for the unknown."""
        return self.stage().lookup(interaction)

    def knows(self, item: str) -> bool:
        """Return whether an item is in memory."""
        return item in self._items

    def missing(self, interactions: Iterable[Interaction]) -> tuple[frozenset[str], frozenset[str]]:
        """Items and subjects of these interactions that are not in memory and may be in the
        store.
        """
        items, subjects = set(), set()
        known = self._items
        for interaction in interactions:
            kind = kind_rows(interaction.skills, interaction.subject)
            for row in (interaction.item, item_row(interaction.item), *kind):
                if row not in known:
                    items.add(row)
            for subject in (None, interaction.subject or ""):
                if subject not in self._shared:
                    items.update(rows(subject))
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
        """Replace values by totals from the store, each (value, weight), plus undrained increments.

        Totals that are not finite or have no weight are skipped: a damaged row must not harm
        predictions.
        """
        self._changes += 1
        shared: dict[str, Value] = {}
        for name, (value, weight) in items.items():
            if weight > 0 and isfinite(value) and isfinite(weight):
                item, own = Value(value, weight), self._pending.items.get(name)
                item = merge_item(item, own) if own else item
                if is_shared(name):
                    shared[name] = item
                else:
                    _put(self._items, name, item, self._capacity)
        for subject in dict.fromkeys(map(subject_of, shared)):
            found = [shared[row] for row in rows(subject) if row in shared]
            if len(found) == len(rows(subject)):
                self._share(subject, (*[value for value, _ in found], found[0].weight))
        for name, (value, weight) in (norms or {}).items():
            if weight > 0 and isfinite(value) and isfinite(weight):
                norm, mine = Value(value, weight), self._pending.norms.get(name)
                _put(self._norms, name, merge_norm(norm, mine) if mine else norm, self._subjects)

    def merge(self, increments: BankIncrements) -> None:
        """Add what another brain learned; it is not drained again here."""
        self._changes += 1
        for item in increments.items:
            if is_shared(item.item):
                self._merge_shared(item)
                continue
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

    def _accept(self, items: Mapping[str, Value], norms: Mapping[str, Value]) -> None:
        """Replace shared values by their new ones."""
        self._changes += 1
        for name, item in items.items():
            _put(self._items, name, item, self._capacity)
        for name, norm in norms.items():
            _put(self._norms, name, norm, self._subjects)

    def drain(self) -> BankIncrements:
        """Take what was learned since the last call, to add it to the store; give it to `restore`
        if that fails.
        """
        rows = self._pending.rows()
        self._pending = Gathered()
        return rows

    def restore(self, increments: BankIncrements) -> None:
        """Take drained increments back after a failed write, for the next `drain`."""
        later, self._pending = self._pending, Gathered()
        self._pending.add(increments.items, increments.norms)
        self._pending.add(later.items.values(), later.norms.values())

    def _merge_shared(self, item: ItemIncrement) -> None:
        """Add to one of the values that learners share; the first one carries the answers."""
        subject = subject_of(item.item)
        place = rows(subject).index(item.item)
        values = list(self._shared.get(subject, start_of(subject)))
        values[place] += item.delta
        values[-1] += 0 if place else item.answers
        self._share(subject, tuple(values))

    def _share(self, subject: str | None, values: Shared) -> None:
        self._shared[subject] = shared(subject, values)
        self._shared.move_to_end(subject)
        if len(self._shared) > self._subjects + 1:
            del self._shared[next(known for known in self._shared if known is not None)]

    def _item(self, item: str) -> Value | None:
        value = self._items.get(item)
        if value is not None:
            self._items.move_to_end(item)
        return value

    def _norm(self, subject: str) -> Value | None:
        value = self._norms.get(subject)
        if value is not None:
            self._norms.move_to_end(subject)
        return value


class Stage:
    """One batch's view of a bank: it includes what the batch has learned; the bank learns that only
    with `commit`.

    Dropping a stage discards its batch. The bank may change meanwhile: a commit adds, it does not
    replace.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._seen = bank._changes
        self._items: dict[str, Value] = {}
        self._norms: dict[str, Value] = {}
        self._shared: dict[str | None, tuple[Shared, Shared]] = {}
        """What was shared before the batch, and after it."""
        self._learned: list[ItemIncrement] = []
        self._observed: list[NormIncrement] = []

    def lookup(self, interaction: Interaction) -> Statistics:
        """What is known for one interaction, with what the batch learned before it."""
        bank, name, subject = self._bank, interaction.item, interaction.subject
        easiness, answers = self._items.get(name) or bank._item(name) or (bank._prior, 0)
        log_time, observations = 0.0, 0.0
        if subject is not None:
            log_time, observations = self._norms.get(subject) or bank._norm(subject) or (0.0, 0)
        task, about, after_itself, after_another = kind_rows(interaction.skills, subject)
        value = self._value
        return _statistics((
            easiness, answers, log_time, observations,
            value(item_row(name)) + value(task) + value(about),
            self._known(None), self._known(subject or ""),
            value(after_itself), value(after_another),
        ))  # fmt: skip

    def add(self, increments: Increments) -> None:
        """Learn from one interaction."""
        item, start, delta, subject, log_time, _, lesson = increments
        if item is not None:
            learned = _item_increment((item, start, delta, 1))
            known = self._items.get(item) or self._bank._items.get(item)
            self._items[item] = merge_item(known, learned)
            self._learned.append(learned)
        if subject is not None:
            observed = _norm_increment((subject, log_time, 1))
            known = self._norms.get(subject) or self._bank._norms.get(subject)
            self._norms[subject] = merge_norm(known, observed)
            self._observed.append(observed)
        if lesson is not None:
            self._learn(lesson)

    def _learn(self, lesson: Lesson) -> None:
        for key, gain in zip(lesson.keys, _OUTLOOK_GAINS, strict=False):
            self._turn(outlook_row(key), gain, lesson.error)
        if lesson.passage:
            self._turn(outlook_row(lesson.passage), PASSAGE_GAIN, lesson.surprise)
        self._move(None, learn(cast("Population", self._known(None)), lesson))
        if lesson.usual is not None:
            subject = lesson.subject
            self._move(subject, learn_usual(self._known(subject), lesson.usual))

    def _turn(self, row: str, gain: Gain, error: float) -> None:
        """Move a row of logits by an error."""
        known = self._items.get(row) or self._bank._items.get(row)
        moved = step(gain, known.weight if known else 0.0) * error
        learned = _item_increment((row, 0.0, moved, 1))
        self._items[row] = merge_item(known, learned)
        self._learned.append(learned)

    def _value(self, row: str) -> float:
        found = self._items.get(row) or self._bank._item(row)
        return 0.0 if found is None else found[0]

    def _known(self, subject: str | None) -> Shared:
        """What is shared, with what the batch learned before."""
        moved = self._shared.get(subject)
        if moved is not None:
            return moved[1]
        known = self._bank._shared.get(subject)
        return start_of(subject) if known is None else known

    def _move(self, subject: str | None, after: Shared) -> None:
        moved = self._shared.get(subject)
        self._shared[subject] = (self._known(subject) if moved is None else moved[0], after)

    def commit(self, *, written: bool = False) -> None:
        """Let the bank learn what the batch learned; `written` says that the store has it, so it is
        not drained.

        Committing twice learns nothing more.
        """
        bank = self._bank
        if bank._changes == self._seen:  # then the result is what the batch saw
            bank._accept(self._items, self._norms)
        else:
            bank.merge(BankIncrements(tuple(self._learned), tuple(self._observed)))
        shared = self._commit_shared()
        if not written:
            bank._pending.add(self._learned, self._observed)
            bank._pending.add(shared)
        self._seen = bank._changes
        self._items, self._norms, self._learned, self._observed = {}, {}, [], []

    def _commit_shared(self) -> list[ItemIncrement]:
        """Let the bank learn what is shared; returns it as increments of the bank's rows."""
        learned = []
        for subject, (before, after) in self._shared.items():
            start = start_of(subject)
            moved = [new - old for old, new in zip(before, after, strict=True)]
            known = self._bank._shared.get(subject, start)
            self._bank._share(
                subject, tuple([old + by for old, by in zip(known, moved, strict=True)])
            )
            for row, first, delta in zip(rows(subject), start, moved, strict=False):
                learned.append(_item_increment((row, first, delta, moved[-1])))
        self._shared = {}
        return learned


def _put(values: OrderedDict[str, Value], name: str, value: Value, capacity: int) -> None:
    values[name] = value
    values.move_to_end(name)
    if len(values) > capacity:
        values.popitem(last=False)
