"""The rows of the shared bank: totals that grow by increments, their deletion, and what an operator
declared.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from brain_service.engine.storage import BankTotals, Declared
from brain_service.model.increments import BankIncrements
from brain_service.model.params import NORM_WINDOW
from brain_service.store.statements import in_pieces, rows_in
from brain_service.store.tables import bank_declared, bank_items, bank_norms, meta

ITEMS: Final = sa.select(bank_items.c.item, bank_items.c.easiness, bank_items.c.answers).where(
    bank_items.c.item.in_(sa.bindparam("wanted", expanding=True))
)
NORMS: Final = sa.select(bank_norms.c.subject, bank_norms.c.mean, bank_norms.c.observations).where(
    bank_norms.c.subject.in_(sa.bindparam("wanted", expanding=True))
)
_DECLARED: Final = "declared"
"""Name of the row of `meta` that changes with what is declared."""
_PIECE: Final = 5_000
"""Rows deleted per pass."""


class BankRows:
    """Reads and writes the bank inside its callers' transactions, on one kind of database."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._merge_item, self._merge_norm = merges(dialect)

    def add(self, connection: sa.Connection, increments: BankIncrements) -> None:
        """Add what was learned, in the order of names, to avoid deadlocks between brains."""
        day = {"day": increments.day}
        if increments.items:
            connection.execute(
                self._merge_item, [row._asdict() | day for row in sorted(increments.items)]
            )
        if increments.norms:
            connection.execute(
                self._merge_norm, [row._asdict() | day for row in sorted(increments.norms)]
            )


def totals(connection: sa.Connection, items: Sequence[str], subjects: Sequence[str]) -> BankTotals:
    """Return the totals of these items and subjects."""
    return BankTotals(
        {item: (value, count) for item, value, count in rows_in(connection, ITEMS, items)},
        {name: (value, count) for name, value, count in rows_in(connection, NORMS, subjects)},
    )


def merges(dialect: sa.Dialect) -> tuple[Any, Any]:
    """Build the statements that add increments to the shared bank, as `bank.merge_item` and
    `bank.merge_norm` do.
    """
    insert: Any = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    delta: sa.BindParameter[float] = sa.bindparam("delta")
    answers: sa.BindParameter[float] = sa.bindparam("answers")
    item = insert(bank_items).values(
        item=sa.bindparam("item"),
        easiness=sa.bindparam("start") + delta,
        answers=answers,
        day=sa.bindparam("day"),
    )
    merge_item = item.on_conflict_do_update(
        index_elements=["item"],
        set_={
            "easiness": bank_items.c.easiness + delta,
            "answers": bank_items.c.answers + answers,
            "day": item.excluded.day,
        },
    )
    norm = insert(bank_norms)
    old, new = bank_norms.c, norm.excluded
    total = old.observations + new.observations
    window = sa.case((total < NORM_WINDOW, total), else_=float(NORM_WINDOW))
    share = sa.case((new.observations < window, new.observations / window), else_=1.0)
    merge_norm = norm.on_conflict_do_update(
        index_elements=["subject"],
        set_={
            "mean": old.mean + (new.mean - old.mean) * share,
            "observations": total,
            "day": new.day,
        },
    )
    return merge_item, merge_norm


def too_old(connection: sa.Connection, table: sa.Table, before_day: int) -> Sequence[str]:
    """Return some of the names not taught since a day."""
    (name,) = table.primary_key.columns
    return connection.scalars(sa.select(name).where(table.c.day < before_day).limit(_PIECE)).all()


def too_many(connection: sa.Connection, table: sa.Table, most: int) -> Sequence[str]:
    """Return some of the names above the maximum: those with the fewest answers, oldest first.
    Made-up items are those that nobody else answers.
    """
    count = sa.select(sa.func.count()).select_from(table)
    surplus = connection.execute(count).scalar_one() - most
    if surplus <= 0:
        return []
    (name,) = table.primary_key.columns
    weight = table.c.answers if table is bank_items else table.c.observations
    least = sa.select(name).order_by(weight, table.c.day, name).limit(min(surplus, _PIECE))
    return connection.scalars(least).all()


def remove(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> None:
    """Delete rows by their names."""
    (name,) = table.primary_key.columns
    for some in in_pieces(names):
        connection.execute(sa.delete(table).where(name.in_(some)))


def declare(connection: sa.Connection, kind: str, names: Collection[str]) -> tuple[int, int]:
    """Replace the declared names of a kind; returns how many are new and how many were removed."""
    of_kind = bank_declared.c.kind == kind
    before = set(connection.scalars(sa.select(bank_declared.c.name).where(of_kind)))
    new, gone = set(names) - before, before - set(names)
    for some in in_pieces(sorted(gone)):
        connection.execute(sa.delete(bank_declared).where(of_kind, bank_declared.c.name.in_(some)))
    if new:
        rows = [{"kind": kind, "name": name} for name in sorted(new)]
        connection.execute(sa.insert(bank_declared), rows)
    if new or gone:
        connection.execute(sa.delete(meta).where(meta.c.name == _DECLARED))
        connection.execute(sa.insert(meta), {"name": _DECLARED, "value": str(uuid.uuid4())})
    return len(new), len(gone)


def declared(connection: sa.Connection, known: str) -> Declared | None:
    """Return what is declared; None while its version is the known one."""
    version = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _DECLARED)) or ""
    if version == known:
        return None
    names: dict[str, list[str]] = {"item": [], "subject": []}
    for kind, name in connection.execute(sa.select(bank_declared)):
        names[kind].append(name)
    return Declared(version, frozenset(names["item"]), frozenset(names["subject"]))
