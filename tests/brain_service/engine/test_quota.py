"""How many interactions a learner may add in a day."""

from __future__ import annotations

from brain_service.engine.quota import DAY_MS, Quota


def test_each_learner_has_so_many_a_day() -> None:
    quota = Quota(3)
    taken = [quota.take("ann", 5 * DAY_MS + number) for number in range(5)]

    assert taken == [True, True, True, False, False]
    assert quota.take("bob", 5 * DAY_MS)
    assert quota.take("ann", 6 * DAY_MS)


def test_no_quota_means_any_number() -> None:
    quota = Quota(0)

    assert all(quota.take("ann", 0) for _ in range(1_000))
