"""What a learner may teach as claims: times that somebody may have needed."""

from __future__ import annotations

from math import exp, log

import pytest

from brain_service.model import Increments, Statistics
from brain_service.model.bank import Bank
from brain_service.model.interaction import Interaction
from brain_service.model.teaching import Allowance, plain_time


def norm(seconds: float, observations: float) -> Statistics:
    return Statistics(log_time=log(seconds), observations=observations)


@pytest.mark.parametrize(
    ("seconds", "known", "counts"),
    [
        pytest.param(20, Statistics(), 20, id="the first time of a subject"),
        pytest.param(3600, Statistics(), 300, id="an hour is no more than five minutes"),
        pytest.param(0.01, Statistics(), 0.2, id="nobody answers at once"),
        pytest.param(300, norm(20, 19), 300, id="a young norm calls nothing unusual"),
        pytest.param(300, norm(20, 20), 20 * exp(1.5), id="far above a mature norm"),
        pytest.param(0.5, norm(20, 500), 20 * exp(-1.5), id="far below a mature norm"),
        pytest.param(60, norm(20, 500), 60, id="slow, as people are"),
        pytest.param(3600, norm(290, 500), 300, id="both bounds"),
    ],
)
def test_how_a_time_counts(seconds: float, known: Statistics, counts: float) -> None:
    assert plain_time(log(seconds), known) == pytest.approx(log(counts))


def teach(bank: Bank, seconds: float, times: int) -> float:
    """Let learners need so long so often, and return the norm, in seconds."""
    about = Interaction("practice", "item", subject="maths")
    for _ in range(times):
        stage = bank.stage()
        counted = plain_time(log(seconds), stage.lookup(about))
        stage.add(Increments(None, 0.0, 0.0, "maths", counted))
        stage.commit(written=True)
    return exp(bank.lookup(about).log_time)


def test_a_day_of_one_learner_hardly_moves_a_mature_norm() -> None:
    bank = Bank()
    bank.load({}, {"maths": (log(20.0), 1000.0)})

    assert teach(bank, 3600.0, Allowance().times) < 23.5


def test_a_class_puts_right_what_one_learner_began() -> None:
    bank = Bank()
    assert teach(bank, 3600.0, Allowance().times) == pytest.approx(300.0)

    assert teach(bank, 20.0, 30 * 5) < 30.0
