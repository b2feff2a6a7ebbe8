"""The item bank as claims: batches are all or nothing, brains merge in any order, memory stays
bounded.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.model import (
    BadInteractionError,
    Increments,
    Interaction,
    Statistics,
    apply,
    interaction_from_context,
)
from brain_service.model.bank import Bank, item_row
from brain_service.model.increments import (
    BankIncrements,
    ItemIncrement,
    NormIncrement,
    Value,
    merge_item,
    merge_norm,
)
from brain_service.model.params import LEVEL_B, NORM_WINDOW
from brain_service.model.population import MARK, START, USUAL, Lesson, passage_key, rows, task_key
from brain_service.model.prediction import item_key

ROUNDING = 1e-9

lessons = st.builds(
    Lesson,
    error=st.floats(-1, 1),
    lean=st.floats(-3, 3),
    struggled=st.sampled_from([0.0, 1.0]),
    keys=st.sampled_from([(), (item_key("q1"), task_key(("",)))]),
    looked=st.sampled_from([0.0, 1.0]),
    called=st.sampled_from([0.0, 1.0]),
    subject=st.sampled_from(["", "math", "reading"]),
    usual=st.none() | st.just((0.5,) * 6 + (0.01,) * 6),
    passage=st.sampled_from([b"", passage_key(("",), True), passage_key(("",), False)]),
    surprise=st.floats(-1, 1),
)
increments = st.builds(
    Increments,
    st.sampled_from([None, "q1", "q2", "q3"]),
    st.just(0.65),
    st.floats(-0.8, 0.8),
    st.sampled_from([None, "math", "reading"]),
    st.floats(-1.6, 8.2),
    st.just(False),
    st.none() | lessons,
)


def about(item: str, subject: str | None = None, skill: str = "") -> Interaction:
    return Interaction("question_response", item, subject=subject, skills=(skill,))


def known(bank: Bank) -> dict[tuple[str, str], tuple[float, ...]]:
    """Everything that is known of items and subjects, as plain numbers."""
    return {
        (i, s): flat(bank.lookup(about(i, s)))
        for i in ("q1", "q2", "q3")
        for s in ("math", "reading")
    }


def flat(statistics: Statistics) -> tuple[float, ...]:
    *numbers, population, usual, after_itself, after_another = statistics
    return (*numbers, *population, *usual, after_itself, after_another)


def learned(found: list[Increments], bank: Bank | None = None) -> Bank:
    bank = Bank() if bank is None else bank
    stage = bank.stage()
    for increment in found:
        stage.add(increment)
    stage.commit()
    return bank


def test_an_unknown_item_has_the_prior_and_no_answers() -> None:
    assert Bank(prior=0.2).lookup(about("q1", "math")) == Statistics(0.2, 0, 0.0, 0)


def test_a_stage_sees_what_its_batch_learned_and_the_bank_does_not_before_the_commit() -> None:
    bank = Bank()
    stage = bank.stage()
    stage.add(Increments("q1", LEVEL_B[2], 0.25, "math", 2.0))

    assert stage.lookup(about("q1", "math")) == Statistics(LEVEL_B[2] + 0.25, 1, 2.0, 1)
    assert bank.lookup(about("q1", "math")).answers == 0
    stage.commit()
    assert bank.lookup(about("q1", "math")) == Statistics(LEVEL_B[2] + 0.25, 1, 2.0, 1)


@given(st.lists(increments, max_size=10), st.lists(increments, max_size=10))
def test_a_dropped_stage_changes_nothing(
    first: list[Increments], dropped: list[Increments]
) -> None:
    bank = learned(first)
    before = known(bank), bank.pending
    stage = bank.stage()
    for increment in dropped:
        stage.lookup(about(increment.item or "q1", increment.subject))
        stage.add(increment)

    assert (known(bank), bank.pending) == before


@given(st.lists(increments, max_size=20), st.integers(0, 20))
def test_batches_of_any_size_learn_the_same(found: list[Increments], cut: int) -> None:
    whole = learned(found)
    parts = learned(found[cut:], learned(found[:cut]))

    for key, numbers in known(parts).items():
        assert numbers == pytest.approx(known(whole)[key], abs=ROUNDING)


def test_a_second_commit_learns_nothing_more() -> None:
    bank = Bank()
    stage = bank.stage()
    stage.add(Increments("q1", 0.65, 0.1, None, 0.0))
    stage.commit()
    stage.commit()

    assert bank.lookup(about("q1")).answers == 1


def test_a_commit_adds_to_what_the_bank_learned_meanwhile() -> None:
    bank = Bank()
    stage = bank.stage()
    stage.add(Increments("q1", 0.65, 0.1, None, 0.0))
    bank.merge(BankIncrements((ItemIncrement("q1", 0.65, 0.3, 4),)))
    stage.commit()

    assert bank.lookup(about("q1"))[:2] == pytest.approx((1.05, 5))


@given(st.lists(increments, max_size=10), st.lists(increments, max_size=10))
def test_a_commit_comes_to_the_same_whether_or_not_the_bank_changed_meanwhile(
    first: list[Increments], second: list[Increments]
) -> None:
    banks = []
    for changed in (False, True):
        bank = learned(first)
        stage = bank.stage()
        for increment in second:
            stage.add(increment)
        if changed:
            bank.merge(BankIncrements())
        stage.commit()
        banks.append((known(bank), bank.drain()))

    assert banks[0] == banks[1]


@given(st.lists(st.lists(increments, min_size=1, max_size=6), min_size=2, max_size=4))
def test_increments_of_several_brains_merge_to_the_same_place_in_any_order(
    brains: list[list[Increments]],
) -> None:
    written = [learned(found).drain() for found in brains]
    places = []
    for order in permutations(written):
        shared = Bank()
        for drained in order:
            shared.merge(drained)
        places.append(known(shared))

    for place in places[1:]:
        for key, statistics in place.items():
            assert statistics == pytest.approx(places[0][key], abs=ROUNDING)


@given(
    st.floats(-1, 8),
    st.integers(200, 100_000),
    st.floats(-1, 8),
    st.integers(1, 50),
    st.floats(-1, 8),
    st.integers(1, 50),
)
def test_long_time_norms_differ_by_order_within_the_stated_tolerance(
    mean: float, weight: int, x: float, k: int, y: float, n: int
) -> None:
    old, first, second = (
        Value(mean, weight),
        NormIncrement("math", x, k),
        NormIncrement("math", y, n),
    )
    one = merge_norm(merge_norm(old, first), second)
    other = merge_norm(merge_norm(old, second), first)

    assert abs(one.value - other.value) <= abs(x - y) * k / NORM_WINDOW * n / NORM_WINDOW + ROUNDING
    assert one.weight == other.weight


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-1, 1), st.floats(-1, 1))
def test_different_starts_of_one_item_differ_by_order_within_the_difference_of_the_starts(
    a: float, b: float, x: float, y: float
) -> None:
    first, second = ItemIncrement("q", a, x, 1), ItemIncrement("q", b, y, 1)
    one, other = (
        merge_item(merge_item(None, first), second),
        merge_item(merge_item(None, second), first),
    )

    assert abs(one.value - other.value) <= abs(a - b) + ROUNDING


def test_two_brains_that_start_a_subject_at_once_do_not_count_its_mean_twice() -> None:
    value = merge_norm(
        merge_norm(None, NormIncrement("math", 3.0, 10)), NormIncrement("math", 3.2, 10)
    )

    assert value == pytest.approx(Value(3.1, 20))


def test_single_observations_follow_the_running_mean_with_weight_one_over_200() -> None:
    value: Value | None = None
    expected = 0.0
    for n in range(1, 501):
        log_time = math.sin(n)
        expected += (log_time - expected) / min(n, 200)
        value = merge_norm(value, NormIncrement("math", log_time, 1))

    assert value == pytest.approx(Value(expected, 500))


@given(st.lists(increments, max_size=20), st.lists(increments, max_size=20))
def test_a_failed_write_back_loses_nothing(
    first: list[Increments], second: list[Increments]
) -> None:
    bank = learned(first)
    drained = bank.drain()
    assert bank.pending == 0
    learned(second, bank)
    bank.restore(drained)
    again, straight = bank.drain(), learned(first + second).drain()

    rows = (
        [sorted(again.items), sorted(again.norms)],
        [sorted(straight.items), sorted(straight.norms)],
    )

    for one, other in zip([*rows[0][0], *rows[0][1]], [*rows[1][0], *rows[1][1]], strict=True):
        assert one[0] == other[0]
        assert one[1:] == pytest.approx(other[1:], abs=ROUNDING)


def test_what_a_batch_learned_of_one_item_and_subject_is_one_increment_each() -> None:
    bank = learned(
        [Increments("q1", 0.65, 0.1, "math", 1.0), Increments("q1", 0.75, 0.1, "math", 2.0)]
    )

    assert bank.drain() == BankIncrements(
        (ItemIncrement("q1", 0.65, 0.2, 2),), (NormIncrement("math", 1.5, 2),)
    )


def test_a_batch_written_with_its_interactions_is_not_drained_again() -> None:
    bank = Bank()
    stage = bank.stage()
    stage.add(Increments("q1", 0.65, 0.1, "math", 1.0))
    stage.add(Increments("q1", 0.75, 0.1, "math", 2.0))

    stage.commit(written=True)
    assert bank.pending == 0
    assert bank.lookup(about("q1", "math")).answers == 2


def test_loading_totals_keeps_what_was_not_yet_written() -> None:
    bank = learned([Increments("q1", 0.65, 0.1, "math", 1.0)])
    bank.load({"q1": (2.0, 100), "q2": (1.0, 3)}, {"math": (3.0, 9)})

    assert bank.lookup(about("q1", "math"))[:4] == pytest.approx((2.1, 101, 2.8, 10))
    assert bank.lookup(about("q2")).answers == 3


@pytest.mark.parametrize(
    "damaged", [(math.nan, 5), (math.inf, 5), (0.5, 0), (0.5, -1), (0.5, math.nan)]
)
def test_damaged_totals_are_not_loaded(damaged: tuple[float, float]) -> None:
    bank = Bank()
    bank.load({"q1": damaged}, {"math": damaged})

    assert bank.lookup(about("q1", "math")) == Statistics()


def test_the_least_recently_used_items_and_subjects_are_forgotten() -> None:
    bank = Bank(capacity=2, subjects=1)
    learned(
        [Increments("q1", 0.65, 0.1, "math", 1.0), Increments("q2", 0.65, 0.1, "reading", 1.0)],
        bank,
    )
    bank.lookup(about("q1"))
    learned([Increments("q3", 0.65, 0.1, None, 0.0)], bank)

    assert bank.size == 2
    items, subjects = bank.missing([about("q1", "math"), about("q2", "reading"), about("q3")])
    assert {item for item in items if not item.startswith(MARK)} == {"q2"}
    assert subjects == {"math"}
    assert bank.pending == 5


def lesson(**fields: Any) -> Increments:
    plain: dict[str, Any] = {
        "error": 0.5, "lean": 1.0, "struggled": 1.0, "keys": (item_key("q1"), task_key(("",))),
        "looked": 0.0, "called": 0.0, "subject": "math", "usual": None,
    }  # fmt: skip
    return Increments(None, 0.0, 0.0, None, 0.0, False, Lesson(**plain | fields))


def test_a_forecast_that_came_true_makes_struggle_likelier_after_its_item_and_everywhere() -> None:
    bank = learned([lesson()] * 3)
    after, elsewhere = (bank.lookup(about(item)) for item in ("q1", "q2"))

    assert after.outlook > elsewhere.outlook > 0
    assert after.population.intercept > START.intercept
    assert after.population.rate > START.rate
    assert after.population.answers == 3


def test_a_kind_of_task_goes_its_own_way_after_itself_and_after_another() -> None:
    surprises = [lesson(passage=passage_key(("sums",), True), surprise=-0.5)] * 4
    surprises += [lesson(passage=passage_key(("sums",), False), surprise=0.5)] * 2
    bank = learned(surprises)
    sums, other = (bank.lookup(about("q9", skill=skill)) for skill in ("sums", "fractions"))

    assert sums.after_itself < 0 < sums.after_another
    assert (other.after_itself, other.after_another) == (0.0, 0.0)
    assert learned([lesson(surprise=0.5)]).lookup(about("q9", skill="sums")).after_itself == 0.0


def test_cuts_rise_with_attention_and_fall_without() -> None:
    calm = learned([lesson(keys=())] * 50).lookup(about("q1")).population
    loud = learned([lesson(keys=(), looked=1.0, called=1.0)] * 50).lookup(about("q1")).population

    assert calm.look < START.look < loud.look
    assert calm.now < START.now < loud.now
    assert calm.intercept == START.intercept


def test_what_is_usual_is_learned_per_subject() -> None:
    own = (0.9,) * 6 + (0.02,) * 6
    bank = learned([lesson(usual=own)] * 200)

    assert bank.lookup(about("q1", "math")).usual[:12] == pytest.approx(own, abs=0.01)
    assert bank.lookup(about("q1", "reading")).usual == USUAL


def test_what_learners_share_comes_back_from_the_store() -> None:
    found = [lesson(usual=(0.5,) * 6 + (0.01,) * 6)] * 4
    bank, other = learned(found), Bank()
    rows = {row.item: (row.start + row.delta, row.answers) for row in bank.drain().items}
    items, _ = other.missing([about("q1", "math")])
    other.load({row: value for row, value in rows.items() if row in items})

    assert flat(other.lookup(about("q1", "math"))) == pytest.approx(
        flat(bank.lookup(about("q1", "math")))
    )
    assert not {row for row in other.missing([about("q1", "math")])[0] if row in rows}
    learned(found, other)
    other.load({row: value for row, value in rows.items() if row in items})
    assert other.lookup(about("q1", "math")).population.answers == 8


@pytest.mark.parametrize("brains", [2, 10])
def test_brains_that_start_a_subject_at_once_leave_no_variance_below_zero(brains: int) -> None:
    """Each of them learns all that there is to learn, and the store adds it up: the first graded
    answer of every further learner would have failed on the root of it.
    """
    even = lesson(usual=(0.5,) * 6 + (0.0,) * 6)
    total = {row: (start, 0.0) for row, start in zip(rows("math"), USUAL, strict=False)}
    for _ in range(brains):
        for row in learned([even] * 4).drain().items:
            if row.item in total:
                value, answers = total[row.item]
                total[row.item] = value + row.delta, answers + row.answers
    assert total[rows("math")[6]][0] < 0
    bank, loaded = learned([even] * 4), Bank()
    loaded.load(total)
    for _ in range(brains - 1):
        bank.merge(learned([even] * 4).drain())

    for one in (bank, loaded):
        usual = one.lookup(about("q1", "math")).usual
        assert min(usual[6:]) >= 0
        answer = Interaction("question_response", "q1", subject="math", correct=True)
        apply(None, one.lookup(answer), answer, 1_700_000_000.0)


def test_no_interaction_can_name_a_row_that_is_no_item() -> None:
    for row in (MARK + "x", *rows(None), *rows("math"), item_row("q1")):
        with pytest.raises(BadInteractionError):
            interaction_from_context("practice", "x", {"item_id": row})
