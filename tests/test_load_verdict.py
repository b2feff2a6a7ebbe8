"""What the load test concludes: figures within their stated error, broken promises by kind."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.load.histogram import RELATIVE_ERROR, Histogram
from tests.load.tally import Deliveries, SelfCheck
from tests.load.verdict import Verdict, View, Writes

LEARNER = "ada"


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=200),
    st.sampled_from([0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]),
)
def test_a_percentile_is_the_nearest_rank_within_the_stated_error(
    times: list[float], percent: float
):
    histogram = Histogram()
    for time in times:
        histogram.record(time)
    exact = sorted(times)[max(1, math.ceil(percent / 100 * len(times))) - 1]
    assert histogram.percentile(percent) == pytest.approx(exact, rel=RELATIVE_ERROR, abs=1e-6)
    assert (histogram.least, histogram.greatest, histogram.count) == (
        min(times),
        max(times),
        len(times),
    )
    assert histogram.mean == pytest.approx(sum(times) / len(times))


def test_an_empty_histogram_says_zero():
    empty = Histogram()
    assert (empty.mean, empty.least, empty.greatest, empty.percentile(99)) == (0.0, 0.0, 0.0, 0.0)


def judged(
    events: list[tuple[Any, ...]], *, every: bool = False, newest: int = 0
) -> dict[str, int]:
    """Return what is found, without zeros, when a view sees these events and `newest` is the last
    acknowledged.
    """
    verdict = Verdict()
    view = View(verdict, "client", LEARNER, every=every)
    for name, *arguments in events:
        getattr(view, name)(*arguments)
    view.end(newest)
    return {kind: count for kind, count in verdict.counts.items() if count}


S = ("subscribed", "e", 5)


@pytest.mark.parametrize(
    ("events", "every", "newest", "found"),
    [
        ([S, ("updated", 6, 0), ("updated", 7, 0)], False, 7, {}),
        ([S, ("updated", 8, 2)], False, 8, {}),
        ([S, ("updated", 8, 1)], False, 8, {"lost": 1}),
        ([S, ("updated", 8, 2)], True, 8, {"lost": 2}),
        ([S, ("updated", 7, 0), ("updated", 6, 0)], False, 7, {"out_of_order": 1}),
        ([S, ("updated", 7, 1), ("updated", 6, 0)], False, 7, {"out_of_order": 1}),
        ([S, ("updated", 6, 0), ("updated", 6, 0)], False, 6, {"duplicated": 1}),
        ([S, ("updated", 6, 0), ("updated", 7, 0), ("updated", 6, 0)], True, 7, {"duplicated": 1}),
        ([S, ("updated", 6, 0)], False, 7, {"stale": 1}),
        ([S, ("updated", 6, 0)], True, 8, {"lost": 2}),
        ([S, ("acknowledged", 9), ("read", 8)], False, 5, {"stale": 1}),
        ([S, ("acknowledged", 9), ("read", 9)], False, 5, {}),
        ([S, ("acknowledged", 7), ("updated", 6, 0), ("updated", 7, 0)], False, 7, {"stale": 1}),
        ([S, ("updated", 6, 0), ("reconnected",), ("subscribed", "e", 9)], False, 9, {}),
        ([S, ("updated", 6, 0), ("reconnected",), ("subscribed", "e", 5)], False, 6, {"stale": 1}),
        (
            [S, ("reconnected",), ("updated", 6, 0), ("updated", 7, 0), ("subscribed", "e", 7)],
            True,
            7,
            {},
        ),
        ([S, ("reconnected",), ("updated", 7, 0), ("subscribed", "e", 7)], True, 7, {"lost": 1}),
        ([S, ("reconnected",), ("subscribed", "e", 7)], True, 7, {"lost": 2}),
        ([S, ("reconnected",), ("subscribed", "f", 0)], False, 0, {"lost": 1}),
        ([S, ("updated", 100_006, 0)], True, 100_006, {"lost": 100_000}),
    ],
)
def test_a_view_tells_every_broken_promise_by_its_kind(
    events: list[tuple[Any, ...]], every: bool, newest: int, found: dict[str, int]
):
    assert judged(events, every=every, newest=newest) == found


@given(st.permutations(range(6, 16)), st.booleans())
def test_only_the_right_order_of_updates_passes(order: list[int], every: bool):
    found = judged([S, *(("updated", revision, 0) for revision in order)], every=every, newest=15)
    assert bool(found) == (order != sorted(order))
    assert set(found) <= {"out_of_order"}


@given(st.lists(st.integers(6, 15), max_size=12))
def test_whatever_comes_what_never_came_is_missed_by_someone_who_gets_everything(
    revisions: list[int],
):
    found = judged(
        [S, *(("updated", revision, 0) for revision in revisions)], every=True, newest=15
    )
    assert found.get("lost", 0) == 10 - len(set(revisions))


@pytest.mark.parametrize(
    ("acknowledged", "after", "sole", "found", "unexplained"),
    [
        ([4, 5, 6], 6, True, {}, 0),
        ([4, 5], 6, False, {}, 1),
        ([4, 5], 6, True, {"duplicated": 1}, 1),
        ([4, 5, 5], 5, True, {"duplicated": 1}, 0),
        ([4, 5, 6], 5, True, {"lost": 1}, 0),
        ([9], 5, False, {"lost": 1}, 0),
    ],
)
def test_acknowledgements_must_explain_the_revisions(
    acknowledged: list[int], after: int, sole: bool, found: dict[str, int], unexplained: int
):
    verdict = Verdict()
    writes = Writes(verdict)
    for revision in acknowledged:
        writes.acknowledged(LEARNER, revision)
    assert writes.account(LEARNER, 3, after, sole_writer=sole) == unexplained
    assert {kind: count for kind, count in verdict.counts.items() if count} == found


def test_a_delivery_counts_from_its_cause_also_when_it_comes_first():
    deliveries = Deliveries()
    deliveries.arrived(LEARNER, 1, 10.5)
    deliveries.caused(LEARNER, 1, 10.0)
    deliveries.arrived(LEARNER, 1, 11.0)
    assert (deliveries.times.count, deliveries.times.least, deliveries.times.greatest) == (
        2,
        0.5,
        1.0,
    )


@pytest.mark.parametrize("attribute", ["lag", "late"])
def test_a_generator_that_cannot_keep_its_times_says_so(attribute: str):
    check = SelfCheck()
    getattr(check, attribute).record(0.001)
    assert check.reasons == []
    getattr(check, attribute).record(0.5)
    assert len(check.reasons) == 1


def test_a_generator_that_needs_a_whole_core_says_so():
    check = SelfCheck()
    check.busy = 0.97
    assert check.reasons == ["the generator used 97% of a core"]
