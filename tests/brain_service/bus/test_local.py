"""The bus in one process."""

from __future__ import annotations

import logging

import pytest

from brain_service.bus.local import LocalBus
from brain_service.engine.publication import Publication


def publication(revision: int) -> Publication:
    return Publication("ada", revision, None, (), "", 0)


def test_every_subscriber_gets_each_batch_in_order() -> None:
    bus = LocalBus()
    first: list[Publication] = []
    second: list[Publication] = []
    bus.subscribe(first.extend)
    bus.subscribe(second.extend)

    bus.publish([publication(1), publication(2)])
    bus.publish([publication(3)])

    assert [each.revision for each in first] == [1, 2, 3]
    assert first == second


def test_a_failing_subscriber_hurts_neither_the_others_nor_the_publisher(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = LocalBus()
    got: list[Publication] = []

    def fail(_: object) -> None:
        raise RuntimeError("no")

    bus.subscribe(fail)
    bus.subscribe(got.extend)
    with caplog.at_level(logging.ERROR):
        bus.publish([publication(1)])

    assert [publication(1)] == got
    assert "subscriber" in caplog.text


def test_an_ended_subscription_gets_nothing_more_and_may_end_twice() -> None:
    bus = LocalBus()
    got: list[Publication] = []
    end = bus.subscribe(got.extend)
    keep = bus.subscribe(got.extend)
    end()
    end()

    bus.publish([publication(1)])

    assert [publication(1)] == got
    keep()


def test_a_subscriber_may_end_itself_while_it_is_called() -> None:
    bus = LocalBus()
    got: list[int] = []

    def once(publications: object) -> None:
        got.append(1)
        end()

    end = bus.subscribe(once)
    bus.subscribe(lambda _: got.append(2))
    bus.publish([publication(1)])
    bus.publish([publication(2)])

    assert got == [1, 2, 2]


def test_an_empty_batch_wakes_nobody() -> None:
    bus = LocalBus()
    bus.subscribe(lambda _: pytest.fail("woken for nothing"))

    bus.publish([])
